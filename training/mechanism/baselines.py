"""What a scientist would try first, on the same points: each tells mean and variance of y at new points, and nothing of who caused it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor, nn
from tqdm import trange

from training.mechanism.fit import fit
from training.mechanism.structure import Array, Mechanism, product

_TREES = 300
_DEEP_SIZE, _DEEP_STEPS, _DEEP_RATE, _DECAY = 3, 300, 3e-3, 1e-4


@dataclass(frozen=True)
class Told:
    """Mean (n,) and variance (n,) of y, noise included."""

    mean: Array
    variance: Array


def plain_gp(inputs: Array, y: Array, new: Array, *, seed: int, validation: Array) -> Told:
    """One RBF kernel over all inputs (N, D), standardised, with a lengthscale for each."""
    low, spread = inputs.mean(axis=0), inputs.std(axis=0)
    keep = spread > 0
    standard, at = ((values[:, keep] - low[keep]) / spread[keep] for values in (inputs, new))
    # Distances grow with the number of inputs: with D of them a unit of the lengthscale is √D.
    scale = 1 / np.sqrt(standard.shape[1])
    mechanism = Mechanism("all", 0, standard.shape[1])
    fitted = fit((mechanism,), product("all"), standard * scale, y, seed=seed, validation=validation, starts=1)
    told = fitted.posterior.predict(at * scale)
    return Told(told.total_mean, told.total_variance + fitted.noise_variance)


def random_forest(inputs: Array, y: Array, new: Array, *, seed: int) -> Told:
    """300 trees; the variance is that of the trees' answers and of what is left out of the bag, which is all it can honestly claim."""
    forest = RandomForestRegressor(_TREES, max_features=1 / 3, random_state=seed).fit(inputs, y)
    trees = np.stack([tree.predict(new) for tree in forest.estimators_])
    left = cross_val_predict(
        RandomForestRegressor(_TREES // 3, max_features=1 / 3, random_state=seed), inputs, y, cv=KFold(5, shuffle=True, random_state=seed)
    )
    return Told(trees.mean(axis=0), np.full(len(new), float(np.mean((y - left) ** 2))))


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

    def latents(self, patches: Tensor, others: Tensor) -> Tensor:
        return self.joint(torch.cat((self.image(patches[:, None]), others), dim=1)) / torch.exp(self.log_lengthscale)

    def kernel(self, first: Tensor, second: Tensor) -> Tensor:
        square = torch.square(first[:, None] - second[None]).sum(dim=2)
        return torch.exp(self.log_variance - 0.5 * square)


def deep_kernel(patches: Array, others: Array, y: Array, new_patches: Array, new_others: Array, *, seed: int) -> Told:
    """One-encoder deep kernel learning, by the exact marginal likelihood of all points: patches (N, h, h), other inputs (N, d)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _DeepKernel(patches.shape[1], others.shape[1])
    low, spread = others.mean(axis=0), others.std(axis=0)
    centre, scale = float(y.mean()), float(y.std())
    images, rest, targets = (torch.from_numpy(np.asarray(a, np.float64)) for a in (patches, (others - low) / spread, (y - centre) / scale))
    new_images, new_rest = (torch.from_numpy(np.asarray(a, np.float64)) for a in (new_patches, (new_others - low) / spread))
    optimiser = torch.optim.Adam(model.parameters(), lr=_DEEP_RATE, weight_decay=_DECAY)
    eye = torch.eye(len(y), dtype=torch.float64)

    def factor(z: Tensor) -> Tensor:
        return torch.linalg.cholesky(model.kernel(z, z) + (torch.exp(model.log_noise) + 1e-4) * eye)

    for _ in trange(_DEEP_STEPS, desc="deep kernel", unit="step", delay=2, leave=False, disable=None):
        optimiser.zero_grad()
        half_factor = factor(model.latents(images, rest))
        half = torch.linalg.solve_triangular(half_factor, (targets - model.mean)[:, None], upper=False)
        loss = (0.5 * torch.square(half).sum() + torch.log(torch.diagonal(half_factor)).sum()) / len(y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        z, at = model.latents(images, rest), model.latents(new_images, new_rest)
        half_factor = factor(z)
        cross = torch.linalg.solve_triangular(half_factor, model.kernel(z, at), upper=False)
        half = torch.linalg.solve_triangular(half_factor, (targets - model.mean)[:, None], upper=False)
        mean = (model.mean + (cross.T @ half)[:, 0]).numpy()
        variance = (torch.exp(model.log_variance) - torch.square(cross).sum(dim=0) + torch.exp(model.log_noise) + 1e-4).numpy()
    return Told(mean * scale + centre, variance * scale**2)
