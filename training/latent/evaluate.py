"""The bound and the reconstruction error on images the fit never saw. Nothing here steps an optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training.latent.companions import Companions, CompanionTensors
from training.latent.likelihoods import entropy_floor
from training.latent.mixture import MixtureBound, mixture_bound
from training.latent.model import InvariantVAE
from training.latent.objective import Bound, bound
from training.latent.regression import tell

Array = np.ndarray[Any, np.dtype[Any]]

# Pixels decoded at once: 2¹⁵ rows of 64 float32 features are 8 MiB. What is larger leaves the processor's cache and is mapped anew by the
# allocator each time, which takes longer than the arithmetic.
_PIXELS_AT_ONCE = 1 << 15
# One draw of z per image has a noise of a few nats; the mean over images and four draws settles it.
_SAMPLES = 4
# Probability of a class and angle bin: what is left out of a bound of some hundred nats is a few thousandths of one.
_NEGLIGIBLE = 1e-5
# Of classes and angle bins, how many one image is taken to need at once; more only take more memory.
_PAIRS_AT_ONCE = 4
# What a fit watches after each epoch: about a tenth of the epoch's own work. A mean over fewer images than this says nothing.
_WATCHED_PIXELS = 1 << 18
_FEWEST_WATCHED = 8


@dataclass(frozen=True)
class HeldOut:
    """Of each image (n,): `total` −ELBO in nats, `error` mean squared difference of image and reconstruction (posterior mean), unit 1.

    Where another kind is drawn than goes in, both are of what is drawn. Targets are taken as not known.

    `excess` (n,): −log p(x|z at the posterior mean) above the entropy of the grey values, nats; Bernoulli only, else None.
    """

    total: Array
    error: Array
    excess: Array | None


@torch.no_grad()
def held_out_bound(model: InvariantVAE, images: Array, *, seed: int, unclipped: Array | None = None, beside: Companions | None = None) -> HeldOut:
    """Evaluates the model.

    Args:
        model: on any device.
        images: (n, h, w, c) float32, normalised (and clipped for the Bernoulli kinds).
        seed: draws the latents; the same seed gives the same figures.
        unclipped: (n, h, w, c) the same images not clipped (or outputs, where those are drawn), which `error` is measured on; None: as they are.
        beside: conditions, and normalised outputs, of the images, where the model has such.
    """
    device = model.grid.device
    generator = torch.Generator().manual_seed(seed)
    at_once = max(1, _PIXELS_AT_ONCE // (model.specification.pixels * min(_PAIRS_AT_ONCE, model.specification.pair_count)))
    bernoulli = model.specification.likelihood == "bernoulli"
    beside = beside or Companions()
    totals, errors, excesses = [], [], []
    for start in range(0, len(images), at_once):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + at_once])).to(device)
        own = beside.at(slice(start, start + at_once)).tensors(device)
        shape, width = (len(batch), model.specification.latent_size), len(model.specification.targets)
        draws = []
        for _ in range(_SAMPLES):
            noise = torch.randn(shape, generator=generator).to(device)
            draws.append(_whole(model, batch, own, noise, torch.randn((len(batch), width), generator=generator).to(device))[0])
        totals.append(torch.stack(draws).mean(dim=0).cpu().numpy())
        drawn = batch if own.outputs is None else own.outputs
        target = drawn if unclipped is None else torch.from_numpy(np.ascontiguousarray(unclipped[start : start + at_once])).to(device)
        errors.append(torch.square(target - model.images(model.read(batch, own.conditions).sampling)).mean(dim=(1, 2, 3)).cpu().numpy())
        if bernoulli:
            _, reached = _whole(model, batch, own, torch.zeros(shape, device=device), torch.zeros((len(batch), width), device=device))
            excesses.append((reached - entropy_floor(drawn).sum(dim=(1, 2, 3))).cpu().numpy())
    return HeldOut(np.concatenate(totals), np.concatenate(errors), np.concatenate(excesses) if bernoulli else None)


@torch.no_grad()
def sample_bound(model: InvariantVAE, images: Array, *, seed: int, beside: Companions | None = None) -> float | None:
    """Mean −ELBO, nats per image, of evenly spaced images out of (n, h, w, c), with one draw of z that is the same in each call.

    As many images as are cheap; None where those are fewer than eight.
    """
    specification = model.specification
    count = min(len(images), _WATCHED_PIXELS // (specification.pixels * min(_PAIRS_AT_ONCE, specification.pair_count)))
    if count < _FEWEST_WATCHED:
        return None
    rows = np.linspace(0, len(images) - 1, count).round().astype(np.int64)
    generator, device = torch.Generator().manual_seed(seed), model.grid.device
    sizes = (specification.latent_size, len(specification.targets))
    noise, target_noise = (torch.randn((count, size), generator=generator).to(device) for size in sizes)
    batch = torch.from_numpy(np.ascontiguousarray(images[rows])).to(device)
    value = float(_whole(model, batch, (beside or Companions()).at(rows).tensors(device), noise, target_noise)[0].mean())
    return value if np.isfinite(value) else None


def _whole(
    model: InvariantVAE, images: torch.Tensor, own: CompanionTensors, noise: torch.Tensor, target_noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """−ELBO and −log p(x|z) of each image (n,), summed over every class and angle bin that counts, targets drawn."""
    told = tell(model, images, torch.full_like(target_noise, torch.nan), target_noise) if model.specification.targets else None
    context = model.context(own.conditions, None if told is None else told.values)
    if model.specification.is_mixture:
        parts: Bound | MixtureBound = mixture_bound(model, images, noise, negligible=_NEGLIGIBLE, context=context, outputs=own.outputs)
    else:
        parts = bound(model, images, noise, context=context, outputs=own.outputs)
    return parts.total() if told is None else parts.total() + told.divergence, parts.reconstruction


@torch.no_grad()
def predict_outputs(model: InvariantVAE, images: Array, conditions: Array | None = None) -> Array:
    """What is drawn from the posterior mean of images (n, h, w, c): (n, h', w', c') float32, normalised."""
    device, parts = model.grid.device, []
    at_once = max(1, _PIXELS_AT_ONCE // model.specification.pixels)
    for start in range(0, len(images), at_once):
        rows = slice(start, start + at_once)
        own = Companions(conditions).at(rows).tensors(device)
        reading = model.read(torch.from_numpy(np.ascontiguousarray(images[rows])).to(device), own.conditions)
        parts.append(model.images(reading.sampling).cpu().numpy())
    return np.concatenate(parts)


@torch.no_grad()
def tell_targets(model: InvariantVAE, images: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (n, t) float64 of the targets of images (n, h, w, c), in their units."""
    parts = []
    for start in range(0, len(images), 1024):
        mean, sd = model.targets(torch.from_numpy(np.ascontiguousarray(images[start : start + 1024])).to(model.grid.device))
        parts.append(torch.stack((mean, sd)).cpu().numpy().astype(np.float64))
    mean, sd = np.concatenate(parts, axis=1)
    own_mean, own_sd = (np.array([getattr(column, fact) for column in model.specification.targets]) for fact in ("mean", "sd"))
    return mean * own_sd + own_mean, sd * own_sd


@torch.no_grad()
def encode_images(model: InvariantVAE, images: Array, conditions: Array | None = None) -> dict[str, Array]:
    """Reported pose, content and class probabilities of images (n, h, w, c), by the names of the encode signature; those that the model has.

    `conditions` (n, k) in their units, for a model that has some.
    """
    device = model.grid.device
    found: dict[str, list[Array]] = {}
    for start in range(0, len(images), 1024):
        own = Companions(conditions).at(slice(start, start + 1024)).tensors(device)
        reading = model.read(torch.from_numpy(np.ascontiguousarray(images[start : start + 1024])).to(device), own.conditions)
        sampling = reading.sampling
        pose = model.object_pose(sampling)
        present = model.specification.invariances
        if "rotation" in present:
            found.setdefault("angle_rad", []).append(pose.angle_rad.cpu().numpy())
        if "scale" in present:
            found.setdefault("scale", []).append(pose.scale.cpu().numpy())
        if "translation" in present:
            if model.specification.output_kind == "images":
                found.setdefault("shift_down_px", []).append(pose.shift_down_px.cpu().numpy())
            found.setdefault("shift_right_px", []).append(pose.shift_right_px.cpu().numpy())
        found.setdefault("content", []).append(sampling.content.cpu().numpy())
        if reading.class_probabilities is not None:
            found.setdefault("class_probabilities", []).append(reading.class_probabilities.cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}
