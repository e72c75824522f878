"""The fit: Adam on −ELBO, seeded epoch by epoch, so that a resumed fit draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training.errors import InputError
from training.latent.alignment import Aligned, search_of
from training.latent.checkpoint import Array, Checkpoint, CheckpointStore
from training.latent.class_graph import step_penalty
from training.latent.companions import Companions, CompanionTensors
from training.latent.coordinates import pixel_grid
from training.latent.decoders import SpatialDecoder
from training.latent.encoders import Posterior
from training.latent.evaluate import held_out_bound, sample_bound
from training.latent.history import EpochFigures, History, Tally
from training.latent.mixture import MixtureBound, Pairs, choice_entropy, mixture_bound, usage_pull
from training.latent.model import InvariantVAE
from training.latent.objective import Bound, bound
from training.latent.regression import tell
from training.latent.schedule import Weights, weights_at
from training.latent.specification import ModelSpecification
from training.latent.teachers import AlignmentTeacher, EquivarianceTeacher, OrientationTeacher, Teacher, View
from training.recipe import Training

# Share of the newest batch in the running mean of class probabilities.
_USAGE_RATE = 0.1
# Activations of one decoder layer at once on a processor, float32 values: 6 MiB.
_AT_ONCE = 3 << 19
_STREAMS = ("weights", "order", "noise", "labelled")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Fitted:
    """The best restart's model, on the CPU, its index, and what its epochs cost."""

    model: InvariantVAE
    restart: int
    history: History


