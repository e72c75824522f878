from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.__main__ import main
from training.data.patch_spectra import COERCIVE_DROP, COERCIVE_V, VOLTAGE_V, draw_patch_spectra
from training.data.readers import read_data
from training.errors import InputError


def test_loops_follow_from_the_structure_alone() -> None:
    made = draw_patch_spectra(400, image_noise=0, spectrum_noise=0, seed=3).arrays
    up, down = made["spectra"][:, :32], made["spectra"][:, 32:][:, ::-1]
    voltage = made["truth_voltage_v"][:32]
    slope = 0.15 * voltage
    # Where the loop crosses the linear response: at V_c − imprint upwards, at −V_c − imprint downwards.
    for branch, sign in ((up, 1), (down, -1)):
        crossing = np.array([np.interp(0, row - slope, voltage) for row in branch])
        expected = sign * made["truth_coercive_v"] - made["truth_imprint_v"]
        np.testing.assert_allclose(crossing, expected, atol=0.12)
    near = np.abs(made["truth_wall_distance_px"]) < 0.3
    assert near.any()
    np.testing.assert_allclose(made["truth_coercive_v"][near], COERCIVE_V * (1 - COERCIVE_DROP), rtol=0.02)
    assert made["truth_voltage_v"].max() == VOLTAGE_V


def test_the_patch_shows_the_wall_where_the_truth_says() -> None:
    made = draw_patch_spectra(50, image_noise=0, spectrum_noise=0, seed=1).arrays
    sign = np.sign(made["images"][:, 11:13, 11:13].mean(axis=(1, 2)))
    clear = np.abs(made["truth_wall_distance_px"]) > 1
    np.testing.assert_array_equal(sign[clear], np.sign(made["truth_wall_distance_px"][clear]))
    # The bright domain lies along the angle: the brightness's first moment points there.
    axis = np.arange(24) - 11.5
    right, up = np.meshgrid(axis, -axis)
    moment = np.arctan2((made["images"] * up).sum(axis=(1, 2)), (made["images"] * right).sum(axis=(1, 2)))
    apart = np.abs(np.angle(np.exp(1j * (moment - made["truth_wall_angle_rad"]))))
    assert np.median(apart) < np.radians(3)


def test_the_same_seed_gives_the_same_data_and_streams_share_nothing() -> None:
    first, again, other = draw_patch_spectra(5, seed=0), draw_patch_spectra(5, seed=0), draw_patch_spectra(5, seed=0, stream="test")
    assert first.sha256 == again.sha256
    assert not np.isin(first.arrays["truth_wall_angle_rad"], other.arrays["truth_wall_angle_rad"]).any()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"side": 4}, {"points": 15}, {"points": 17}, {"image_noise": -1.0}, {"stream": "labelled"}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        draw_patch_spectra(**{"count": 3, "seed": 0} | wrong)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_OPTION"


def test_the_command_writes_a_file_that_the_reader_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "patch_spectra", "--count", "7", "--points", "20", "--out", str(tmp_path / "p.npz")]) == 0
    assert "7 images of 24 × 24 px" in capsys.readouterr().out
    data = read_data(tmp_path / "p.npz")
    assert data.arrays["images"].shape == (7, 24, 24)
    assert data.arrays["spectra"].shape == (7, 20)
