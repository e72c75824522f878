from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.scales.recipes import FILES, MODEL, SCALES, request
from training.data.resample import resample
from training.errors import InputError
from training.latent.pipeline import prepare
from training.scales.prepare import prepare_scales, standardised

RNG = np.random.default_rng(0)
NM = SCALES.replace("windows_px = [4.5, 8.0, 12.0]", "windows_nm = [20.0, 50.0]")


def scan(folder: Path, name: str, side: int, pixel_size_nm: float | None = 5.0, offset: float = 0.0) -> Path:
    more = {} if pixel_size_nm is None else {"pixel_size_nm": np.array(pixel_size_nm)}
    np.savez(folder / name, images=(offset + 3 * RNG.normal(size=(1, side, side))).astype(np.float32), unit=np.array("m"), **more)
    return folder / name


def refused(folder: Path, *files: Path, **parts: str) -> InputError:
    with pytest.raises(InputError) as caught:
        prepare_scales(request(folder, *files, **parts))
    return caught.value


def test_every_stage_has_as_many_descriptors_of_one_size_in_one_normalisation(tmp_path: Path) -> None:
    stages = prepare_scales(request(tmp_path))
    assert [stage.window_px for stage in stages] == [4.5, 8.0, 12.0]
    assert {stage.prepared.train.shape for stage in stages} == {(60, 8, 8, 1)}
    assert {stage.prepared.held_out.images.shape for stage in stages} == {(15, 8, 8, 1)}
    assert len({stage.prepared.preprocessing for stage in stages}) == 1
    every = np.concatenate([stage.prepared.train for stage in stages])
    low, high = np.percentile(every, [0.5, 99.5])
    assert stages[0].prepared.preprocessing.input_low == pytest.approx((low,), rel=1e-5)
    assert stages[0].prepared.preprocessing.input_high == pytest.approx((high,), rel=1e-5)
    assert len(stages[0].prepared.validation) == 0
    assert stages[0].window_nm is None
    assert "Windows of 4.5, 8, 12 px" in stages[0].prepared.notes


def test_lengths_in_nm_are_cut_at_each_files_own_pixel_size(tmp_path: Path) -> None:
    files = (scan(tmp_path, "fine.npz", 64, 2.5), scan(tmp_path, "coarse.npz", 64, 5.0, offset=100.0))
    stages = prepare_scales(request(tmp_path, *files, data=FILES, scales=NM))
    assert [(stage.window_px, stage.window_nm, stage.label) for stage in stages] == [(None, 20.0, "20 nm"), (None, 50.0, "50 nm")]
    assert stages[1].prepared.pixel_size_nm == 50 / 8
    # The first file's windows stand first; one of them is found again where the file says it is.
    with np.load(files[0]) as arrays:
        whole = standardised(arrays["images"][0][..., None])
    centres = np.stack(np.meshgrid(*(4 + 2.0 * np.arange(29),) * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    every = resample(whole, centres, np.full(len(centres), 8.0), 8)
    assert np.abs(every - stages[0].prepared.train[0]).max(axis=(1, 2, 3)).min() < 1e-6
    # An offset of one scan alone is no contrast between scans.
    assert abs(stages[0].prepared.train.mean()) < 0.2
    assert stages[0].prepared.preprocessing.unit == "1"


def test_without_standardising_values_keep_their_unit(tmp_path: Path) -> None:
    plain = SCALES + 'standardise = "none"\n'
    found = prepare_scales(request(tmp_path, scan(tmp_path, "a.npz", 64, offset=100.0), data=FILES, scales=plain))[0].prepared
    assert found.preprocessing.unit == "m"
    assert found.train.mean() == pytest.approx(100, abs=1)
    assert "standard deviation" not in found.notes


def test_one_pixel_size_makes_lengths_in_nm_of_pixels(tmp_path: Path) -> None:
    same = [scan(tmp_path, name, 64) for name in ("a.npz", "b.npz")]
    assert [stage.window_nm for stage in prepare_scales(request(tmp_path, *same, data=FILES))] == [22.5, 40.0, 60.0]
    mixed = [same[0], scan(tmp_path, "c.npz", 64, 2.0)]
    first = prepare_scales(request(tmp_path, *mixed, data=FILES))[0]
    assert (first.window_nm, first.window_px) == (None, 4.5)


def test_descriptors_to_be_turned_are_cut_wide_for_training_alone(tmp_path: Path) -> None:
    model = MODEL.replace("[model]", '[model]\ninvariances = ["rotation"]\nangle_symmetry = 2') + "[training.orientation]\nweight = 1.0\n"
    scales = SCALES.replace("patches_per_scale = 60", "patches_per_scale = 40")
    for stage in prepare_scales(request(tmp_path, model=model, scales=scales)):
        assert stage.prepared.train.shape == (40, 12, 12, 1)
        assert stage.prepared.held_out.images.shape[1:] == (8, 8, 1)
    assert "cut √2 times as long" in stage.prepared.notes


def test_validation_windows_are_set_aside_when_asked_for(tmp_path: Path) -> None:
    stages = prepare_scales(request(tmp_path, model=MODEL + "keep_validation = true\n"))
    assert [len(stage.prepared.validation) for stage in stages] == [15, 15, 15]


def test_a_file_only_measured_on_gives_windows_of_every_length(tmp_path: Path) -> None:
    files = (scan(tmp_path, "a.npz", 64), scan(tmp_path, "b.npz", 64))
    stages = prepare_scales(request(tmp_path, *files, data=FILES + 'evaluate_only = ["b.npz"]\n', scales=NM))
    assert stages[1].prepared.source == "a.npz"
    (other,) = stages[1].prepared.others
    assert other.name == "b.npz, never trained on, windows of 50 nm"
    assert other.images.shape == (60, 8, 8, 1)


@pytest.mark.parametrize(
    ("pixel_size_nm", "scales", "reason"),
    [
        (None, NM, "PIXEL_SIZE_REQUIRED"),
        (0.0, NM, "INVALID_PIXEL_SIZE"),
        (-1.0, SCALES, "INVALID_PIXEL_SIZE"),
        (0.5, NM, "WINDOW_TOO_LARGE"),
        (5.0, SCALES.replace("= 60", "= 6000"), "TOO_FEW_WINDOWS"),
    ],
)
def test_bad_input_is_told(tmp_path: Path, pixel_size_nm: float | None, scales: str, reason: str) -> None:
    error = refused(tmp_path, scan(tmp_path, "a.npz", 64, pixel_size_nm), data=FILES, scales=scales)
    assert error.reason == reason


def test_an_image_without_contrast_has_no_scale(tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", images=np.ones((1, 64, 64), np.float32))
    error = refused(tmp_path, tmp_path / "flat.npz", data=FILES)
    assert error.reason == "CONSTANT_IMAGES"
    assert "flat.npz" in error.message


def test_drawn_data_and_other_commands_say_what_they_do_not_take(tmp_path: Path) -> None:
    assert refused(tmp_path, scan(tmp_path, "a.npz", 64)).reason == "DATA_NOT_USED"
    with pytest.raises(InputError, match="only `fit` takes such a recipe"):
        prepare(request(tmp_path))
