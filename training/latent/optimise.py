"""The fit: Adam on −ELBO, seeded epoch by epoch, so that a resumed fit draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training.errors import InputError
from training.latent.checkpoint import Array, Checkpoint, CheckpointStore
from training.latent.equivariance import draw_movement, equivariance_error, move_images
from training.latent.evaluate import held_out_bound
from training.latent.mixture import Pairs, choice_entropy, mixture_bound, usage_pull
from training.latent.model import InvariantVAE
from training.latent.objective import bound
from training.latent.orientation import crop, direction_error, stripe_direction, turn_and_crop
from training.latent.schedule import Weights, weights_at
from training.latent.specification import ModelSpecification
from training.recipe import Training

# Holds the raw latents near their prior while nothing but relations between poses is taught.
_ANCHOR = 0.01
# Share of the newest batch in the running mean of class probabilities.
_USAGE_RATE = 0.1
_STREAMS = ("weights", "order", "noise", "labelled")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Fitted:
    """The best restart's model, on the CPU, and its index."""

    model: InvariantVAE
    restart: int


@dataclass(frozen=True)
class Taught:
    """What the angle of each image is taught: `angle` (n,) radians modulo π, `coherence` (n,) with mean 1 over the training images."""

    angle: Tensor
    coherence: Tensor


