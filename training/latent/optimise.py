"""The fit: Adam on −ELBO, seeded epoch by epoch, so that a resumed fit draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.errors import InputError
from training.latent.checkpoint import Array, Checkpoint, CheckpointStore
from training.latent.equivariance import draw_movement, equivariance_error, move_images
from training.latent.evaluate import held_out_bound
from training.latent.model import InvariantVAE
from training.latent.objective import bound
from training.latent.orientation import crop, direction_error, stripe_direction, turn_and_crop
from training.latent.schedule import weights_at
from training.latent.specification import ModelSpecification
from training.recipe import Training

# Holds the raw latents near their prior while nothing but relations between poses is taught.
_ANCHOR = 0.01
_STREAMS = ("weights", "order", "noise")
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

    With an orientation taught, `images` are as wide as `orientation.wide_px` says, and each is seen at a new angle in each step.
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
    ) -> None:
        self.specification = specification
        self.training = training
        self.images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self.validation = validation
        self.seed = seed
        self.store = store
        self.device = device
        self.steps = math.ceil(len(images) / training.batch_size)
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
        order = torch.randperm(len(self.images), generator=generator).to(self.device)
        yield from order.split(self.training.batch_size)

    def _one_epoch(self, bar: tqdm[None]) -> None:
        generator = torch.Generator(device=self.device).manual_seed(self._stream("noise"))
        teaching = self.epoch < self.taught_epochs
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
        count, pixels, wanted = len(images), self.specification.pixels, self.training.pixels_per_step
        noise = torch.randn((count, self.specification.latent_size), generator=generator, device=self.device)
        chosen = None
        if self.model.spatial and 0 < wanted < pixels:
            chosen = torch.randint(pixels, (count, wanted), generator=generator, device=self.device)
        parts = bound(self.model, images, noise, chosen)
        loss = parts.loss(weights.pose_beta, weights.content_beta, len(self.specification.pose_names))
        if weights.equivariance > 0 and self.model.spatial:
            loss = loss + weights.equivariance * self._disagreement(images, parts.mean, generator)
        if taught is not None:
            loss = loss + self.training.orientation.weight * self._misdirection(parts.mean, taught)
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
