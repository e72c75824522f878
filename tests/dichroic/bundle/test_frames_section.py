"""What a bundle says of windows of frames, and the graphs that it must have for them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from dichroic.bundle import Manifest
from tests.dichroic.bundle.drawn import facts, tensor

WINDOW, CENTRE = tensor("window_px"), tensor("centre_px", 2)
FRAME = {"name": "frame", "dtype": "uint8", "shape": ["H", "W"], "source": "request", "meaning": "the frame"}


def with_axes(spec: dict[str, Any], *axes: str) -> dict[str, Any]:
    return spec | {"shape": ["n", *axes, *spec["shape"][1:]], "axes": ["frame", *axes, *spec["axes"][1:]]}


def framed(stages: int = 2) -> dict[str, Any]:
    """A manifest with frames of every graph, uint8."""
    said = facts()
    encode = said["signatures"]["encode.uint8"]
    said["latent"]["frames"] = {
        "descriptor_px": 8,
        "standardised": True,
        "stages": [{"window_px": 8.0 * 2**k, "window_nm": 80.0 * 2**k} for k in range(stages)],
        "dense": {"stride_px": 4},
    }
    for k in range(1, stages + 1):
        rows = {"inputs": [CENTRE, WINDOW], "fixed": [FRAME], "max_batch": 64, "graph": "encode.uint8.onnx"}
        said["signatures"][f"frame_{k}.uint8"] = rows | {"outputs": encode["outputs"]}
        said["signatures"][f"explain_{k}.uint8"] = rows | {"outputs": [tensor("explained")]}
        said["signatures"][f"dense_{k}.uint8"] = {
            "graph": "encode.uint8.onnx",
            "inputs": [with_axes(tensor("frames", dtype="uint8"), "H", "W"), WINDOW],
            "outputs": [with_axes(spec, "R", "C") for spec in encode["outputs"]],
            "max_batch": 1,
        }
    return said


def decoding(said: dict[str, Any]) -> dict[str, Any]:
    """The same with a decoder for each stage."""
    decode = {"graph": "encode.uint8.onnx", "inputs": [tensor("content", 2)], "outputs": [tensor("images", 8, 8)], "max_batch": 4}
    names = ["decode", *(f"decode_{k}" for k in range(1, len(said["latent"]["frames"]["stages"])))]
    said["signatures"] |= {name: copy.deepcopy(decode) for name in names}
    return said


def taken(said: dict[str, Any]) -> Manifest:
    return Manifest.model_validate(said, strict=False)


def test_a_bundle_of_frames_is_taken_and_one_without_has_none() -> None:
    latent = taken(framed()).latent
    assert latent is not None
    assert latent.frames is not None
    assert [stage.window_px for stage in latent.frames.stages] == [8.0, 16.0]
    old = taken(facts()).latent
    assert old is not None
    assert old.frames is None


def test_the_decoders_of_all_stages_but_the_last_may_be_there() -> None:
    decoders = {"decode_1", "decode_2"}
    assert taken(decoding(framed(stages=3))).signatures.keys() >= decoders
    assert not taken(framed(stages=3)).signatures.keys() & decoders


def test_frames_of_several_channels_and_of_float32_are_taken() -> None:
    said = framed()
    said["latent"] |= {"channels": 2, "channel_names": []}
    said["preprocessing"] |= {"input_low": [0.0, 0.0], "input_high": [1.0, 1.0]}
    for name, signature in list(said["signatures"].items()):
        signature.update(fixed=[FRAME | {"shape": ["H", "W", 2], "dtype": "float32"}] if signature.get("fixed") else [])
        if name.startswith("dense"):
            frames = with_axes(tensor("frames", 2), "H", "W") | {"takes_non_finite": True}
            signature["inputs"] = [frames, WINDOW]
        elif name.startswith("encode"):
            signature["inputs"] = [tensor("images", 8, 8, 2)]
        said["signatures"][name.replace("uint8", "float32")] = said["signatures"].pop(name)
    taken(said)
    said["signatures"]["dense_1.float32"]["inputs"][0]["takes_non_finite"] = False
    with pytest.raises(ValidationError, match="takes_non_finite"):
        taken(said)


def test_a_field_that_is_left_out_changes_no_digest() -> None:
    said = facts()
    digest = taken(said).digest
    assert taken(said | {"latent": said["latent"] | {"frames": None}}).digest != digest  # written, it is a fact
    assert taken(said | {"format_version": "1.0"}).digest == digest


def frames(said: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = said["latent"]["frames"]
    return found


def of(said: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = said["signatures"][name]
    return found


SPOILED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no stage": (lambda m: frames(m).update(stages=[]), "at least 1"),
    "a stage without a length": (lambda m: frames(m)["stages"].__setitem__(0, {}), "window_px, window_nm or both"),
    "descending windows": (lambda m: frames(m)["stages"].reverse(), "not ascending"),
    "equal windows": (lambda m: frames(m)["stages"][1].update(window_nm=80.0), "not ascending"),
    "some in pixels": (lambda m: frames(m)["stages"][1].pop("window_px"), "every stage or for none"),
    "a window of 0": (lambda m: frames(m)["stages"][0].update(window_px=0.0), "greater than 0"),
    "another descriptor": (lambda m: frames(m).update(descriptor_px=16), "descriptor_px is 16"),
    "images that are not square": (lambda m: m["latent"].update(image_width_px=9), "descriptor_px is 8"),
    "conditions": (lambda m: m["latent"].update(conditions=[{"name": "v", "unit": "V", "meaning": "v"}]), "without conditions"),
    "a stride of 0": (lambda m: frames(m)["dense"].update(stride_px=0), "greater than or equal to 1"),
    "a stage's graph is missing": (lambda m: m["signatures"].pop("frame_2.uint8"), "frame_2.uint8"),
    "an explaining graph is missing": (lambda m: m["signatures"].pop("explain_1.uint8"), "explain_1.uint8"),
    "a dense graph is missing": (lambda m: m["signatures"].pop("dense_2.uint8"), "dense_2.uint8"),
    "a graph too much": (lambda m: m["signatures"].update({"frame_3.uint8": of(m, "frame_2.uint8")}), "frame_3.uint8"),
    "dense graphs of no dense encoder": (lambda m: frames(m).pop("dense"), "dense_1.uint8"),
    "graphs without a section": (lambda m: m["latent"].pop("frames"), "latent.frames is null"),
    "no encoder of the dtype": (lambda m: m["signatures"].pop("encode.uint8"), "no encode of its dtype"),
    "no centres": (lambda m: of(m, "frame_1.uint8").update(inputs=[WINDOW]), "its inputs are"),
    "centres of float64": (lambda m: of(m, "frame_1.uint8").update(inputs=[CENTRE | {"dtype": "float64"}, WINDOW]), "its inputs are"),
    "a frame of the bundle's": (lambda m: of(m, "frame_1.uint8").update(fixed=[FRAME | {"source": "bundle"}]), "of source 'request'"),
    "a frame of float32": (lambda m: of(m, "explain_1.uint8").update(fixed=[FRAME | {"dtype": "float32"}]), "of source 'request'"),
    "a frame of one size": (lambda m: of(m, "frame_1.uint8").update(fixed=[FRAME | {"shape": [64, 64]}]), "of source 'request'"),
    "explained beside the latents": (lambda m: of(m, "frame_1.uint8")["outputs"].append(tensor("explained")), "its outputs are"),
    "outputs in another order": (lambda m: of(m, "frame_1.uint8").update(outputs=of(m, "encode.uint8")["outputs"][::-1]), "its outputs are"),
    "many frames at once": (lambda m: of(m, "dense_1.uint8").update(max_batch=8), "max_batch"),
    "maps of one size": (lambda m: of(m, "dense_1.uint8").update(outputs=of(m, "encode.uint8")["outputs"]), "its outputs are"),
    "frames of one size": (
        lambda m: of(m, "dense_1.uint8")["inputs"].__setitem__(0, with_axes(tensor("frames", 8, dtype="uint8"), "H")),
        "first input",
    ),
    "integers that are not finite": (lambda m: of(m, "dense_1.uint8")["inputs"][0].update(takes_non_finite=True), "takes_non_finite"),
    "an output of any length of rows of one": (
        lambda m: of(m, "encode.uint8").update(outputs=[with_axes(tensor("angle_rad"), "R")]),
        "which no input has",
    ),
    "one fixed input of each kind": (
        lambda m: of(m, "frame_1.uint8").update(fixed=[FRAME, FRAME | {"name": "other", "source": "bundle"}]),
        "all the bundle's, or all",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_manifest_whose_frames_and_graphs_disagree_is_refused(case: str) -> None:
    spoil, words = SPOILED[case]
    said = framed()
    spoil(said)
    with pytest.raises(ValidationError, match=words):
        taken(said)


SPOILED_DECODERS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "one of them missing": (lambda m: m["signatures"].pop("decode_2"), r"\['decode_2'\] is missing or too much"),
    "one of the last stage": (lambda m: m["signatures"].update(decode_3=of(m, "decode")), r"\['decode_3'\] is missing or too much"),
    "one of a dtype": (lambda m: m["signatures"].update({"decode_1.uint8": m["signatures"].pop("decode_1")}), "is missing or too much"),
    "other inputs": (lambda m: of(m, "decode_1").update(inputs=[tensor("content", 3)]), "decode_1: it takes and gives"),
    "other outputs": (lambda m: of(m, "decode_1").update(outputs=[tensor("images", 8, 9)]), "decode_1: it takes and gives"),
    "no decoder of the last stage": (lambda m: m["signatures"].pop("decode"), "expected what decode takes and gives"),
    "of a single stage": (lambda m: frames(m).update(stages=frames(m)["stages"][:1]), "missing or too much"),
}


@pytest.mark.parametrize("case", SPOILED_DECODERS)
def test_a_manifest_whose_decoders_are_not_those_of_its_stages_is_refused(case: str) -> None:
    spoil, words = SPOILED_DECODERS[case]
    said = decoding(framed(stages=3))
    spoil(said)
    with pytest.raises(ValidationError, match=words):
        taken(said)


def test_decoders_of_stages_without_stages_are_refused() -> None:
    said = facts()
    said["signatures"]["decode_1"] = {
        "graph": "encode.uint8.onnx",
        "inputs": [tensor("content", 2)],
        "outputs": [tensor("images", 8, 8)],
        "max_batch": 4,
    }
    with pytest.raises(ValidationError, match=r"latent\.frames is null"):
        taken(said)