class Fit:
    """One fit with its restarts. `images` and `validation`: (n, h, w, c) float32, normalised (and clipped for the Bernoulli kinds).

    `labels` (n,) int64, −1 for unlabelled images: of semi-supervised models. With an orientation taught, `images` are as wide as
    `orientation.wide_px` says, and each is seen at a new angle in each step.
    """

    def __init__(
        self,
        specification: ModelSpecification,
        training: Training,
        images: Array,
        validation: Array,
        *,
        seed: int,
        store: CheckpointStore,
        device: torch.device,
        labels: Array | None = None,
    ) -> None:
        self.specification = specification
        self.training = training
        self.images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self.validation = validation
        self.seed = seed
        self.store = store
        self.device = device
        self.labels = None if labels is None else torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        # Where every image has a label, each is also learned from without it.
        self.rows = np.flatnonzero(labels < 0) if labels is not None and (labels < 0).any() else np.arange(len(images))
        self.steps = math.ceil(len(self.rows) / training.batch_size)
        stage = training.orientation if training.orientation.weight else training.equivariance
        self.taught_epochs = stage.epochs if specification.invariances else 0
        self.directions = self._directions(images) if training.orientation.weight else None
        self.epochs = self.taught_epochs + training.epochs
        self.restart, self.epoch = 0, 0
        self.best: tuple[int, float] | None = None
        self.best_arrays: dict[str, Array] = {}
        self._begin_restart()

    def run(self, *, resume: bool) -> Fitted:
        """Runs (or goes on with) all restarts and keeps the one with the least −ELBO on the validation images.

        Raises:
            InputError: TRAINING_DIVERGED; and those of CheckpointStore.load.
            KeyboardInterrupt: as it comes; the checkpoint of the last finished epoch is on disk.
        """
        if resume:
            self._restore(self.store.load())
        else:
            self.store.save(self._state())
        total = self.training.restarts * self.epochs * self.steps
        done = (self.restart * self.epochs + self.epoch) * self.steps
        with tqdm(total=total, initial=done, desc="fit", unit="step", disable=None) as bar:
            while self.restart < self.training.restarts:
                while self.epoch < self.epochs:
                    self._one_epoch(bar)
                    self.store.save(self._state())
                self._end_restart()
        assert self.best is not None  # noqa: S101 (restarts >= 1)
        model = InvariantVAE(self.specification)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in self.best_arrays.items()})
        return Fitted(model.eval(), self.best[0])

    def _begin_restart(self) -> None:
        with torch.random.fork_rng(devices=[]):  # modules draw their first weights from the global generator
            torch.manual_seed(self._stream("weights"))
            self.model = InvariantVAE(self.specification).to(self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=self.training.learning_rate)

    def _end_restart(self) -> None:
        # With one restart there is nothing to choose, and no images were set aside for it.
        value = float(held_out_bound(self.model, self.validation, seed=self.seed).total.mean()) if len(self.validation) else 0.0
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.model.state_dict().items()}
        # The last step's weights have drawn no loss yet; and a NaN would win over whatever comes after it.
        if not math.isfinite(value) or not all(np.isfinite(array).all() for array in arrays.values()):
            raise _diverged(f"The weights or the validation bound are not finite after epoch {self.epoch}")
        if self.best is None or value < self.best[1]:
            self.best, self.best_arrays = (self.restart, value), arrays
        self.restart += 1
        if self.restart < self.training.restarts:
            self.epoch = 0
            self._begin_restart()

    def _stream(self, purpose: str) -> int:
        # A stream for each purpose, restart and epoch: nothing depends on how many numbers were drawn before.
        words = np.random.SeedSequence(entropy=self.seed, spawn_key=(self.restart, self.epoch, _STREAMS.index(purpose))).generate_state(2)
        return int(words[0]) << 31 | int(words[1]) >> 1

    def _batches(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self._stream("order"))
        order = torch.randperm(len(self.rows), generator=generator).to(self.device)
        yield from torch.from_numpy(self.rows).to(self.device)[order].split(self.training.batch_size)

    def _labelled_batches(self) -> Iterator[Tensor]:
        """For ever, every labelled image in turn, in a new order each time round: none goes unused, however many there are."""
        assert self.labels is not None  # noqa: S101 (semi-supervised)
        rows, size = torch.nonzero(self.labels >= 0)[:, 0], self.training.classes.labelled_batch_size
        generator, left = torch.Generator().manual_seed(self._stream("labelled")), rows[:0]
        while True:
            while len(left) < size:
                left = torch.cat((left, rows[torch.randperm(len(rows), generator=generator).to(self.device)]))
            yield left[:size]
            left = left[size:]

    def _one_epoch(self, bar: tqdm[None]) -> None:
        generator = torch.Generator(device=self.device).manual_seed(self._stream("noise"))
        teaching = self.epoch < self.taught_epochs
        # Anew in each epoch, so that a resumed fit goes on alike.
        self._usage = torch.full((self.specification.class_count,), 1 / self.specification.class_count, device=self.device)
        self._labelled = self._labelled_batches() if self.labels is not None else None
        total = torch.zeros((), device=self.device)
        for index, rows in enumerate(self._batches()):
            step = self._teach if teaching else self._improve
            images, taught = self._view(rows, generator)
            loss = step(images, taught, index / self.steps, generator)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total += loss.detach()
            bar.update(1)
        mean = float(total) / self.steps
        if not math.isfinite(mean):
            raise _diverged(f"The loss became {mean} in epoch {self.epoch + 1}")
        self.epoch += 1
        bar.set_postfix_str(f"{'equivariance error' if teaching else 'loss'} {mean:.4g}")

    def _directions(self, images: Array) -> Taught:
        found = stripe_direction(crop(images, self.specification.height_px))
        angle, coherence = (torch.from_numpy(values.astype(np.float32)).to(self.device) for values in (found.angle_rad, found.coherence))
        return Taught(angle, coherence / coherence.mean().clamp_min(1e-6))

    def _view(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Taught | None]:
        images = self.images[rows]
        if self.directions is None:
            return images, None
        angle = math.pi * (2 * torch.rand(len(rows), generator=generator, device=self.device) - 1)
        turned = turn_and_crop(images, self.model.grid, angle, self.specification.height_px)
        return turned, Taught(self.directions.angle[rows] + angle, self.directions.coherence[rows])

    def _teach(self, images: Tensor, taught: Taught | None, part: float, generator: torch.Generator) -> Tensor:
        fraction = (self.epoch + part) / self.taught_epochs
        orientation = self.training.orientation
        stage = self.training.equivariance if taught is None else orientation
        self._set_learning_rate(stage.learning_rate * max(0.01, 1 - fraction))
        mean, _ = self.model.encode(images)
        if taught is not None:
            # With its weight here too: Adam's second moments must not be those of a loss a thousand times smaller when the bound joins in.
            return orientation.weight * (self._misdirection(mean, taught) + _ANCHOR * torch.square(mean).mean())
        return self._disagreement(images, mean, generator) + _ANCHOR * torch.square(mean).mean()

    def _misdirection(self, mean: Tensor, taught: Taught) -> Tensor:
        return direction_error(self.model.split(mean).angle, taught.angle, taught.coherence)

    def _improve(self, images: Tensor, taught: Taught | None, part: float, generator: torch.Generator) -> Tensor:
        weights = weights_at(self.training, (self.epoch - self.taught_epochs + part) / self.training.epochs)
        self._set_learning_rate(weights.learning_rate)
        if self.specification.is_mixture:
            return self._improve_mixture(images, weights, generator)
        noise, chosen = self._drawn(len(images), generator)
        parts = bound(self.model, images, noise, chosen)
        loss = parts.loss(weights.pose_beta, weights.content_beta, len(self.specification.pose_names))
        if weights.equivariance > 0 and self.model.spatial:
            loss = loss + weights.equivariance * self._disagreement(images, parts.mean, generator)
        if taught is not None:
            loss = loss + self.training.orientation.weight * self._misdirection(parts.mean, taught)
        return loss

    def _drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Noise of the latents (n, L), and the pixels of this step (n, M), None for all."""
        pixels, wanted = self.specification.pixels, self.training.pixels_per_step
        noise = torch.randn((count, self.specification.latent_size), generator=generator, device=self.device)
        if not (self.model.spatial and 0 < wanted < pixels):
            return noise, None
        return noise, torch.randint(pixels, (count, wanted), generator=generator, device=self.device)

    def _improve_mixture(self, images: Tensor, weights: Weights, generator: torch.Generator) -> Tensor:
        recipe = self.training.classes
        pairs = Pairs(recipe.pairs_per_step, recipe.random_pairs) if recipe.pairs_per_step else None
        loss = images.new_zeros(())
        if self._labelled is not None:
            rows = next(self._labelled)
            labels = self.labels[rows]  # type: ignore[index]
            noise, chosen = self._drawn(len(rows), generator)
            parts = mixture_bound(self.model, self.images[rows], noise, labels=labels, chosen=chosen, pairs=pairs, generator=generator)
            loss = parts.loss(weights.pose_beta, weights.content_beta, weights.discrete_beta)
            loss = loss + recipe.label_weight * functional.nll_loss(parts.class_log_q, labels)
            if (self.epoch - self.taught_epochs) / self.training.epochs < recipe.labelled_first:
                return loss
        noise, chosen = self._drawn(len(images), generator)
        parts = mixture_bound(self.model, images, noise, chosen=chosen, pairs=pairs, generator=generator)
        loss = loss + parts.loss(weights.pose_beta, weights.content_beta, weights.discrete_beta)
        if recipe.usage_weight:
            self._usage = (1 - _USAGE_RATE) * self._usage + _USAGE_RATE * torch.exp(parts.class_log_q.detach()).mean(dim=0)
            loss = loss + recipe.usage_weight * usage_pull(parts.class_log_q, self._usage)
        if weights.choice:
            loss = loss + weights.choice * choice_entropy(parts.class_log_q)
        if weights.equivariance > 0 and self.model.spatial:
            loss = loss + weights.equivariance * self._disagreement(images, self.model.encode(images)[0], generator)
        return loss

    def _disagreement(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        recipe, present = self.training.equivariance, self.specification.invariances
        movement = draw_movement(
            len(images),
            math.radians(recipe.angle_deg) if "rotation" in present else 0.0,
            2 * recipe.shift if "translation" in present else 0.0,  # a fraction of the side; the side is 2 grid units
            recipe.scale if "scale" in present else 1.0,
            generator,
        )
        moved_mean, _ = self.model.encode(move_images(images, self.model.grid, movement))
        return equivariance_error(self.model, mean, moved_mean, movement)

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _state(self) -> Checkpoint:
        arrays = {f"model/{name}": tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for moment, tensor in self.optimiser.state[parameter].items():
                arrays[f"adam/{moment}/{name}"] = tensor.detach().cpu().numpy()
        arrays |= {f"best/{name}": array for name, array in self.best_arrays.items()}
        return Checkpoint(arrays, self.restart, self.epoch, self.best)

    def _restore(self, state: Checkpoint) -> None:
        self.restart, self.epoch, self.best = state.restart, state.epoch, state.best
        self._begin_restart()
        stored = {name: torch.from_numpy(array.copy()) for name, array in state.arrays.items()}
        self.model.load_state_dict({name[len("model/") :]: tensor for name, tensor in stored.items() if name.startswith("model/")})
        for name, parameter in self.model.named_parameters():
            moments = {moment: stored[f"adam/{moment}/{name}"] for moment in _MOMENTS if f"adam/{moment}/{name}" in stored}
            if moments:
                self.optimiser.state[parameter] = {m: t if m == "step" else t.to(self.device) for m, t in moments.items()}
        self.best_arrays = {name[len("best/") :]: array for name, array in state.arrays.items() if name.startswith("best/")}


def _diverged(what: str) -> InputError:
    return InputError("TRAINING_DIVERGED", f"{what}; lower training.learning_rate in the recipe and run again.")
