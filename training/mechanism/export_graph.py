"""The posterior's ONNX graph, float64, with the posterior's arrays as inputs."""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper

from training.export.graphs import exported
from training.mechanism.graph import PosteriorGraph
from training.mechanism.posterior import StructuredPosterior

# Of the example that is traced: any numbers but 0 and 1, which the exporter would take for constants.
_ROWS, _POINTS, _RANK = 3, 24, 7


def posterior_onnx(posterior: StructuredPosterior, *, truncated: bool = False) -> bytes:
    """A serialised model of `PosteriorGraph`; `truncated`: for arrays in low rank, of r vectors, or of inducing points.

    Inputs, float64: `latents` (n, D), then POSTERIOR_INPUTS. Outputs, float64: `part_mean` (n, P), `part_covariance` (n, P, P), `factor` (n, P),
    `factor_variance` (n, P), `total_mean` (n,), `total_variance` (n,). n, N (the posterior's points) and r vary.
    """
    size, terms = posterior.latents.shape[1], len(posterior.structure.terms)
    parts, rank = terms + 1, "r" if truncated else "N"
    inputs = {
        "latents": ("n", size),
        "points": ("N", size),
        "inverse": (rank, "N"),
        "alpha": ("N",),
        "reference": ("N",),
        "gauge_half": (rank, terms),
        "gauge_mean": (terms,),
        "gauge_variance": (terms,),
    }
    outputs = {
        "part_mean": ("n", parts),
        "part_covariance": ("n", parts, parts),
        "factor": ("n", parts),
        "factor_variance": ("n", parts),
        "total_mean": ("n",),
        "total_variance": ("n",),
    }
    axes = {"n": torch.export.Dim("n"), "N": torch.export.Dim("N", min=2), "r": torch.export.Dim("r", min=2)}
    lengths = {"n": _ROWS, "N": _POINTS, "r": _RANK}
    example = tuple(torch.zeros([lengths.get(axis, axis) for axis in shape], dtype=torch.float64) for shape in inputs.values())
    shapes = tuple({place: axes[axis] for place, axis in enumerate(shape) if isinstance(axis, str)} for shape in inputs.values())
    told = [[helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in side.items()] for side in (inputs, outputs)]
    model: onnx.ModelProto = exported(PosteriorGraph(posterior, truncated=truncated), example, shapes, told[0], told[1])
    return model.SerializeToString(deterministic=True)
