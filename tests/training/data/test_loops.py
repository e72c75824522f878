from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest

from training.__main__ import main
from training.data.dataset import Array
from training.data.loops import (
    SCALARISERS,
    MeasuredLoops,
    flag_failed,
    flag_spiked,
    loop_mechanisms,
    read_loops,
    scalarise,
)
from training.errors import InputError

ROWS, COLUMNS = 9, 12
SWEEP_V = np.concatenate([np.linspace(0, 8, 17), np.linspace(8, -8, 33)[1:], np.linspace(-8, 0, 17)[1:-1]])
# Coercive voltage grows down the rows, imprint across the columns.
ROW, COLUMN = np.divmod(np.arange(ROWS * COLUMNS), COLUMNS)
COERCIVE_V, IMPRINT_V = 2 + 0.2 * ROW, -1 + 0.15 * COLUMN
FAILED = (3 * COLUMNS + 4, 0)


def drawn_loops() -> Array:
    way = np.sign(np.diff(SWEEP_V, append=0.0))
    loops: Array = 1e-4 * np.tanh((SWEEP_V - IMPRINT_V[:, None] - way * COERCIVE_V[:, None]) / 0.5)
    loops[FAILED, 20] = 0.05
    return loops


def write(path: Path, *, unit: str = "V", place_unit: str = "m", kind: str = "SPECTRAL") -> Path:
    """(x, y, V), as the measured file has it."""
    axes = [
        ("X", "SPATIAL", place_unit, np.arange(COLUMNS) * 4e-8),
        ("Y", "SPATIAL", place_unit, np.arange(ROWS) * 4e-8),
        ("Voltage", kind, unit, SWEEP_V if unit == "V" else SWEEP_V * 1e3),
    ]
    with h5py.File(path, "w") as file:
        item = file.create_dataset("loops", data=drawn_loops().reshape(ROWS, COLUMNS, -1).transpose(1, 0, 2))
        item.attrs.update({"quantity": "Piezoresponse", "units": "a.u."})
        for index, (label, dimension, axis_unit, positions) in enumerate(axes):
            scale = file.create_dataset(label, data=positions)
            scale.attrs.update({"dimension_type": dimension, "units": axis_unit, "name": label})
            scale.make_scale(label)
            item.dims[index].label = label
            item.dims[index].attach_scale(scale)
    return path


@pytest.fixture
def loops(tmp_path: Path) -> MeasuredLoops:
    return read_loops(write(tmp_path / "loops.h5"))


def test_loops_are_read_row_by_row_with_voltage_places_and_unit(loops: MeasuredLoops) -> None:
    np.testing.assert_array_equal(loops.response, drawn_loops())  # float64, not the reader's float32
    np.testing.assert_array_equal(loops.voltage_v, SWEEP_V)
    assert (loops.grid, loops.unit, loops.source) == ((ROWS, COLUMNS), "a.u.", "loops.h5")
    np.testing.assert_allclose(loops.position_um, np.stack([COLUMN * 0.04, ROW * 0.04], axis=1))


def test_millivolts_are_told_in_volts(tmp_path: Path) -> None:
    np.testing.assert_allclose(read_loops(write(tmp_path / "m.h5", unit="mV")).voltage_v, SWEEP_V)


def test_failed_fits_are_flagged_and_nothing_else(loops: MeasuredLoops) -> None:
    assert np.flatnonzero(loops.failed).tolist() == sorted(FAILED)
    few = np.array([[0.0, 1], [0, 10], [0, 10.1], [0, 1], [0, 1], [0, 1], [0, -1]])
    assert flag_failed(few).tolist() == [False, False, True, False, False, False, False]


def test_a_lone_sample_is_a_spike_and_a_step_is_none() -> None:
    step = np.array([0.0, 0, 0, 1, 1, 1, 1, 0])
    few = np.stack([step] * 4)
    few[1, 1], few[2, 1], few[3, 5] = 0.7, 0.4, -1
    assert flag_spiked(few).tolist() == [False, True, False, True]
    assert flag_spiked(few, share=0.3).tolist() == [False, True, True, True]


def test_figures_are_those_the_loops_were_drawn_with(loops: MeasuredLoops) -> None:
    good = ~loops.failed
    expected = {"coercive_voltage": COERCIVE_V, "imprint": IMPRINT_V, "loop_area": 4e-4 * COERCIVE_V, "centre_of_mass": IMPRINT_V}
    expected["log_loop_area"] = np.log10(4e-4 * COERCIVE_V)
    units = {
        "coercive_voltage": "V",
        "imprint": "V",
        "loop_area": "V·a.u.",
        "log_loop_area": "log10 V·a.u.",
        "centre_of_mass": "V",
        "remanence": "a.u.",
        "peak_ratio": "1",
    }
    units["log_loop_area"] = "log10 V·a.u."
    for name in SCALARISERS:
        values, unit = scalarise(loops, name)
        assert values.shape == (ROWS * COLUMNS,)
        assert unit == units.get(name, unit)
        if name in expected:
            np.testing.assert_allclose(values[good], expected[name][good], rtol=0.02, atol=0.02 if unit == "V" else 0, err_msg=name)
    turned = replace(loops, response=-loops.response)
    assert np.isnan(scalarise(turned, "log_loop_area")[0]).all()  # an area below 0 has no logarithm, and is no loop of a ferroelectric
    with pytest.raises(InputError) as caught:
        scalarise(loops, "width")
    assert caught.value.reason == "INVALID_OPTION"


