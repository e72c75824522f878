"""Names, shapes, units and meanings of a mechanism bundle's tensors."""

from __future__ import annotations

from collections.abc import Sequence

from dichroic.bundle import MechanismSection, Signature, TensorSpec
from dichroic.bundle.tensors import FixedSpec
from training.export.mechanism_graphs import dtypes_of
from training.mechanism.encoders import Encoder
from training.mechanism.side_graphs import FEATURES

# Intermediate results of one run stay below this; networks' own are those of 256 images.
_ACTIVATION_BYTES = 128 << 20
_MOST_IMAGES, _MOST_ROWS = 256, 4096
_INTEGER_HIGH = {"uint8": 255.0, "uint16": 65535.0}


def signatures(section: MechanismSection, encoders: Sequence[Encoder], points: int, unit: str) -> dict[str, Signature]:
    """Of all graphs, by name.

    Args:
        section: of the manifest.
        encoders: of the mechanisms, in order.
        points: N of the posterior, which bounds the batch.
        unit: of y.
    """
    size, terms = section.latent_size, len(section.parts) - 1
    # Rows, halves and one more of the kind: (n, T, N) each.
    room = max(1, min(_MOST_ROWS, _ACTIVATION_BYTES // (3 * 8 * terms * points)))
    of_images = min(room, _MOST_IMAGES) if any(encoder.learned or "" not in encoder.graphs for encoder in encoders) else room
    latents = _spec("latents", ("n", size), ("point", "latent"), "1", "standardised latents of all mechanisms, in their order")
    declared = {}
    for dtype in dtypes_of(encoders):
        inputs = tuple(_raw(encoder, dtype) for encoder in encoders)
        declared[f"encode.{dtype}"] = Signature(graph=f"encode.{dtype}.onnx", inputs=inputs, outputs=(latents,), max_batch=of_images)
        told = (*_predicted(len(section.parts), unit), latents)
        declared[f"predict.{dtype}"] = Signature(
            graph=f"predict.{dtype}.onnx", inputs=inputs, fixed=_posterior(size, terms), outputs=told, max_batch=of_images
        )
    rows = (
        _spec(
            "rows", ("n", terms, "N"), ("point", "part", "posterior point"), f"({unit})²", "prior covariance of a part, bare of its factor, with f"
        ),
        _spec("factor", ("n", terms), ("point", "part"), "1", "what the part is multiplied by in f"),
        _spec("prior", ("n", terms), ("point", "part"), f"({unit})²", "prior variance of the part, bare of its factor"),
    )
    fixed = (_posterior(size, terms)[0],)
    declared["rows"] = Signature(graph="rows.onnx", inputs=(latents,), fixed=fixed, outputs=rows, max_batch=room)
    features = _spec("features", ("n", terms, FEATURES), ("point", "part", "feature"), unit, "random features: their products are prior covariances")
    few = max(1, _ACTIVATION_BYTES // (3 * 8 * terms * FEATURES))
    declared["features"] = Signature(graph="features.onnx", inputs=(latents,), outputs=(features,), max_batch=min(_MOST_ROWS, few))
    return declared


def _raw(encoder: Encoder, dtype: str) -> TensorSpec:
    spec = encoder.input
    if "" in encoder.graphs or dtype == "float32":
        return spec
    return spec.model_copy(update={"dtype": dtype, "unit": "1", "range_low": 0.0, "range_high": _INTEGER_HIGH[dtype]})


def _predicted(parts: int, unit: str) -> tuple[TensorSpec, ...]:
    square = f"({unit})²"
    return (
        _spec("part_mean", ("n", parts), ("point", "part"), unit, "posterior mean of each part, before its factor"),
        _spec("part_covariance", ("n", parts, parts), ("point", "part", "part"), square, "posterior covariances of a point's parts"),
        _spec("factor", ("n", parts), ("point", "part"), "1", "what each part is multiplied by in f; 1 where it has no factor"),
        _spec("factor_variance", ("n", parts), ("point", "part"), "1", "variance of that", low=0.0),
        _spec("total_mean", ("n",), ("point",), unit, "posterior mean of f"),
        _spec("total_variance", ("n",), ("point",), square, "posterior variance of f, without the noise of a measurement"),
    )


def _posterior(size: int, terms: int) -> tuple[FixedSpec, ...]:
    shapes: dict[str, tuple[tuple[str | int, ...], str]] = {
        "points": (("N", size), "latents of the posterior's points"),
        "inverse": (("r", "N"), "a root of the posterior's precision: L⁻¹, or Uᵀ L⁻¹ in low rank"),
        "alpha": (("N",), "Σ⁻¹ (y − μ)"),
        "reference": (("N",), "weights of the points over which means of parts are taken"),
        "gauge_half": (("r", terms), "the root times the covariance of the points with those means"),
        "gauge_mean": ((terms,), "posterior mean of those means"),
        "gauge_variance": ((terms,), "their prior variance"),
    }
    return tuple(FixedSpec(name=name, dtype="float64", shape=shape, meaning=meaning) for name, (shape, meaning) in shapes.items())


def _spec(name: str, shape: tuple[str | int, ...], axes: tuple[str, ...], unit: str, meaning: str, low: float | None = None) -> TensorSpec:  # noqa: PLR0917
    return TensorSpec(name=name, dtype="float64", shape=shape, axes=axes, unit=unit, meaning=meaning, range_low=low)
