"""An encoder without padding: what it says of a window is what it says of the whole image there; where things are is not lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.latent.recipes import FILES, MODEL, write_images, write_recipe
from training.errors import InputError
from training.latent.dense_encoder import DenseEncoder, feature_side, moment_kernels
from training.latent.model import InvariantVAE
from training.latent.pipeline import Request, prepare, specify
from training.latent.specification import ModelSpecification
from training.recipe import Recipe, read_recipe

SMALL = ModelSpecification(
    20, 20, channels=2, invariances=("rotation", "translation"), angle_symmetry=1, encoder_channels=(5,), encoder_widths=(7, 6), dense_head="moments"
)
KINDS = [(head, topology) for head in ("moments", "full") for topology in ((), ("circle", "line"))]


def made(head: str, topology: tuple[str, ...] = ()) -> DenseEncoder:
    torch.manual_seed(0)
    return DenseEncoder(ModelSpecification(**{**vars(SMALL), "dense_head": head, "topology": topology})).double()


@pytest.mark.parametrize(("head", "topology"), KINDS)
def test_a_window_is_encoded_as_the_whole_image_there(head: str, topology: tuple[str, ...]) -> None:
    encoder, images = made(head, topology), torch.rand(2, 2, 31, 28, dtype=torch.float64)
    maps = encoder.maps(images)
    assert maps.shape[:3] == (2, 6, 5)
    for row in range(6):
        for column in range(5):
            window = images[:, :, 2 * row : 2 * row + 20, 2 * column : 2 * column + 20].permute(0, 2, 3, 1)
            for whole, alone in zip(encoder.heads(maps[:, row, column]), encoder(window), strict=True):
                torch.testing.assert_close(whole, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", ["moments", "full"])
def test_where_things_are_changes_what_the_head_sees(head: str) -> None:
    encoder, image = made(head), torch.zeros(1, 2, 20, 20, dtype=torch.float64)
    image[:, :, 6:9, 6:9] = 1
    seen = [encoder.maps(torch.roll(image, (4 * down, 4 * right), (2, 3))) for down, right in ((0, 0), (1, 0), (0, 1))]
    # By strides the channels' means stay, so that plain pooling would see no difference.
    assert all((seen[0] - other).abs().max() > 1e-4 for other in seen[1:])


def test_moments_are_means_weighted_by_place() -> None:
    kernels = moment_kernels(3, second=True)
    u = torch.tensor([-1.0, 0.0, 1.0])[:, None].expand(3, 3)
    for kernel, wanted in zip(kernels, (torch.ones(3, 3), u, u.T, u * u, u * u.T, u.T * u.T), strict=True):
        torch.testing.assert_close(kernel, wanted / 9)
    assert len(moment_kernels(5, second=False)) == 3


@pytest.mark.parametrize(("side", "levels", "left"), [(16, 1, 5), (24, 2, 2), (32, 2, 4), (64, 3, 4)])
def test_so_many_places_are_left_for_the_head(side: int, levels: int, left: int) -> None:
    specification = ModelSpecification(side, side, encoder_channels=(3,) * levels, encoder_widths=(4,), dense_head="full")
    assert feature_side(specification) == left
    assert DenseEncoder(specification).maps(torch.zeros(1, 1, side, side)).shape == (1, 1, 1, 4)
    assert specification.dense_stride_px == 2**levels


def recipe(folder: Path, **changes: str) -> Recipe:
    lines = {"encoder": '"dense"', "encoder_channels": "[4]", **changes}
    model = MODEL.replace('encoder = "mlp"\n', "".join(f"{key} = {value}\n" for key, value in lines.items()))
    return read_recipe(write_recipe(folder, FILES, model))


REFUSED = {
    "classes": ({"class_source": '"joint"', "classes": "3"}, "one Gaussian"),
    "angle bins": ({"angle_bins": "8"}, "one Gaussian"),
    "a head of another encoder": ({"encoder": '"mlp"', "dense_head": '"full"'}, "dense_head is of encoder"),
    "spectra": ({"input_kind": '"spectra"'}, "windows of images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_dense_encoder_is_not_for_is_refused_in_the_recipe(tmp_path: Path, case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        recipe(tmp_path, **changes)


@pytest.mark.parametrize(("shape", "words"), [((16, 12), "square"), ((8, 8), "fewer encoder_channels")])
def test_images_that_it_cannot_read_are_refused_before_training(tmp_path: Path, shape: tuple[int, int], words: str) -> None:
    data = write_images(tmp_path / "data.npz", np.random.default_rng(0).random((40, *shape), dtype=np.float32))
    chosen = recipe(tmp_path, encoder_channels="[4, 4]" if shape[0] == 8 else "[4]")
    request = Request(chosen, (data,), None, tmp_path / "out", "cpu", resume=False)
    with pytest.raises(InputError, match=words) as refused:
        specify(chosen, prepare(request))
    assert refused.value.reason == "DENSE_ENCODER"


@pytest.mark.parametrize("head", ["moments", "full"])
def test_a_step_of_training_moves_every_weight(head: str) -> None:
    model = InvariantVAE(ModelSpecification(**{**vars(SMALL), "dense_head": head}))
    mean, sd = model.encode(torch.rand(3, 20, 20, 2))
    assert mean.shape == sd.shape == (3, 5)
    (mean.square().sum() + sd.sum()).backward()
    unused = [name for name, value in model.encoder.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert unused == []
