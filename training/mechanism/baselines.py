"""What a scientist would try first, on the same points: each tells the distribution of y at new points, and nothing of who caused it.

The Gaussian processes stop as ours do, by the points set aside, and have as many starts; with `outliers` each has the same mixture of noises as ours
(`robust.py`), the forest and the deep kernel by the residuals of points they were not fitted to.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from torch import Tensor, nn
from tqdm import trange

from training.mechanism import figures, robust
from training.mechanism.fit import Fitted, fit
from training.mechanism.gaussian_process import Surprise
from training.mechanism.robust import Outliers
from training.mechanism.structure import Array, Mechanism, product

_TREES, _FOLDS = 300, 5
_DEEP_SIZE, _DEEP_STEPS, _DEEP_RATE, _DECAY = 3, 300, 3e-3, 1e-2
# Steps between two looks at the points set aside, and looks without a better density after which it is given up.
_LOOK, _PATIENCE = 5, 12
_SET_ASIDE = 1 / 7
_NOISE_FLOOR = 1e-4


@dataclass(frozen=True)
class Told:
    """What is said of y at n points.

    Attributes:
        mean: (n,).
        variance: (n,) noise included.
        noise_variance: σ² of that where there may be outliers; else 0, and the distribution is Gaussian.
        outliers: of the noise; None: none.
    """

    mean: Array
    variance: Array
    noise_variance: float = 0.0
    outliers: Outliers | None = None

    def nlpd(self, y: Array) -> float:
        """Mean negative log density of y (n,), nats per point."""
        if self.outliers is None:
            return figures.nlpd(self.mean, self.variance, y)
        return -float(np.mean(self.outliers.log_density(self.mean, self._of_f(self.outliers), y, self.noise_variance)))

    def coverage(self, y: Array, probability: float) -> float:
        """The share of y (n,) inside the central interval that should hold `probability` of it."""
        if self.outliers is None:
            return figures.coverage(self.mean, self.variance, y, probability)
        return float(np.mean(self.outliers.reach(self.mean, self._of_f(self.outliers), y, self.noise_variance) <= probability))

    def _of_f(self, outliers: Outliers) -> Array:
        return self.variance - outliers.mean_variance(self.noise_variance)


def told_by(fitted: Fitted, latents: Array) -> Told:
    """Of y, by a fitted structure at latents (n, D)."""
    told = fitted.posterior.predict(latents)
    return _with_noise(told.total_mean, told.total_variance, fitted.noise_variance, fitted.outliers)


def plain_gp(inputs: Array, y: Array, new: Array, *, seed: int, validation: Array, pixels: int = 0, starts: int = 3, outliers: bool = False) -> Told:
    """One RBF kernel over all inputs (N, D), standardised.

    The first `pixels` of them are samples of one picture or curve and have one lengthscale together; each other has its own.
    """
    low, spread = inputs.mean(axis=0), inputs.std(axis=0)
    keep = spread > 0
    standard, at = ((values[:, keep] - low[keep]) / spread[keep] for values in (inputs, new))
    of_picture, rest = int(keep[:pixels].sum()), int(keep[pixels:].sum())
    # Distances grow with the number of inputs: of D pixels together a unit of the lengthscale is √D.
    scale = np.concatenate((np.full(of_picture, 1 / np.sqrt(max(of_picture, 1))), np.full(rest, 1 / np.sqrt(max(rest, 1)))))
    both = (Mechanism("picture", 0, of_picture, shared=True), Mechanism("scalars", of_picture, rest))
    mechanisms = tuple(mechanism for mechanism in both if mechanism.size)
    return product_gp(mechanisms, standard * scale, y, at * scale, seed=seed, validation=validation, starts=starts, outliers=outliers)


def product_gp(
    mechanisms: tuple[Mechanism, ...],
    latents: Array,
    y: Array,
    new: Array,
    *,
    seed: int,
    validation: Array,
    starts: int = 3,
    outliers: bool = False,
) -> Told:
    """The same latents (N, D) as a structure's, and one function of all of them: what the structure adds is what this lacks."""
    terms = product(*(mechanism.name for mechanism in mechanisms))
    return told_by(fit(mechanisms, terms, latents, y, seed=seed, validation=validation, starts=starts, outliers=outliers), new)


