from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.latent.checkpoint import CheckpointStore
from training.latent.decoders import SpatialDecoder
from training.latent.optimise import Fit
from training.latent.specification import ModelSpecification
from training.recipe import Training

CLASSES = ("a", "b")
SPECIFICATION = ModelSpecification(
    8,
    8,
    invariances=("rotation",),
    class_source="joint",
    class_names=CLASSES,
    likelihood="gaussian",
    encoder_channels=(4,),
    encoder_widths=(8,),
    decoder_widths=(16, 16),
)


def decoder_and_inputs() -> tuple[SpatialDecoder, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    decoder = SpatialDecoder(SPECIFICATION)
    return decoder, (torch.rand(5, 20, 2) * 2 - 1, torch.randn(5, SPECIFICATION.content_width), torch.eye(2)[torch.tensor([0, 1, 1, 0, 1])])


def test_steps_in_bfloat16_give_nearly_the_same_pixels_and_gradients_in_float32() -> None:
    decoder, inputs = decoder_and_inputs()
    exact = decoder(*inputs)
    exact.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in decoder.parameters() if parameter.grad is not None]
    decoder.zero_grad()
    decoder.step_type = torch.bfloat16
    rounded = decoder(*inputs)
    rounded.square().sum().backward()
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)  # it is used
    assert torch.allclose(rounded, exact, atol=0.02)
    for parameter, gradient in zip(decoder.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert torch.linalg.norm(parameter.grad - gradient) <= 0.05 * torch.linalg.norm(gradient)


def test_what_is_measured_and_exported_stays_in_float32() -> None:
    decoder, inputs = decoder_and_inputs()
    with torch.no_grad():
        exact = decoder(*inputs)
        decoder.step_type = torch.bfloat16
        assert torch.equal(decoder(*inputs), exact)


def test_coordinates_are_never_rounded_to_bfloat16() -> None:
    decoder, (coordinates, content, classes) = decoder_and_inputs()
    decoder.step_type = torch.bfloat16
    seen: list[torch.dtype] = []
    decoder.of_coordinates.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.dtype))
    decoder(coordinates, content, classes)
    assert seen == [torch.float32]


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_a_processor_trains_in_float32_whatever_the_recipe_says_of_gpus(wanted: str, tmp_path: Path) -> None:
    training = Training.model_validate({"epochs": 1, "batch_size": 4, "gpu_precision": wanted})
    images = np.zeros((4, 8, 8, 1), np.float32)
    fit = Fit(SPECIFICATION, training, images, images[:0], seed=0, store=CheckpointStore(tmp_path, "x"), device=torch.device("cpu"))
    assert isinstance(fit.model.decoder, SpatialDecoder)
    assert fit.model.decoder.step_type is None
