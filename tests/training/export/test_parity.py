from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from dichroic.bundle.arrays import pack, unpack
from tests.training.export.exported import exported
from training.export import parity
from training.export.parity import ParityError, check_parity, difference, output_range
from training.export.specs import decode_max_batch
from training.latent.model import InvariantVAE
from training.latent.specification import ModelSpecification

KIND = "rotation-translation"


def graphs() -> tuple[dict[str, bytes], bytes]:
    bundle = exported(KIND).bundle
    return {name: bundle.files[signature.graph] for name, signature in bundle.manifest.signatures.items()}, bundle.files["weights.safetensors"]


def check(changed: dict[str, bytes], weights: bytes) -> None:
    made = exported(KIND)
    check_parity(made.model, made.facts.preprocessing, made.bundle.manifest.signatures, changed, weights)


def test_a_weight_that_differs_a_little_is_found() -> None:
    found, weights = graphs()
    tensors = unpack(weights, path="w")
    name = next(name for name in tensors if name.startswith("encoder"))
    with pytest.raises(ParityError, match="encode"):
        check(found, pack({**tensors, name: tensors[name] * np.float32(1.001)}))


def test_one_wrong_dtype_front_is_found() -> None:
    found, weights = graphs()
    model = onnx.load_from_string(found["encode.uint16"])
    for tensor in model.graph.initializer:
        if tensor.name == "span":
            tensor.CopyFrom(numpy_helper.from_array(np.array([65000.0], dtype=np.float32), "span"))
    with pytest.raises(ParityError, match=r"encode\.uint16"):
        check({**found, "encode.uint16": model.SerializeToString()}, weights)


def test_a_model_trained_further_than_its_graphs_is_found() -> None:
    made = exported(KIND)
    found, weights = graphs()
    with torch.no_grad():
        made.model.decoder.output.bias += 0.01
        try:
            with pytest.raises(ParityError, match=r"decode|reconstruct"):
                check(found, weights)
        finally:
            made.model.decoder.output.bias -= 0.01


def test_angles_are_compared_the_short_way_round() -> None:
    spec = exported(KIND).bundle.manifest.signatures["encode.uint8"].outputs[0]
    assert spec.name == "angle_rad"
    assert difference(spec, np.array([math.pi - 1e-4]), np.array([-math.pi + 1e-4])) == pytest.approx(2e-4)
    assert output_range(spec, np.zeros(3)) == pytest.approx(2 * math.pi)


@pytest.mark.parametrize(("side", "width"), [(8, 8), (48, 64), (256, 128), (2048, 128)])
def test_decode_batches_keep_hidden_features_within_memory(side: int, width: int) -> None:
    rows = decode_max_batch(ModelSpecification(side, side, invariances=("rotation",), decoder_widths=(width, width)))
    assert 1 <= rows <= 64
    assert rows == 1 or 2 * 4 * rows * side * side * width <= 128 << 20


def test_a_shaken_model_has_each_weight_a_last_digit_off() -> None:
    model = exported(KIND).model
    copies = list(parity.shaken(model))
    assert len(copies) == 4
    for name, weight in model.named_parameters():
        others = [dict(other.named_parameters())[name] for other in copies]
        for other in others:
            neighbours = [torch.nextafter(weight, torch.full_like(weight, way)) for way in (torch.inf, -torch.inf)]
            assert bool(((other == neighbours[0]) | (other == neighbours[1])).all())
        if weight.numel() > 20:
            assert not torch.equal(others[0], others[1])


def test_graph_that_answers_nan_is_found() -> None:
    found, weights = graphs()
    tensors = unpack(weights, path="w")
    name = next(name for name in tensors if name.startswith("encoder"))
    with pytest.raises(ParityError, match="nan"):
        check(found, pack({**tensors, name: np.full_like(tensors[name], np.nan)}))


def test_model_that_answers_nan_itself_is_found() -> None:
    made = exported(KIND)
    model = copy.deepcopy(made.model)
    with torch.no_grad():
        model.encoder.mean.bias += math.nan
    with pytest.raises(ParityError, match="model itself"):
        check_parity(model, made.facts.preprocessing, made.bundle.manifest.signatures, *graphs())


# The rounding of the model as it is, and of copies each weight of which is a last digit off: either may be what shows that the model is touchy.
@pytest.mark.parametrize(
    ("rounding", "shaken", "agrees"), [(0.0, 0.0, False), (1.0e-5, 0.0, True), (0.5e-5, 0.0, False), (0.0, 1.0e-5, True), (0.0, 0.5e-5, False)]
)
def test_graph_may_be_off_by_three_times_the_models_own_rounding_and_no_more(
    monkeypatch: pytest.MonkeyPatch, rounding: float, shaken: float, agrees: bool
) -> None:
    real, own = parity.torch_answer, exported(KIND).model
    honest = graphs()  # made before the patch: what `exported` makes, every later test sees

    def off(model: InvariantVAE, *rest: Any) -> dict[str, np.ndarray]:
        # The float32 answer is 2e-5 of the range away from the graph's; the float64 answer is `rounding` away from that, and `shaken` or nothing
        # from the other copies'.
        if model.grid.dtype == torch.float32:
            share = 2e-5 if model is own else 2e-5 + rounding + shaken
        else:
            share = 2e-5 + rounding
        answers = real(model, *rest)
        return {spec.name: answers[spec.name] + share * output_range(spec, answers[spec.name]) for spec in rest[2].outputs}

    monkeypatch.setattr(parity, "torch_answer", off)
    if agrees:
        check(*honest)
        return
    with pytest.raises(ParityError):
        check(*honest)