class Fit:
    """One fit with its restarts. `images` and `validation`: (n, h, w, c) float32, normalised (and clipped for the Bernoulli kinds).

    `labels` (n,) int64, −1 for unlabelled images: of semi-supervised models. `aligned`: what alignment found of `images`, to be taught. With an
    orientation taught, `images` are as wide as `orientation.wide_px` says, and each is seen at a new angle in each step. `beside`: the conditions,
    standardised targets (NaN: not known) and normalised outputs of `images`, `validation_beside` those of `validation`. `initial`: weights to start
    from, by the names of the model's state; None: drawn by the seed. `title` stands before the progress bar.
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
        aligned: Aligned | None = None,
        beside: Companions | None = None,
        validation_beside: Companions | None = None,
        initial: dict[str, Array] | None = None,
        title: str = "fit",
    ) -> None:
        self.specification = specification
        self.training = training
        self.images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self.validation, self.validation_beside = validation, validation_beside or Companions()
        self.beside = (beside or Companions()).tensors(device)
        self.seed = seed
        self.store = store
        self.device = device
        self.initial, self.title = initial, title
        self.labels = None if labels is None else torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        known = None if labels is None else labels >= 0
        if specification.targets and beside is not None and beside.targets is not None:
            known = np.isfinite(beside.targets).any(axis=1)
        # Where every image has a label, or a target, each is also learned from without it.
        self.rows = np.flatnonzero(~known) if known is not None and not known.all() else np.arange(len(images))
        self.labelled_rows = None if known is None else torch.from_numpy(np.flatnonzero(known)).to(device)
        self.steps = math.ceil(len(self.rows) / training.batch_size)
        self.teacher = self._teacher(images, aligned)
        self.taught_epochs = self.teacher.epochs if self.teacher is not None else 0
        self.epochs = self.taught_epochs + training.epochs
        self.restart, self.epoch = 0, 0
        self.best: tuple[int, float] | None = None
        self.best_arrays: dict[str, Array] = {}
        self.history: tuple[EpochFigures, ...] = ()
        self.best_history: tuple[EpochFigures, ...] = ()
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
        with tqdm(total=total, initial=done, desc=self.title, unit="step", disable=None) as bar:
            while self.restart < self.training.restarts:
                while self.epoch < self.epochs:
                    self.one_epoch(bar)
                    self.store.save(self._state())
                self._end_restart()
        assert self.best is not None  # noqa: S101 (restarts >= 1)
        model = InvariantVAE(self.specification)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in self.best_arrays.items()})
        return Fitted(model.eval(), self.best[0], History(self.best[0], self.taught_epochs, self.best_history))

    def _begin_restart(self) -> None:
        with torch.random.fork_rng(devices=[]):  # modules draw their first weights from the global generator
            torch.manual_seed(self._stream("weights"))
            self.model = InvariantVAE(self.specification).to(self.device)
        if self.initial is not None:
            self.model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in self.initial.items()})
        if self.training.gpu_precision == "bfloat16" and self.device.type == "cuda" and isinstance(self.model.decoder, SpatialDecoder):
            self.model.decoder.step_type = torch.bfloat16
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=self.training.learning_rate)

    def _end_restart(self) -> None:
        # With one restart there is nothing to choose, and no images were set aside for it.
        value = 0.0
        if len(self.validation):
            value = float(held_out_bound(self.model, self.validation, seed=self.seed, beside=self.validation_beside).total.mean())
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.model.state_dict().items()}
        # The last step's weights have drawn no loss yet; and a NaN would win over whatever comes after it.
        if not math.isfinite(value) or not all(np.isfinite(array).all() for array in arrays.values()):
            raise _diverged(f"The weights or the validation bound are not finite after epoch {self.epoch}")
        if self.best is None or value < self.best[1]:
            self.best, self.best_arrays, self.best_history = (self.restart, value), arrays, self.history
        self.restart += 1
        if self.restart < self.training.restarts:
            self.epoch, self.history = 0, ()
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
        assert self.labelled_rows is not None  # noqa: S101 (semi-supervised)
        rows = self.labelled_rows
        size = (self.training.regression if self.specification.targets else self.training.classes).labelled_batch_size
        generator, left = torch.Generator().manual_seed(self._stream("labelled")), rows[:0]
        while True:
            while len(left) < size:
                left = torch.cat((left, rows[torch.randperm(len(rows), generator=generator).to(self.device)]))
            yield left[:size]
            left = left[size:]

    def one_epoch(self, bar: tqdm[None]) -> None:
        """The next epoch of this restart; `bar` moves by one with each step.

        Raises:
            InputError: TRAINING_DIVERGED.
        """
        generator = torch.Generator(device=self.device).manual_seed(self._stream("noise"))
        # Anew in each epoch, so that a resumed fit goes on alike.
        self._usage = torch.full((self.specification.class_count,), 1 / self.specification.class_count, device=self.device)
        self._labelled = self._labelled_batches() if self.labelled_rows is not None else None
        self._tally = Tally(torch.zeros((), device=self.device))
        for index, rows in enumerate(self._batches()):
            self.optimiser.zero_grad()
            for loss in self._losses(rows, index / self.steps, generator):
                loss.backward()  # type: ignore[no-untyped-call]
                self._tally.add_loss(loss)
            self.optimiser.step()
            self._tally.end_step()
            bar.update(1)
        mean = self._tally.loss
        if not math.isfinite(mean):
            raise _diverged(f"The loss became {mean} in epoch {self.epoch + 1}")
        self.epoch += 1
        teaching = self.epoch <= self.taught_epochs
        validation = None if teaching else sample_bound(self.model, self.validation, seed=self.seed, beside=self.validation_beside)
        self.history += (self._tally.figures(self.epoch, validation),)
        bar.set_postfix_str(f"{'lesson' if teaching else 'loss'} {mean:.4g}")

    def _teacher(self, images: Array, aligned: Aligned | None) -> Teacher | None:
        specification, training = self.specification, self.training
        if aligned is not None:
            return AlignmentTeacher(training.alignment, aligned, search_of(training.alignment, specification.invariances))
        if training.orientation.weight:
            grid = pixel_grid(specification.height_px, specification.width_px).to(self.device)
            return OrientationTeacher(training.orientation, images, grid, specification.height_px)
        if specification.invariances and (training.equivariance.epochs or training.equivariance.weight):
            return EquivarianceTeacher(training.equivariance, specification.invariances)
        return None

    def _losses(self, rows: Tensor, part: float, generator: torch.Generator) -> Iterator[Tensor]:
        """The loss of one step, scalar each, in pieces whose gradients add up; `part` of the epoch is over."""
        if self.epoch < self.taught_epochs:
            assert self.teacher is not None  # noqa: S101 (taught_epochs > 0)
            self._set_learning_rate(self.teacher.learning_rate * max(0.01, 1 - (self.epoch + part) / self.taught_epochs))
            yield self.teacher.lesson(self.model, self._view(rows, generator), generator)
            return
        fraction = (self.epoch - self.taught_epochs + part) / self.training.epochs
        weights = weights_at(self.training, fraction)
        self._set_learning_rate(weights.learning_rate)
        if self.specification.class_edges:
            yield self.training.classes.edge_weight * step_penalty(self.model.decoder.class_vectors(), self.specification.class_edges)
        if self._labelled is not None:
            labelled = next(self._labelled)
            for piece in labelled.chunk(self._pieces(len(labelled))):
                yield len(piece) / len(labelled) * self._labelled_loss(piece, weights, generator)
            recipe = self.training.regression if self.specification.targets else self.training.classes
            if (self.epoch - self.taught_epochs) / self.training.epochs < recipe.labelled_first:
                return
        for piece in rows.chunk(self._pieces(len(rows))):
            yield len(piece) / len(rows) * self._improve(piece, len(piece) / len(rows), weights, fraction, generator)

    def _pieces(self, count: int) -> int:
        """In how many pieces a batch of so many images is decoded: activations that fit into a processor's cache, and are not mapped anew."""
        specification, training = self.specification, self.training
        of_whole_batch = training.content_capacity is not None or training.class_capacity is not None  # no mean of the pieces' values
        if self.device.type != "cpu" or not self.model.spatial or of_whole_batch:
            return 1
        wanted = training.classes.pairs_per_step + training.classes.random_pairs if training.classes.pairs_per_step else specification.pair_count
        pixels = training.pixels_per_step or specification.pixels
        return pieces_of(count, wanted * pixels * max(specification.decoder_widths))

    def _view(self, rows: Tensor, generator: torch.Generator) -> View:
        view = self.teacher.view(self.images, rows, generator) if self.teacher is not None else View(self.images[rows], rows)
        if self.specification.conditions and not self.specification.targets:  # targets are told, or drawn, in the loss itself
            return replace(view, context=self._context(self.beside.at(rows)))
        return view

    def _improve(self, rows: Tensor, share: float, weights: Weights, fraction: float, generator: torch.Generator) -> Tensor:
        """The loss of images without labels, a `share` of their batch."""
        view = self._view(rows, generator)
        if self.specification.targets:
            assert self.beside.targets is not None  # noqa: S101 (a model with targets)
            unknown = torch.full_like(self.beside.targets[rows], math.nan)
            loss, parts = self._target_loss(view.images, rows, unknown, weights, generator)
            self._count(parts)
            return loss
        parts = self._bound(view.images, rows, view.context, generator)
        self._count(parts)
        told: Tensor | Posterior
        if isinstance(parts, MixtureBound):
            loss, told = self._mixture_loss(parts, share, weights), parts.posterior
        else:
            loss, told = parts.loss(weights.pose_beta, weights.content_beta, len(self.specification.pose_names)), parts.mean
        reminder = self.teacher.reminder(self.model, view, told, fraction, generator) if self.teacher is not None else None
        return loss if reminder is None else loss + reminder

    def _count(self, parts: Bound | MixtureBound) -> None:
        if isinstance(parts, MixtureBound):
            self._tally.add_bound(parts.reconstruction, parts.pose, parts.content, parts.discrete)
        else:
            self._tally.add_bound(parts.reconstruction, *parts.divergences(len(self.specification.pose_names)), None)

    def _drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Noise of the latents (n, L), and the pixels of this step (n, M), None for all."""
        pixels, wanted = self.specification.pixels, self.training.pixels_per_step
        noise = torch.randn((count, self.specification.latent_size), generator=generator, device=self.device)
        if not (self.model.spatial and 0 < wanted < pixels):
            return noise, None
        return noise, torch.randint(pixels, (count, wanted), generator=generator, device=self.device)

    def _context(self, beside: CompanionTensors, targets: Tensor | None = None) -> Tensor | None:
        return self.model.context(beside.conditions, targets)

    def _bound(
        self, images: Tensor, rows: Tensor, context: Tensor | None, generator: torch.Generator, labels: Tensor | None = None
    ) -> Bound | MixtureBound:
        """The bound of these images, which are seen with this context and stand in these rows of the data."""
        noise, chosen = self._drawn(len(images), generator)
        outputs = self.beside.at(rows).outputs
        if not self.specification.is_mixture:
            return bound(self.model, images, noise, chosen, context=context, outputs=outputs)
        recipe = self.training.classes
        pairs = Pairs(recipe.pairs_per_step, recipe.random_pairs) if recipe.pairs_per_step else None
        return mixture_bound(
            self.model, images, noise, labels=labels, chosen=chosen, pairs=pairs, generator=generator, context=context, outputs=outputs
        )

    def _labelled_loss(self, rows: Tensor, weights: Weights, generator: torch.Generator) -> Tensor:
        """The loss of images with a label, or with targets."""
        images = self.images[rows]
        if self.specification.targets:
            assert self.beside.targets is not None  # noqa: S101 (a model with targets)
            return self._target_loss(images, rows, self.beside.targets[rows], weights, generator)[0]
        assert self.labels is not None  # noqa: S101 (semi-supervised)
        labels = self.labels[rows]
        parts = self._bound(images, rows, self._context(self.beside.at(rows)), generator, labels)
        assert isinstance(parts, MixtureBound)  # noqa: S101 (a mixture)
        loss = parts.loss(weights.pose_beta, weights.content_beta, weights.discrete_beta)
        return loss + self.training.classes.label_weight * functional.nll_loss(parts.class_log_q, labels)

    def _target_loss(
        self, images: Tensor, rows: Tensor, known: Tensor, weights: Weights, generator: torch.Generator
    ) -> tuple[Tensor, Bound | MixtureBound]:
        """The loss of images whose targets are these, NaN where not known, and the bound in it."""
        told = tell(self.model, images, known, torch.randn(known.shape, generator=generator, device=self.device))
        parts = self._bound(images, rows, self._context(self.beside.at(rows), told.values), generator)
        if isinstance(parts, MixtureBound):
            loss = parts.loss(weights.pose_beta, weights.content_beta, weights.discrete_beta)
        else:
            loss = parts.loss(weights.pose_beta, weights.content_beta, len(self.specification.pose_names))
        return loss + told.divergence.mean() + self.training.regression.label_weight * told.surprise.mean(), parts

    def _mixture_loss(self, parts: MixtureBound, share: float, weights: Weights) -> Tensor:
        recipe = self.training.classes
        loss = parts.loss(weights.pose_beta, weights.content_beta, weights.discrete_beta)
        if recipe.usage_weight:
            rate = _USAGE_RATE * share
            self._usage = (1 - rate) * self._usage + rate * torch.exp(parts.class_log_q.detach()).mean(dim=0)
            loss = loss + recipe.usage_weight * usage_pull(parts.class_log_q, self._usage)
        if weights.choice:
            loss = loss + weights.choice * choice_entropy(parts.class_log_q)
        return loss

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _state(self) -> Checkpoint:
        arrays = {f"model/{name}": tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for moment, tensor in self.optimiser.state[parameter].items():
                arrays[f"adam/{moment}/{name}"] = tensor.detach().cpu().numpy()
        arrays |= {f"best/{name}": array for name, array in self.best_arrays.items()}
        return Checkpoint(arrays, self.restart, self.epoch, self.best, self.history, self.best_history)

    def _restore(self, state: Checkpoint) -> None:
        self.restart, self.epoch, self.best = state.restart, state.epoch, state.best
        self.history, self.best_history = state.history, state.best_history
        self._begin_restart()
        stored = {name: torch.from_numpy(array.copy()) for name, array in state.arrays.items()}
        self.model.load_state_dict({name[len("model/") :]: tensor for name, tensor in stored.items() if name.startswith("model/")})
        for name, parameter in self.model.named_parameters():
            moments = {moment: stored[f"adam/{moment}/{name}"] for moment in _MOMENTS if f"adam/{moment}/{name}" in stored}
            if moments:
                self.optimiser.state[parameter] = {m: t if m == "step" else t.to(self.device) for m, t in moments.items()}
        self.best_arrays = {name[len("best/") :]: array for name, array in state.arrays.items() if name.startswith("best/")}


def pieces_of(count: int, values_per_image: int) -> int:
    """In how many pieces a batch of `count` images is decoded on a processor, when a layer has so many activations for each image."""
    return min(count, math.ceil(count * values_per_image / _AT_ONCE))


def _diverged(what: str) -> InputError:
    return InputError("TRAINING_DIVERGED", f"{what}; lower training.learning_rate in the recipe and run again.")
