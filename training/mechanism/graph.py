"""The posterior as a graph: latents and the posterior's arrays in, parts and their covariances out, float64. The arrays are inputs, not constants."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from training.mechanism.posterior import StructuredPosterior
from training.mechanism.structure import Array, FactorValues, Term, TermValues
from training.mechanism.truncate import LowRank

# Names of the graph's inputs beside the latents, in their order. N grows with observations; a row of zeros in all of them changes nothing.
_BLOCKS = 8
POSTERIOR_INPUTS = ("points", "inverse", "alpha", "reference", "gauge_half", "gauge_mean", "gauge_variance")


def posterior_arrays(posterior: StructuredPosterior, truncated: LowRank | None = None) -> dict[str, Array]:
    """The graph's inputs beside the latents, float64.

    `points` (N, D) z; `inverse` (N, N) L⁻¹, or (r, N) Uᵀ L⁻¹ in low rank, or A of inducing points; `alpha` (N,) Σ⁻¹(y − μ), or what it is of inducing
    points; `reference` (N,) weights; of the gauge's means r_t: `gauge_half` (N, T) L⁻¹ cov(Z, r), or (r, T), `gauge_mean` (T,) and `gauge_variance`
    (T,) of the prior.
    """
    gauge = posterior.gauge
    return {
        "points": posterior.latents,
        "inverse": posterior.inverse if truncated is None else truncated.loading,
        "alpha": posterior.alpha,
        "reference": posterior.reference,
        "gauge_half": gauge.half if truncated is None else truncated.gauge_half,
        "gauge_mean": gauge.mean,
        "gauge_variance": gauge.prior_variance,
    }


class PosteriorGraph(nn.Module):
    """Posterior.predict of one structure for latents (n, D). `truncated`: `inverse` is no triangle: in low rank, or of inducing points."""

    def __init__(self, posterior: StructuredPosterior, *, truncated: bool = False) -> None:
        super().__init__()
        self.truncated = truncated
        structure = posterior.structure
        self.structure = structure
        # As tensors: the exporter writes a Python number as float32.
        self.mean = constant(np.array([structure.mean]))
        self.centred = [values.term.centred for values in structure.terms]
        self.scales = constant(posterior.factor_scales)
        variances = np.array([values.variance / len(values.term.products) for values in structure.terms])
        self.prior_scale = constant(variances * posterior.factor_scales**2)
        self.row_scale = constant(variances * posterior.factor_scales)
        # Of orthogonal kernels, by term and mechanism: the measure's points, and what they are weighted with in u.
        self.measures, self.mean_weights = nn.ParameterDict(), nn.ParameterDict()
        self.lengthscales = nn.ParameterList()
        self.columns: list[list[tuple[int, slice, str]]] = []
        for values in structure.terms:
            own = []
            for name in values.term.mechanisms:
                mechanism = structure.mechanism(name)
                own.append((len(self.lengthscales), mechanism.columns, mechanism.family))
                self.lengthscales.append(constant(values.lengthscales[name]))
                if name in values.term.orthogonal:
                    self.measures[name] = constant(structure.measures[name].points)
                    self.mean_weights[f"{len(self.columns)}_{name}"] = constant(structure.mean_weights(values, name))
            self.columns.append(own)
        self.factors = nn.ModuleDict({name: _Factor(values) for name, values in structure.factors.items()})
        slopes = posterior.mean_slopes
        self.mean_slopes = nn.ParameterDict({f"{index}_{name}": constant(slope) for (index, name), slope in slopes.items()})
        self.register_buffer("is_centred", constant(np.array(self.centred, np.float64)).data)

    def forward(  # noqa: PLR0917 - the graph's inputs
        self,
        latents: Tensor,
        points: Tensor,
        inverse: Tensor,
        alpha: Tensor,
        reference: Tensor,
        gauge_half: Tensor,
        gauge_mean: Tensor,
        gauge_variance: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What the posterior says of latents (n, D); the other arguments are `posterior_arrays`.

        Returns:
            part_mean (n, P), part_covariance (n, P, P), factor (n, P), factor_variance (n, P), total_mean (n,), total_variance (n,): see Prediction.
        """
        terms = self.structure.terms
        rows = torch.stack([self._rows(index, values, latents, points) for index, values in enumerate(terms)])  # (T, n, N)
        value = (rows @ alpha).T  # (n, T)
        flat = rows.flatten(0, 1)
        half = flat @ inverse.T if self.truncated else _times_lower(flat, inverse)
        half = half.reshape(len(terms), -1, half.shape[1]) - (self.is_centred[:, None] * gauge_half.T)[:, None, :]
        with_gauge = (rows @ reference).T * self.is_centred
        pairs = half.permute(1, 0, 2)  # (n, T, N)
        prior = torch.stack([self._prior(index, latents) for index in range(len(terms))], dim=1)
        diagonal = prior + gauge_variance * self.is_centred - 2 * with_gauge
        covariance = torch.diag_embed(diagonal) - pairs @ pairs.transpose(1, 2)
        sum_half = gauge_half.sum(dim=1)
        constant_variance = gauge_variance.sum() - (sum_half * sum_half).sum()
        beside = with_gauge - gauge_variance * self.is_centred - pairs @ sum_half
        ones = torch.ones_like(value[:, :1])
        # Together in one sum: the exporter takes a lone constant below 1e-8 for 0 and leaves it out, as it would μ of a y in metres.
        whole = torch.cat((self.mean, gauge_mean)).sum()
        part_mean = torch.cat((whole * ones, value - gauge_mean * self.is_centred), dim=1)
        top = torch.cat((constant_variance * ones, beside), dim=1)[:, None, :]
        part_covariance = torch.cat((top, torch.cat((beside[:, :, None], covariance), dim=2)), dim=1)
        factor, spread = self._factors(latents)
        factor, spread = torch.cat((ones, factor), dim=1), torch.cat((0 * ones, spread), dim=1)
        total_variance = ((factor[:, None, :] @ part_covariance)[:, 0] * factor).sum(dim=1) + (spread * part_mean**2).sum(dim=1)
        return part_mean, part_covariance, factor, spread, (factor * part_mean).sum(dim=1), total_variance

    def _rows(self, index: int, values: TermValues, latents: Tensor, points: Tensor) -> Tensor:
        """Cov(c g(*), y) (n, N) of a term."""
        kernels = []
        for name, (place, columns, family) in zip(values.term.mechanisms, self.columns[index], strict=True):
            own = _correlation(family, latents[:, columns], points[:, columns], self.lengthscales[place])
            if name in values.term.orthogonal:
                first, second = (self._embedding(index, name, each) for each in (latents, points))
                own = own - first[:, None] * second[None, :]
            kernels.append(own)
        return self.row_scale[index] * self._product(values, points)[None, :] * total_product(values.term, kernels)

    def _prior(self, index: int, latents: Tensor) -> Tensor:
        """The prior variance (n,) of c g."""
        term, kernels = self.structure.terms[index].term, []
        for name in term.mechanisms:
            own = torch.ones_like(latents[:, 0])
            kernels.append(own - self._embedding(index, name, latents) ** 2 if name in term.orthogonal else own)
        return self.prior_scale[index] * total_product(term, kernels)

    def _embedding(self, index: int, name: str, latents: Tensor) -> Tensor:
        """The function u (n,) of an orthogonal kernel: see structure.py."""
        place, columns, family = self.columns[index][self.structure.terms[index].term.mechanisms.index(name)]
        rows = _correlation(family, latents[:, columns], self.measures[name], self.lengthscales[place])
        return rows @ self.mean_weights[f"{index}_{name}"]

    def _product(self, values: TermValues, latents: Tensor, *, but: str = "") -> Tensor:
        product = torch.ones_like(latents[:, 0])
        for name in values.term.factors:
            if name != but:
                product = product * self.factors[name](self._own(name, latents))[0]
        return product

    def _own(self, name: str, latents: Tensor) -> Tensor:
        return latents[:, self.structure.mechanism(name).columns]

    def _factors(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised factors (n, T) and their variances (n, T)."""
        values, spreads = [], []
        for index, term in enumerate(self.structure.terms):
            scale = self.scales[index]
            product = self._product(term, latents)
            spread = torch.zeros_like(product)
            for name in term.term.factors:
                others = self._product(term, latents, but=name)
                _, features = self.factors[name](self._own(name, latents))
                gradient = (others[:, None] * features - product[:, None] * self.mean_slopes[f"{index}_{name}"] / scale**2) / scale
                spread = spread + ((gradient @ self.factors[name].covariance) * gradient).sum(dim=1)
                left_open = self.factors[name].prior_variance * (1 - (features * features).sum(dim=1)).clamp(min=0)
                spread = spread + (others / scale) ** 2 * left_open
            values.append(product / scale)
            spreads.append(spread)
        return torch.stack(values, dim=1), torch.stack(spreads, dim=1)


class _Factor(nn.Module):
    """b (n,) and φ (n, M) of a mechanism's own latents."""

    def __init__(self, values: FactorValues) -> None:
        super().__init__()
        self.centres, self.lengthscale, self.whitening, self.weights, self.covariance = (
            constant(array) for array in (values.centres, values.lengthscale, values.whitening, values.weights, values.covariance)
        )
        self.offset = constant(np.array(values.offset))
        self.prior_variance = constant(np.array(values.prior_sd**2))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        features = _correlation("rbf", latents, self.centres, self.lengthscale) @ self.whitening.T
        return self.offset + features @ self.weights, features


def total_product(term: Term, kernels: list[Tensor]) -> Tensor:
    """The sum, over the term's sets of mechanisms, of the products of their kernels: of an interaction Π (1 + k_m) − 1 − Σ k_m."""
    product = kernels[0] + 1 if term.interaction else kernels[0]
    for kernel in kernels[1:]:
        product = product * (kernel + 1 if term.interaction else kernel)
    return product - 1 - sum(kernels[1:], start=kernels[0]) if term.interaction else product


def _times_lower(rows: Tensor, lower: Tensor) -> Tensor:
    """Rows (m, N) times the transpose of a lower triangle (N, N), without most of its zeros: in blocks, 56 % of the products."""
    count = lower.shape[0]
    ends = [count * (block + 1) // _BLOCKS for block in range(_BLOCKS)]
    parts = [rows[:, :end] @ lower[start:end, :end].T for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return torch.cat(parts, dim=1)


def _correlation(family: str, first: Tensor, second: Tensor, lengthscale: Tensor) -> Tensor:
    """See structure.correlation. By |a|² + |b|² − 2 a·b: no (n, N, d) array; in float64 near points lose 1e-16 of |a|²."""
    a, b = first / lengthscale, second / lengthscale
    square = ((a * a).sum(dim=1)[:, None] + (b * b).sum(dim=1)[None, :] - 2 * (a @ b.T)).clamp(min=0)
    if family == "rbf":
        return torch.exp(-0.5 * square)
    distance = torch.sqrt(5 * square)  # whole numbers are exact in float32 too
    return (1 + distance + distance * distance / 3) * torch.exp(-distance)


def constant(array: Array) -> nn.Parameter:
    """Of a graph, float64: the exporter writes a Python number as float32."""
    return nn.Parameter(torch.from_numpy(np.array(array, np.float64)), requires_grad=False)
