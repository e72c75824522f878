"""The figures of each stage, measured on held-out windows, as the manifest's metrics; their names end in w1, w2, ... , the shortest window first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dichroic.bundle import Metric
from training.data.dataset import Array
from training.errors import InputError
from training.latent.evaluate import held_out_bound, predict_outputs
from training.latent.model import InvariantVAE
from training.latent.normalisation import normalised
from training.scales.prepare import Stage
from training.scales.statistics.explained import axes_explained, explained_fraction, second_axis_share
from training.scales.statistics.units import ACTIVE_ABOVE, UnitUse, unit_use

_AT_ONCE = 1024


@dataclass(frozen=True)
class StageFigures:
    """One stage's model on held-out windows.

    Attributes:
        negative_elbo: mean −ELBO (β = 1), nats per descriptor.
        reconstruction_mse: mean squared difference in the normalised scale, not clipped.
        explained: 1 − MSE/Var over all windows.
        axes: (L,) E_j, shares of the descriptors' variance along the latent's principal axes, descending.
        use: of each content latent on a line.
    """

    negative_elbo: float
    reconstruction_mse: float
    explained: float
    axes: Array
    use: UnitUse


@torch.no_grad()
def stage_latents(model: InvariantVAE, images: Array) -> tuple[Array, Array]:
    """Posterior mean and standard deviation (n, L) float32 of the raw latents of normalised descriptors (n, d, d, c)."""
    means, sds = [], []
    for start in range(0, len(images), _AT_ONCE):
        reading = model.read(torch.from_numpy(np.ascontiguousarray(images[start : start + _AT_ONCE])).to(model.grid.device))
        means.append(reading.mean.cpu().numpy())
        sds.append(reading.sd.cpu().numpy())
    return np.concatenate(means), np.concatenate(sds)


def stage_figures(model: InvariantVAE, stage: Stage, seed: int) -> StageFigures:
    """Measures one model on the held-out windows of one length.

    Raises:
        InputError: TRAINING_DIVERGED: a figure is not a finite number.
    """
    prepared = stage.prepared
    seen = normalised(prepared.held_out.images, prepared.preprocessing)
    whole = normalised(prepared.held_out.images, prepared.preprocessing, clip=False)
    found = held_out_bound(model, seen, seed=seed, unclipped=whole)
    if not (np.isfinite(found.total).all() and np.isfinite(found.error).all()):
        raise InputError(
            "TRAINING_DIVERGED",
            f"The bound or the reconstruction error of the stage of {stage.label} is not finite; lower training.learning_rate and run again.",
        )
    mean, sd = stage_latents(model, seen)
    lines = content_lines(model)
    return StageFigures(
        negative_elbo=float(found.total.mean()),
        reconstruction_mse=float(found.error.mean()),
        explained=explained_fraction(whole, predict_outputs(model, seen)),
        axes=axes_explained(mean[:, lines], whole) if lines else np.empty(0),
        use=unit_use(mean[:, lines], sd[:, lines]),
    )


def content_lines(model: InvariantVAE) -> list[int]:
    """Columns of the raw latents that are content on lines: pose is no unit of what is seen, and an angle has no variance of this kind."""
    specification = model.specification
    on_circles = specification.circle_columns("latent_mean")
    return [column for column in range(len(specification.pose_names), specification.latent_size) if column not in on_circles]


def stage_metrics(models: Sequence[InvariantVAE], stages: Sequence[Stage], seed: int) -> tuple[Metric, ...]:
    """The figures of every stage.

    Raises:
        InputError: TRAINING_DIVERGED.
    """
    metrics = []
    for number, (model, stage) in enumerate(zip(models, stages, strict=True), start=1):
        found, split = stage_figures(model, stage, seed), stage.prepared.held_out.name
        names = [model.specification.latent_names[column] for column in content_lines(model)]
        rows = [
            ("negative_elbo", found.negative_elbo, "nats/image", "mean −ELBO of this stage's descriptors, β = 1, four draws"),
            ("reconstruction_mse", found.reconstruction_mse, "1", "mean squared difference, input range scaled to [0, 1], not clipped"),
            ("explained_fraction", found.explained, "1", "1 − MSE/Var, Var about each pixel's mean over the windows"),
            ("active_units", float(found.use.active_count), "1", f"content latents whose posterior mean has a variance above {ACTIVE_ABOVE:g}"),
            (
                "second_axis_share",
                second_axis_share(found.axes),
                "1",
                "E_2/(E_1 + E_2) of the descriptor variance along the content's principal axes",
            ),
        ]
        use = found.use
        for name, variance, uncertainty, divergence in zip(names, use.variance, use.uncertainty, use.divergence_nats, strict=True):
            rows.append((f"variance_{name}", float(variance), "1", f"V: variance of the posterior mean of {name}"))
            rows.append((f"uncertainty_{name}", float(uncertainty), "1", f"A: mean posterior variance of {name}"))
            rows.append((f"kl_{name}", float(divergence), "nats", f"KL: mean divergence of the posterior of {name} from its prior"))
        metrics += [
            Metric(name=f"{name}_w{number}", value=value, unit=unit, split=split, meaning=meaning)
            for name, value, unit, meaning in rows
            if np.isfinite(value)
        ]
    return tuple(metrics)
