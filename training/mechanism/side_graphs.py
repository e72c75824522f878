"""The two graphs beside the posterior's: prior covariances with any points, for sessions; and random features, for Thompson sampling."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from training.export.graphs import exported
from training.mechanism.graph import PosteriorGraph, constant, total_product
from training.mechanism.posterior import StructuredPosterior
from training.mechanism.structure import Array, Structure

# Of each term; the standard deviation of a covariance told by them is about its prior variance over √FEATURES.
FEATURES = 1024
_ROWS, _POINTS = 3, 24


class RowsGraph(PosteriorGraph):
    """Latents (n, D) and points (N, D) to `rows` (n, T, N), `factor` (n, T) and `prior` (n, T).

    rows: the prior covariance of c g_t at a latent, without its factor there, with f_t at the points; c is the factor's root mean square over the
    reference points. factor: b/c. prior: the variance of c g_t.
    """

    def forward(self, latents: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """See the class."""
        terms = self.structure.terms
        rows = torch.stack([self._rows(index, values, latents, points) for index, values in enumerate(terms)], dim=1)
        factor, _ = self._factors(latents)
        return rows, factor, torch.stack([self._prior(index, latents) for index in range(len(terms))], dim=1)


class FeaturesGraph(PosteriorGraph):
    """Latents (n, D) to `features` (n, T, F) φ with E[φ_t(x)·φ_t(x')] the prior covariance of c g_t (Rahimi and Recht 2007).

    φ_tj = s_t c_t √(1/F) Π_m √2 cos(ω_jm·z^m + p_jm), ω from the kernel's spectral density, p uniform; the product over mechanisms, drawn
    independently, has the product of their correlations as its mean. Of an orthogonal kernel each cosine is told less u(z) times its own part along
    the measure's mean, as the kernel is; see structure.py.
    """

    def __init__(self, posterior: StructuredPosterior, *, seed: int = 7) -> None:
        super().__init__(posterior)
        self.frequencies, self.phases = nn.ParameterList(), nn.ParameterList()
        rng = np.random.default_rng(seed)
        for values in posterior.structure.terms:
            for name in values.term.mechanisms:
                omega, phase = _spectral(posterior.structure, name, values.lengthscales[name], rng)
                self.frequencies.append(constant(omega.T.copy()))
                self.phases.append(constant(phase))
        self.root_two = constant(np.array(np.sqrt(2.0)))
        variances = np.array([values.variance / len(values.term.products) for values in posterior.structure.terms])
        self.amplitude = constant(np.sqrt(variances / FEATURES) * posterior.factor_scales)

    def forward(self, latents: Tensor) -> Tensor:  # type: ignore[override]
        """See the class."""
        found = []
        for index, values in enumerate(self.structure.terms):
            waves = []
            for name, (place, columns, _) in zip(values.term.mechanisms, self.columns[index], strict=True):
                wave = self._wave(place, latents[:, columns])
                if name in values.term.orthogonal:
                    along = self.mean_weights[f"{index}_{name}"] @ self._wave(place, self.measures[name])
                    wave = wave - self._embedding(index, name, latents)[:, None] * along[None, :]
                waves.append(wave)
            found.append(self.amplitude[index] * total_product(values.term, waves))
        return torch.stack(found, dim=1)

    def _wave(self, place: int, own: Tensor) -> Tensor:
        """√2 cos(ω·z + p) (n, F) at a mechanism's own latents (n, d)."""
        return self.root_two * torch.cos(own @ self.frequencies[place] + self.phases[place])


def _spectral(structure: Structure, name: str, lengthscale: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """ω (F, d) and phases (F,): of the RBF normal, of Matérn-5/2 Student's t with 5 degrees of freedom, over the lengthscales."""
    omega = rng.standard_normal((FEATURES, len(lengthscale)))
    if structure.mechanism(name).family == "matern52":
        omega *= np.sqrt(5.0 / rng.chisquare(5.0, FEATURES))[:, None]
    return omega / lengthscale, rng.uniform(0, 2 * np.pi, FEATURES)


def rows_onnx(posterior: StructuredPosterior) -> onnx.ModelProto:
    """A model of `RowsGraph`: inputs `latents` (n, D), `points` (N, D); outputs `rows`, `factor`, `prior`."""
    size, terms = posterior.latents.shape[1], len(posterior.structure.terms)
    example = (torch.zeros((_ROWS, size), dtype=torch.float64), torch.zeros((_POINTS, size), dtype=torch.float64))
    shapes = ({0: torch.export.Dim("n")}, {0: torch.export.Dim("N", min=2)})
    told = [
        _values({"latents": ("n", size), "points": ("N", size)}),
        _values({"rows": ("n", terms, "N"), "factor": ("n", terms), "prior": ("n", terms)}),
    ]
    return exported(RowsGraph(posterior), example, shapes, *told)


def features_onnx(posterior: StructuredPosterior) -> onnx.ModelProto:
    """A model of `FeaturesGraph`: input `latents` (n, D), output `features` (n, T, F)."""
    size, terms = posterior.latents.shape[1], len(posterior.structure.terms)
    example = (torch.zeros((_ROWS, size), dtype=torch.float64),)
    told = [_values({"latents": ("n", size)}), _values({"features": ("n", terms, FEATURES)})]
    return exported(FeaturesGraph(posterior), example, ({0: torch.export.Dim("n")},), *told)


def _values(shapes: dict[str, tuple[str | int, ...]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in shapes.items()]