def test_mechanisms_leave_out_failed_fits_everywhere(loops: MeasuredLoops) -> None:
    data = loop_mechanisms(loops, "coercive_voltage", half_width=1)
    made = data.arrays
    assert set(made["place"]) == set(range(ROWS * COLUMNS)) - set(FAILED)
    np.testing.assert_allclose(made["y"], COERCIVE_V[made["place"]], rtol=0.02)
    np.testing.assert_allclose(made["position_um"], loops.position_um[made["place"]])
    assert made["neighbours"].dtype == np.float32
    inner = (ROW > 0) & (ROW < ROWS - 1) & (COLUMN > 0) & (COLUMN < COLUMNS - 1)
    far = inner & (np.abs(ROW - 3) + np.abs(COLUMN - 4) > 2)
    np.testing.assert_allclose(made["neighbours"].mean(axis=(1, 2))[far[made["place"]]], COERCIVE_V[made["place"]][far[made["place"]]], rtol=0.02)
    assert (data.unit, data.quantity) == ("V", "coercive_voltage")
    assert "2 of 108 fits failed" in data.notes[0]


def test_failed_fits_are_kept_on_request_but_shown_in_no_patch(loops: MeasuredLoops) -> None:
    made = loop_mechanisms(loops, "loop_area", neighbours="imprint", half_width=1, keep_failed=True).arrays
    assert len(made["y"]) == ROWS * COLUMNS
    assert np.flatnonzero(made["failed"]).tolist() == sorted(FAILED)
    assert np.abs(made["neighbours"]).max() < 1.1  # volts of imprint


@pytest.mark.parametrize("wrong", [{"unit": "s"}, {"place_unit": "arb"}, {"kind": "TEMPORAL"}])
def test_what_is_no_grid_of_loops_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        read_loops(write(tmp_path / "x.h5", **wrong))
    assert caught.value.reason == "NOT_LOOPS"


def test_a_patch_larger_than_the_map_leaves_no_data(loops: MeasuredLoops) -> None:
    with pytest.raises(InputError) as caught:
        loop_mechanisms(loops, "coercive_voltage", half_width=40)
    assert caught.value.reason == "NO_DATA"


def test_the_command_writes_mechanisms_of_a_file_of_loops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--file", str(write(tmp_path / "loops.h5")), "--target", "imprint", "--half-width", "1"]
    assert main(["data", "loops", *words, "--out", str(tmp_path / "m.npz")]) == 0
    said = capsys.readouterr().out
    assert "106 points of y (imprint), with failed, grid, neighbours, place, position_um, spiked, unit V" in said
    assert "2 of 108 fits failed" in said
    with np.load(tmp_path / "m.npz") as made:
        np.testing.assert_array_equal(made["y"], loop_mechanisms(read_loops(tmp_path / "loops.h5"), "imprint", half_width=1).arrays["y"])


@pytest.fixture
def measured() -> MeasuredLoops:
    folder = os.environ.get("DICHROIC_DATA")
    if not folder:
        pytest.skip("DICHROIC_DATA is not set: it names the folder of the measured loops")
    return read_loops(Path(folder) / "dtmicroscope" / "BEPS_PTO_50x50.h5")


@pytest.mark.measured
def test_measured_loops_are_those_the_folder_describes(measured: MeasuredLoops) -> None:
    assert measured.response.shape == (2500, 64)
    assert (measured.grid, measured.unit) == ((50, 50), "a.u.")
    assert (measured.voltage_v[0], measured.voltage_v.max(), measured.voltage_v.min(), measured.voltage_v[-1]) == (0, 8.5, -8.5, -0.53125)
    assert measured.failed.mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(measured.position_um[[0, 1, -1]], [[0, 0], [2 / 49, 0], [2, 2]])


@pytest.mark.measured
def test_measured_loops_switch_as_a_ferroelectric_does(measured: MeasuredLoops) -> None:
    good = ~measured.failed
    area, coercive = scalarise(measured, "loop_area")[0][good], scalarise(measured, "coercive_voltage")[0][good]
    assert (area > 0).mean() > 0.97
    assert 4 < np.nanmedian(coercive) < 4.5
    assert np.isfinite(coercive).mean() > 0.85


@pytest.mark.measured
def test_measured_neighbours_tell_something_of_a_place(measured: MeasuredLoops) -> None:
    made = loop_mechanisms(measured, "imprint").arrays
    assert np.corrcoef(made["y"], made["neighbours"].mean(axis=(1, 2)))[0, 1] > 0.4