def random_forest(inputs: Array, y: Array, new: Array, *, seed: int, groups: Array | None = None, outliers: bool = False) -> Told:
    """300 trees.

    A forest has no distribution of y. Its noise is that of points left out, in five folds: one variance (or one mixture) for all points, which knows
    nothing of where a point lies. `groups` (N,) are left out as wholes, such as blocks of a map whose neighbours tell of each other.
    """
    forest = RandomForestRegressor(_TREES, max_features=1 / 3, random_state=seed).fit(inputs, y)
    folds = KFold(_FOLDS, shuffle=True, random_state=seed) if groups is None else GroupKFold(min(_FOLDS, len(np.unique(groups))))
    smaller = RandomForestRegressor(_TREES // 3, max_features=1 / 3, random_state=seed)
    left = y - cross_val_predict(smaller, inputs, y, cv=folds, groups=groups)
    mean = forest.predict(new)
    if outliers:
        return _with_noise(mean, np.zeros(len(new)), *robust.of_residuals(left, np.zeros(len(y))))
    return _with_noise(mean, np.zeros(len(new)), float(np.mean(left**2)), None)


class _DeepKernel(nn.Module):
    """One encoder of a patch and the other inputs together to a few latents, and an RBF kernel over them."""

    def __init__(self, side: int, others: int) -> None:
        super().__init__()
        reduced = (side + 3) // 4
        self.image = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * reduced**2, 16)
        )
        self.joint = nn.Sequential(nn.Linear(16 + others, 64), nn.ReLU(), nn.Linear(64, _DEEP_SIZE))
        self.log_lengthscale, self.log_variance = nn.Parameter(torch.zeros(_DEEP_SIZE)), nn.Parameter(torch.zeros(()))
        self.log_noise, self.mean = nn.Parameter(torch.tensor(-2.0)), nn.Parameter(torch.zeros(()))
        self.double()

    def groups(self) -> list[dict[str, object]]:
        """Of the optimiser: decay pulls the networks' weights to 0; on a log lengthscale, variance or noise it would be a prior nobody chose."""
        networks = [*self.image.parameters(), *self.joint.parameters()]
        weights = [values for values in networks if values.ndim > 1]
        others = [values for values in networks if values.ndim == 1] + [self.log_lengthscale, self.log_variance, self.log_noise, self.mean]
        return [{"params": weights, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]

    def latents(self, patches: Tensor, others: Tensor) -> Tensor:
        return self.joint(torch.cat((self.image(patches[:, None]), others), dim=1)) / torch.exp(self.log_lengthscale)

    def kernel(self, first: Tensor, second: Tensor) -> Tensor:
        square = torch.square(first[:, None] - second[None]).sum(dim=2)
        return torch.exp(self.log_variance - 0.5 * square)

    def noise(self) -> Tensor:
        return torch.exp(self.log_noise) + _NOISE_FLOOR

    def total(self, z: Tensor) -> Tensor:
        """The covariance (n, n) of y at latents (n, d)."""
        return self.kernel(z, z) + self.noise() * torch.eye(len(z), dtype=torch.float64)

    def loss(self, inputs: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        """−log p(y) per point, without its constant."""
        value: Tensor = Surprise.apply(self.total(self.latents(*inputs)), y - self.mean)  # type: ignore[no-untyped-call]
        return value / len(y)

    @torch.no_grad()
    def tell(self, inputs: tuple[Tensor, Tensor], y: Tensor, new: tuple[Tensor, Tensor]) -> tuple[Array, Array]:
        """Mean and variance (n,) of f at new points."""
        z, at = self.latents(*inputs), self.latents(*new)
        half_factor = torch.linalg.cholesky(self.total(z))
        cross = torch.linalg.solve_triangular(half_factor, self.kernel(z, at), upper=False)
        half = torch.linalg.solve_triangular(half_factor, (y - self.mean)[:, None], upper=False)
        variance = torch.exp(self.log_variance) - torch.square(cross).sum(dim=0)
        return (self.mean + (cross.T @ half)[:, 0]).numpy(), torch.clamp(variance, min=0).numpy()


def deep_kernel(
    patches: Array,
    others: Array,
    y: Array,
    new_patches: Array,
    new_others: Array,
    *,
    seed: int,
    validation: Array | None = None,
    outliers: bool = False,
) -> Told:
    """One-encoder deep kernel learning: patches (N, h, h), other inputs (N, d), by the exact marginal likelihood.

    The points of `validation` (N,) bool (a seventh of them, drawn, where it is None) do not enter the likelihood; the step after which their density
    is best is kept, and then all points are conditioned on. Weight decay is on the networks' weights alone.
    """
    if validation is None:
        validation = np.zeros(len(y), dtype=bool)
        validation[np.random.default_rng(seed).permutation(len(y))[: max(1, round(_SET_ASIDE * len(y)))]] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _DeepKernel(patches.shape[1], others.shape[1])
    centre, scale = robust.middle_and_spread(y) if outliers else (float(y.mean()), float(y.std()))
    # A point far off is worth a step of 4 spreads to a likelihood that is Gaussian, whatever it is worth to the density.
    standard = np.clip((y - centre) / scale, -4, 4) if outliers else (y - centre) / scale
    grey, low, spread = (float(patches.mean()), float(patches.std())), others.mean(axis=0), others.std(axis=0)

    def at(pictures: Array, rest: Array) -> tuple[Tensor, Tensor]:
        both = (pictures - grey[0]) / (grey[1] or 1.0), (rest - low) / np.where(spread > 0, spread, 1.0)
        return torch.from_numpy(np.asarray(both[0], np.float64)), torch.from_numpy(np.asarray(both[1], np.float64))

    inner, aside = at(patches[~validation], others[~validation]), at(patches[validation], others[validation])
    inner_y = torch.from_numpy(standard[~validation])
    _stopped(model, inner, inner_y, aside, standard[validation])
    told_aside = model.tell(inner, inner_y, aside)
    mean, variance = model.tell(at(patches, others), torch.from_numpy(standard), at(new_patches, new_others))
    mean, variance = mean * scale + centre, variance * scale**2
    if not outliers:
        return _with_noise(mean, variance, float(model.noise().detach()) * scale**2, None)
    return _with_noise(mean, variance, *robust.of_residuals(y[validation] - (told_aside[0] * scale + centre), told_aside[1] * scale**2))


def _stopped(model: _DeepKernel, inputs: tuple[Tensor, Tensor], y: Tensor, aside: tuple[Tensor, Tensor], aside_y: Array) -> list[float]:
    """Adam, and the parameters of the look with the best density of the points set aside; what each look said."""
    optimiser = torch.optim.AdamW(model.groups(), lr=_DEEP_RATE)
    best, best_state, since, seen = np.inf, copy.deepcopy(model.state_dict()), 0, []
    for step in trange(_DEEP_STEPS + 1, desc="deep kernel", unit="step", delay=2, leave=False, disable=None):
        if step % _LOOK == 0:
            mean, variance = model.tell(inputs, y, aside)
            seen.append(figures.nlpd(mean, variance + float(model.noise().detach()), aside_y))
            if seen[-1] < best:
                best, best_state, since = seen[-1], copy.deepcopy(model.state_dict()), 0
            else:
                since += 1
            if since >= _PATIENCE:
                break
        optimiser.zero_grad()
        model.loss(inputs, y).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    model.load_state_dict(best_state)
    return seen


def _with_noise(mean: Array, variance: Array, noise_variance: float, outliers: Outliers | None) -> Told:
    if outliers is None:
        return Told(mean, variance + noise_variance)
    return Told(mean, variance + outliers.mean_variance(noise_variance), noise_variance, outliers)
