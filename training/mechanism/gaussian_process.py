"""The structure as a GPyTorch model: kernels, factors and the exact log marginal likelihood, float64, by Cholesky alone."""

from __future__ import annotations

from typing import Any

import gpytorch
import numpy as np
import torch
from gpytorch.kernels import Kernel, MaternKernel, RBFKernel, ScaleKernel
from gpytorch.priors import GammaPrior, LogNormalPrior
from torch import Tensor, nn

from training.mechanism.structure import Array, FactorValues, Measure, Mechanism, Structure, Term, TermValues

# Of the latents, which have unit variance: half of it is where a function of one latent is curved and not yet rough.
_LENGTHSCALE_MEDIAN, _LENGTHSCALE_LOG_SD = 0.7, 1.0
_NOISE_FLOOR = 1e-4
# An outlier's noise variance s² is at least so many times σ², or the two kinds could change places; and what it begins with.
_OUTLIER_LEAST, _OUTLIER_FIRST = 10.0, 100.0
# Prior standard deviation of a factor's departure from 1.
FACTOR_SD = 0.5
_JITTER = 1e-8


class Factor(nn.Module):
    """b(z) = 1 + φ(z)ᵀ w with w ~ N(0, 0.5²): see FactorValues."""

    def __init__(self, centres: Array, lengthscale: float) -> None:
        super().__init__()
        self.centres: Tensor
        self.register_buffer("centres", torch.from_numpy(centres))
        self.raw_lengthscale = nn.Parameter(torch.full((centres.shape[1],), np.log(lengthscale), dtype=torch.float64))
        self.weights = nn.Parameter(torch.zeros(len(centres), dtype=torch.float64))

    def features(self, latents: Tensor) -> Tensor:
        """φ (n, M)."""
        lengthscale = torch.exp(self.raw_lengthscale)
        return _rbf(latents, self.centres, lengthscale) @ self.whitening().T

    def whitening(self) -> Tensor:
        """L_u⁻¹ (M, M)."""
        lengthscale = torch.exp(self.raw_lengthscale)
        own = _rbf(self.centres, self.centres, lengthscale) + _JITTER * torch.eye(len(self.centres), dtype=torch.float64)
        return torch.linalg.inv(torch.linalg.cholesky(own))

    def forward(self, latents: Tensor) -> Tensor:
        """The factor b at latents (n, d_m): (n,)."""
        return 1 + self.features(latents) @ self.weights

    def log_prior(self) -> Tensor:
        """Of the weights, and of the lengthscale as of every other; without constants."""
        spread = (self.raw_lengthscale - np.log(_LENGTHSCALE_MEDIAN)) / _LENGTHSCALE_LOG_SD
        return -0.5 * (torch.square(self.weights / FACTOR_SD).sum() + torch.square(spread).sum())


class OrthogonalKernel(Kernel):
    """k̃(z, z') = k(z, z') − E_s k(z, s) E_t k(z', t)/E_st k(s, t) over a measure of weighted points; `size`: of all latents, D."""

    has_lengthscale = False

    def __init__(self, base: Kernel, columns: slice, measure: Measure, size: int) -> None:
        super().__init__()
        self.base = base
        # The base takes its own columns of z; the others tell it nothing.
        points = torch.zeros((len(measure.points), size), dtype=torch.float64)
        points[:, columns] = torch.from_numpy(measure.points)
        self.points: Tensor
        self.weights: Tensor
        self.register_buffer("points", points)
        self.register_buffer("weights", torch.from_numpy(measure.weights))

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """See gpytorch.kernels.Kernel."""
        of_first, of_second = (self.base(x, self.points).to_dense() @ self.weights for x in (x1, x2))
        spread = self.weights @ self.base(self.points, self.points).to_dense() @ self.weights
        own = self.base(x1, x2, diag=diag, **params)
        if diag:
            return own - of_first * of_second / spread
        return own.to_dense() - of_first[..., :, None] * of_second[..., None, :] / spread


class InteractionKernel(Kernel):
    """The mean of the products of two or more of the kernels: (Π (1 + k_m) − 1 − Σ k_m)/(2^M − 1 − M)."""

    has_lengthscale = False

    def __init__(self, kernels: list[Kernel]) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(kernels)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """See gpytorch.kernels.Kernel."""
        product, total = 1.0, 0.0
        for kernel in self.kernels:
            own = kernel(x1, x2, diag=diag, **params)
            own = own if diag else own.to_dense()
            product, total = product * (1 + own), total + own
        return (product - 1 - total) / (2 ** len(self.kernels) - 1 - len(self.kernels))


