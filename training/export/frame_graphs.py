"""Graphs of frames, put together from the resampling's and the single image's: nothing of a model is exported twice."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from dichroic.bundle import Preprocessing, Signature
from training.export.compose import Array, with_weights
from training.export.dense_graphs import dense_graph
from training.export.frame_models import FrameModels
from training.export.frame_windows import windowed_graph


def frame_graphs(
    frames: FrameModels, cores: Mapping[str, onnx.ModelProto], preprocessing: Preprocessing, declared: Mapping[str, Signature]
) -> dict[str, onnx.ModelProto]:
    """Every graph of frames, by signature.

    Args:
        frames: the models.
        cores: "encode" and "reconstruct" of the last stage, from normalised images (n, d, d, c); "dense" where there is one; its "decode".
        preprocessing: of every stage.
        declared: all signatures.
    """
    last = _parameters(frames, len(frames.stages) - 1)
    graphs: dict[str, onnx.ModelProto] = {}
    for number in range(len(frames.stages)):
        weighted = {kind: with_weights(core, last, _parameters(frames, number)) for kind, core in cores.items()}
        for name, signature in declared.items():
            kind, _, stage = name.partition(".")[0].partition("_")
            if stage != str(number + 1):
                continue
            if kind in ("frame", "explain"):
                core = weighted["encode" if kind == "frame" else "reconstruct"]
                graphs[name] = windowed_graph(core, signature, preprocessing, explains=kind == "explain", standardised=frames.standardised)
            elif kind == "decode":
                graphs[name] = weighted["decode"]
            elif kind == "dense":
                size, stride = frames.specification.height_px, frames.specification.dense_stride_px
                core = weighted["dense"]
                graphs[name] = dense_graph(core, signature, preprocessing, size=size, stride=stride, standardised=frames.standardised)
    return graphs


def _parameters(frames: FrameModels, number: int) -> dict[str, Array]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in frames.stages[number].model.state_dict().items()}
