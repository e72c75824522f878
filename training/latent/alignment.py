"""[ours] Multi-reference alignment: class averages, and every image's class and pose, found before any network.

The bound of a joint model has many local minima in which two kinds of object share a class and split by orientation. A mixture of K moved
pictures, x = M_p t_k + noise with uniform priors over classes k and over a grid of poses p, is small enough to be fitted exactly, from many
beginnings, in seconds: expectation maximisation as in the two-dimensional classification of electron microscopy (Sigworth, J. Struct. Biol.
122, 328 (1998)). What it finds is taught to the encoder (teachers.py); the bound then decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training.latent.coordinates import object_centre, pixel_grid, sampling_shift
from training.latent.equivariance import Movement, move_images
from training.recipe import Alignment

# The longer side of the images that are aligned, pixels.
_SIDE_PX = 24
# Images that the restarts, and then the finer search, are made on; every image is placed at the end.
_FEW, _SOME = 400, 800
# Of the restarts: steps, and by how much the first one's noise variance is enlarged (deterministic annealing, falling to 1).
_STEPS, _HEAT = 15, 20.0
_FINE_STEPS = 6
# Squared distances computed at once.
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Search:
    """The poses that are tried: the full circle if `rotation`, centres within ±`shift` (grid units) per axis, object scales within `scale`."""

    rotation: bool
    shift: float
    scale: tuple[float, float]

    def draw(self, poses: Movement, generator: torch.Generator) -> Movement:
        """Poses (n,) drawn anew from what is searched, uniform in angle, centre and log scale; what is not searched stays as in `poses`."""
        count = len(poses.angle)
        drawn = torch.rand((count, 4), generator=generator, device=generator.device)
        angle = math.pi * (2 * drawn[:, 0] - 1) if self.rotation else poses.angle
        low, high = (math.log(end) for end in self.scale)
        scale = torch.exp(-(low + (high - low) * drawn[:, 1])) if high > low else poses.scale
        if not self.shift:
            row, column = object_centre(poses.angle, poses.shift, poses.scale)
        else:
            row, column = (self.shift * (2 * drawn[:, axis] - 1) for axis in (2, 3))
        return Movement(angle, sampling_shift(angle, scale, row, -column, 3), scale)

    def poses(self, angles: int, shifts: int, scales: int) -> Movement:
        """A grid of so many steps along each axis that is searched, as the sampling that draws an object in each pose, (P,) each."""
        turns = torch.arange(angles) * (2 * math.pi / angles) if self.rotation else torch.zeros(1)
        centres = torch.linspace(-self.shift, self.shift, shifts) if self.shift else torch.zeros(1)
        low, high = self.scale
        sizes = torch.exp(torch.linspace(math.log(low), math.log(high), scales)) if high > low else torch.full((1,), low)
        angle, row, column, size = (part.flatten() for part in torch.meshgrid(turns, centres, centres, sizes, indexing="ij"))
        scale = 1 / size
        return Movement(angle, sampling_shift(angle, scale, row, -column, 3), scale)  # a side of 3 px: one pixel is one grid unit


def search_of(recipe: Alignment, invariances: tuple[str, ...]) -> Search:
    """The poses a recipe wants searched, of a model with these invariances."""
    shift = 2 * recipe.shift if "translation" in invariances else 0.0  # a fraction of the side; the side is 2 grid units
    return Search("rotation" in invariances, shift, recipe.scale if "scale" in invariances else (1.0, 1.0))


@dataclass(frozen=True)
class Aligned:
    """What was found.

    Attributes:
        classes: (n,) int64 class of each image.
        poses: (n,) the sampling that draws the class's average like the image.
        averages: (K, h', w', c) the class averages, reduced to at most 24 px.
        residual: mean squared difference of an image and its moved class average, summed over pixels.
    """

    classes: Tensor
    poses: Movement
    averages: Tensor
    residual: float


@torch.no_grad()
def align(images: Tensor, classes: int, search: Search, *, seed: int, restarts: int, labels: Tensor | None = None) -> Aligned:
    """Sorts images into classes of moved copies.

    Args:
        images: (n, h, w, c) float32, normalised.
        classes: K.
        search: the poses tried.
        seed: of the restarts' beginnings; the same seed gives the same answer.
        restarts: beginnings tried without labels, of which the one with the least residual is kept.
        labels: (n,) int64, −1 unlabelled, at least one of each class: the averages are then those of labelled images, which keep their class.
    """
    small = _reduced(images)
    grid = pixel_grid(*small.shape[1:3]).to(images.device)
    coarse, fine = (_to(search.poses(*counts), images.device) for counts in ((24, 5, 3), (36, 7, 4)))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(small), generator=generator).to(images.device)
    if labels is not None:
        # From the labelled images alone: where the others vary in more than pose, averages of both drift from class to class.
        mixture = _Mixture(grid, fine, centred=False)
        rows = order[labels[order] >= 0][:_SOME]
        means = torch.stack([small[labels == k].mean(dim=0) for k in range(classes)])
        averages, _ = mixture.fit(small[rows], means, _FINE_STEPS, 1.0, labels[rows])
        return mixture.place(small, averages, labels)
    few, best = small[order[:_FEW]], math.inf
    mixture = _Mixture(grid, coarse, centred=bool(search.shift))
    for _ in tqdm(range(restarts), desc="aligning", unit="restart", delay=2, disable=None):
        found, residual = mixture.fit(few, mixture.begin(few, classes, generator), _STEPS, _HEAT)
        if residual < best:
            best, averages = residual, found
    mixture = _Mixture(grid, fine, centred=bool(search.shift))
    averages, _ = mixture.fit(small[order[:_SOME]], averages, _FINE_STEPS, 1.0)
    return mixture.place(small, averages, None)


class _Mixture:
    """Moved class averages with one grid of poses."""

    def __init__(self, grid: Tensor, poses: Movement, *, centred: bool) -> None:
        self.grid = grid
        self.poses = poses
        self.count = len(poses.angle)
        self.centred = centred
        # x' = s·(x R(φ)) + dx solved for x.
        self.back = Movement(-poses.angle, torch.stack(object_centre(poses.angle, poses.shift, poses.scale), dim=1), 1 / poses.scale)

    def begin(self, images: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        """K images as first averages, each far from any pose of those before it (k-means++)."""
        first = int(torch.randint(len(images), (1,), generator=generator))
        averages = self._centred(images[first : first + 1])
        while len(averages) < classes:
            far = self._distances(images, self._moved(averages)).flatten(1).amin(dim=1).clamp_min(1e-12).cpu()
            chosen = int(torch.multinomial(far, 1, generator=generator))
            averages = torch.cat((averages, self._centred(images[chosen : chosen + 1])))
        return averages

    def fit(self, images: Tensor, averages: Tensor, steps: int, heat: float, labels: Tensor | None = None) -> tuple[Tensor, float]:
        """Expectation maximisation. Returns the averages (K, h, w, c) and their residual."""
        flat = images.flatten(1)
        residual = math.inf
        for step in range(steps):
            distances = self._distances(images, self._moved(averages), labels)
            nearest = distances.flatten(1).amin(dim=1)
            residual = float(nearest.mean())
            variance = max(residual / flat.shape[1], 1e-8)
            softened = heat ** (1 - step / max(1, steps - 1))
            # r_ikp = p(k, p | x_i); the nearest one is subtracted so that the exponential does not underflow.
            weights = torch.softmax((nearest[:, None] - distances.flatten(1)) / (2 * variance * softened), dim=1)
            # t_k = Σ_ip r_ikp M_p⁻¹ x_i / Σ_ip r_ikp; moving back is linear, so the images of one pose are summed first.
            sums = (weights.T @ flat).reshape(-1, *images.shape[1:])
            moved_back = move_images(sums, self.grid, _repeated(self.back, len(averages)))
            total = weights.sum(dim=0).reshape(len(averages), -1).sum(dim=1)[:, None, None, None]
            moved_back = moved_back.reshape(len(averages), self.count, *images.shape[1:]).sum(dim=1)
            # A class that no image is near keeps the picture it has.
            averages = self._centred(torch.where(total > 1e-6, moved_back / total.clamp_min(1e-6), averages))
        return averages, residual

    def place(self, images: Tensor, averages: Tensor, labels: Tensor | None) -> Aligned:
        """Each image's nearest class and pose."""
        moved = self._moved(averages)
        best, at = [], []
        for rows in torch.arange(len(images), device=images.device).split(max(1, _AT_ONCE // (self.count * len(averages)))):
            nearest = self._distances(images[rows], moved, None if labels is None else labels[rows]).flatten(1).min(dim=1)
            best.append(nearest.values)
            at.append(nearest.indices)
        index = torch.cat(at)
        return Aligned(index // self.count, self.poses.at(index % self.count), averages, float(torch.cat(best).mean()))

    def _moved(self, averages: Tensor) -> Tensor:
        """M_p t_k, the averages in every pose: (K·P, h·w·c)."""
        return move_images(averages.repeat_interleave(self.count, dim=0), self.grid, _repeated(self.poses, len(averages))).flatten(1)

    def _distances(self, images: Tensor, moved: Tensor, labels: Tensor | None = None) -> Tensor:
        """|x − M_p t_k|² (n, K, P) of the averages in every pose; infinite for classes that a label excludes."""
        flat, classes = images.flatten(1), len(moved) // self.count
        squares = torch.square(flat).sum(dim=1)[:, None] - 2 * flat @ moved.T + torch.square(moved).sum(dim=1)
        distances = squares.clamp_min(0).reshape(len(images), classes, self.count)
        if labels is None:
            return distances
        excluded = (labels[:, None] >= 0) & (labels[:, None] != torch.arange(classes, device=labels.device))
        return distances.masked_fill(excluded[:, :, None], torch.inf)

    def _centred(self, averages: Tensor) -> Tensor:
        """Averages moved so that what differs from their border has its centre of mass in the middle: the search is about the middle."""
        if not self.centred:
            return averages
        border = torch.cat([averages[:, 0], averages[:, -1], averages[:, :, 0], averages[:, :, -1]], dim=1).median(dim=1).values
        weight = (averages - border[:, None, None, :]).abs().sum(dim=3).flatten(1)
        centre = (weight @ self.grid) / weight.sum(dim=1, keepdim=True).clamp_min(1e-9)
        return move_images(averages, self.grid, Movement(centre.new_zeros(len(centre)), centre, centre.new_ones(len(centre))))


def _reduced(images: Tensor) -> Tensor:
    """Images (n, h, w, c) averaged down to at most 24 px along the longer side."""
    height, width = images.shape[1:3]
    share = min(1.0, _SIDE_PX / max(height, width))
    size = (max(2, round(height * share)), max(2, round(width * share)))
    return functional.adaptive_avg_pool2d(images.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1).contiguous()


def _repeated(movement: Movement, times: int) -> Movement:
    return Movement(movement.angle.repeat(times), movement.shift.repeat(times, 1), movement.scale.repeat(times))


def _to(movement: Movement, device: torch.device) -> Movement:
    return Movement(movement.angle.to(device), movement.shift.to(device), movement.scale.to(device))


def movement_between(poses: Movement, wanted: Movement) -> Movement:
    """How images of objects in `poses` (n,) are resampled so that the objects come to stand in `wanted` (n,): T_p⁻¹ T_w of the two samplings."""
    row, column = object_centre(poses.angle, wanted.shift - poses.shift, poses.scale)
    return Movement(wanted.angle - poses.angle, -torch.stack((row, column), dim=1), wanted.scale / poses.scale)