class FactoredKernel(Kernel):
    """b(z) b(z') k(z, z')."""

    has_lengthscale = False

    def __init__(self, base: Kernel, factors: list[tuple[slice, Factor]]) -> None:
        super().__init__()
        self.base = base
        self.factors = nn.ModuleList(factor for _, factor in factors)
        self._columns = [columns for columns, _ in factors]

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """See gpytorch.kernels.Kernel."""
        of_first, of_second = self._product(x1), self._product(x2)
        own = self.base(x1, x2, diag=diag, **params)
        if diag:
            return own * of_first * of_second
        return own.to_dense() * of_first[..., :, None] * of_second[..., None, :]

    def _product(self, latents: Tensor) -> Tensor:
        value = torch.ones(latents.shape[:-1], dtype=latents.dtype)
        for columns, factor in zip(self._columns, self.factors, strict=True):
            value = value * factor(latents[..., columns])
        return value


class Surprise(torch.autograd.Function):
    """½ rᵀ Σ⁻¹ r + ½ log det Σ with its known gradient ½ (Σ⁻¹ − α αᵀ), α = Σ⁻¹ r: several times quicker than through the Cholesky factor's own."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, residual: Tensor) -> Tensor:  # noqa: D102
        factor = torch.linalg.cholesky(total)
        ctx.save_for_backward(total, residual, factor)
        half = torch.linalg.solve_triangular(factor, residual[:, None], upper=False)
        return 0.5 * torch.square(half).sum() + torch.log(torch.diagonal(factor)).sum()

    @staticmethod
    def backward(ctx: Any, *of_value: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        total, residual, factor = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is asked for, which must pass through Σ
            factor = torch.linalg.cholesky(total)
        inverse = torch.cholesky_inverse(factor)
        alpha = inverse @ residual
        return of_value[0] * 0.5 * (inverse - torch.outer(alpha, alpha)), of_value[0] * alpha


class StructuredGP(gpytorch.Module):
    """The prior of f with its hyperparameters: kernels, factors, mean and the noise variance σ² >= 1e-4 of y in units of its own variance.

    Where it is told of `outliers`, also their noise variance s² >= 10 σ². `measures` are of mechanisms with orthogonal kernels.
    """

    def __init__(
        self,
        mechanisms: tuple[Mechanism, ...],
        terms: tuple[Term, ...],
        centres: dict[str, Array],
        measures: dict[str, Measure] | None = None,
        *,
        outliers: bool = False,
    ) -> None:
        super().__init__()
        self.mechanisms = {mechanism.name: mechanism for mechanism in mechanisms}
        self.terms = terms
        self.measures = measures or {}
        self.register_parameter("mean", nn.Parameter(torch.zeros((), dtype=torch.float64)))
        self.register_parameter("raw_noise", nn.Parameter(torch.zeros((), dtype=torch.float64)))
        self.register_constraint("raw_noise", gpytorch.constraints.GreaterThan(_NOISE_FLOOR))
        self.noise = 0.1
        self.register_parameter("raw_outlier", nn.Parameter(torch.zeros((), dtype=torch.float64)) if outliers else None)
        if outliers:
            self.outlier_noise = _OUTLIER_FIRST
        self.factors = nn.ModuleDict({name: Factor(points, _LENGTHSCALE_MEDIAN) for name, points in centres.items()})
        self._base_kernels: list[dict[str, Kernel]] = []  # with a lengthscale, by mechanism, of each term
        self.kernels = nn.ModuleList(self._kernel(term) for term in terms)
        self.double()

    @property
    def noise(self) -> Tensor:
        """σ², scalar."""
        return self.raw_noise_constraint.transform(self.raw_noise)

    @noise.setter
    def noise(self, value: float) -> None:
        self.initialize(raw_noise=self.raw_noise_constraint.inverse_transform(torch.tensor(value, dtype=torch.float64)))

    @property
    def outlier_noise(self) -> Tensor:
        """s², scalar."""
        return _OUTLIER_LEAST * self.noise + torch.exp(self.raw_outlier)

    @outlier_noise.setter
    def outlier_noise(self, value: float) -> None:
        beyond = max(value - _OUTLIER_LEAST * float(self.noise.detach()), 1e-6)
        self.initialize(raw_outlier=torch.tensor(np.log(beyond), dtype=torch.float64))

    def cross(self, first: Tensor, second: Tensor) -> Tensor:
        """The prior covariance of f between latents (n, D) and (m, D): (n, m)."""
        return sum((kernel(first, second).to_dense() for kernel in self.kernels), start=torch.zeros((), dtype=first.dtype))

    def variance(self, latents: Tensor) -> Tensor:
        """The prior variance of f at latents (n, D): (n,)."""
        return sum((kernel(latents, diag=True) for kernel in self.kernels), start=torch.zeros((), dtype=latents.dtype))

    def forward(self, latents: Tensor, y: Tensor, good: Tensor | None = None) -> Tensor:
        """−log p(y|z) − log p(hyperparameters), per point, scalar.

        With `good` (N,), the probabilities r_i that a point is no outlier, the first is the expected log likelihood over who is one, as far as f can
        be integrated out of it: Σ_i r_i log N(y_i; f_i, σ²) + (1 − r_i) log N(y_i; f_i, s²) is the log of a Gaussian in f with the precision
        β_i = r_i/σ² + (1 − r_i)/s², and of a constant in f, −½ (log β_i + r_i log σ² + (1 − r_i) log s²). Without the constant, σ² would be
        judged by the residuals of the outliers too.
        """
        noise, beside = self.noise_of(y, good)
        total = self.cross(latents, latents) + torch.diag(noise)
        # −log N(y; μ, Σ) = |L⁻¹(y − μ)|²/2 + log det L + n/2 log 2π
        negative = Surprise.apply(total, y - self.mean) + 0.5 * len(y) * np.log(2 * np.pi) + beside  # type: ignore[no-untyped-call]
        return (negative - self.log_prior()) / len(y)

    def noise_of(self, y: Tensor, good: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each point's noise variance 1/β (n,), and what the outliers add to −log p(y|z) that is constant in f, scalar."""
        if good is None:
            return self.noise * torch.ones_like(y), torch.zeros((), dtype=y.dtype)
        precision = good / self.noise + (1 - good) / self.outlier_noise
        beside = torch.log(precision) + good * torch.log(self.noise) + (1 - good) * torch.log(self.outlier_noise)
        return 1 / precision, 0.5 * beside.sum()

    def log_prior(self) -> Tensor:
        """Of all hyperparameters, scalar."""
        found = sum((prior.log_prob(closure(module)).sum() for _, module, prior, closure, _ in self.named_priors()), start=torch.zeros(()))
        return found + sum((factor.log_prior() for factor in self.factors.values()), start=torch.zeros(()))

    def structure(self, factor_covariance: dict[str, Array]) -> Structure:
        """The numbers as they are now."""
        terms = []
        for term, kernel, bases in zip(self.terms, self.kernels, self._base_kernels, strict=True):
            scaled = kernel.base if isinstance(kernel, FactoredKernel) else kernel
            lengthscales = {name: np.broadcast_to(_numpy(base.lengthscale)[0], self.mechanisms[name].size).copy() for name, base in bases.items()}
            terms.append(TermValues(term, float(scaled.outputscale.detach()), lengthscales))
        factors = {
            name: FactorValues(
                _numpy(found.centres),
                _numpy(torch.exp(found.raw_lengthscale)),
                _numpy(found.whitening()),
                _numpy(found.weights),
                1.0,
                factor_covariance[name],
                FACTOR_SD,
            )
            for name, found in self.factors.items()
        }
        return Structure(tuple(self.mechanisms.values()), tuple(terms), float(self.mean.detach()), factors, self.measures)

    def _kernel(self, term: Term) -> Kernel:
        bases: dict[str, Kernel] = {}
        for name in term.mechanisms:
            mechanism = self.mechanisms[name]
            options = {
                "ard_num_dims": None if mechanism.shared else mechanism.size,
                "active_dims": tuple(range(mechanism.start, mechanism.start + mechanism.size)),
                "lengthscale_prior": LogNormalPrior(float(np.log(_LENGTHSCALE_MEDIAN)), _LENGTHSCALE_LOG_SD),
            }
            if mechanism.shortest > 0:
                options["lengthscale_constraint"] = gpytorch.constraints.GreaterThan(mechanism.shortest)
            bases[name] = RBFKernel(**options) if mechanism.family == "rbf" else MaternKernel(nu=2.5, **options)
            bases[name].lengthscale = max(_LENGTHSCALE_MEDIAN, 2 * mechanism.shortest)
        self._base_kernels.append(bases)
        size = max(mechanism.columns.stop for mechanism in self.mechanisms.values())
        kernels = [
            OrthogonalKernel(base, self.mechanisms[name].columns, self.measures[name], size) if name in term.orthogonal else base
            for name, base in bases.items()
        ]
        if term.interaction:
            base = InteractionKernel(kernels)
        else:
            base = kernels[0] if len(kernels) == 1 else gpytorch.kernels.ProductKernel(*kernels)
        scaled = ScaleKernel(base, outputscale_prior=GammaPrior(1.0, 0.5))
        scaled.outputscale = 1.0 / len(self.terms)
        if not term.factors:
            return scaled
        return FactoredKernel(scaled, [(self.mechanisms[name].columns, self.factors[name]) for name in term.factors])


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().numpy().copy()


def _rbf(first: Tensor, second: Tensor, lengthscale: Tensor) -> Tensor:
    apart = (first / lengthscale)[..., :, None, :] - (second / lengthscale)[..., None, :, :]
    return torch.exp(-0.5 * torch.square(apart).sum(dim=-1))
