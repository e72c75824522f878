import argparse

import numpy as np
import pytest

from training.commands import data as command
from training.data.patches_field import draw_patches_field
from training.data.readers import read_data
from training.errors import InputError


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def test_cards_are_written_as_asked(tmp_path, capsys):
    out = tmp_path / "cards.npz"
    options = ["--n-per-suit", 3, "--angle-deg", 30, "--shear-deg", 5, "--shift", 0.1, "--scale", 0.9, 1.1, "--side", 24, "--stream", "test"]
    assert run("cards", "--out", out, *options, "--seed", 7) == 0
    data = read_data(out)
    assert data.arrays["images"].shape == (12, 24, 24)
    assert np.abs(data.arrays["truth_angle_rad"]).max() <= np.radians(30)
    assert "seed=7" in data.source
    assert "12 images of 24 × 24 px" in capsys.readouterr().out


def test_domains_are_written_as_asked(tmp_path):
    out = tmp_path / "domains.npz"
    assert run("domains", "--out", out, "--side", 96, "--seed", 3) == 0
    data = read_data(out)
    assert data.arrays["images"].shape == (1, 96, 96)
    assert data.unit == "m"
    assert data.arrays["truth_damage"].dtype == bool


def test_patches_and_field_are_written_as_asked(tmp_path, capsys):
    out = tmp_path / "pf.npz"
    assert run("patches_field", "--out", out, "--count", 9, "--form", "scaled", "--noise", 0.5, "--side", 16, "--stream", "test", "--seed", 4) == 0
    said = capsys.readouterr().out
    assert "9 points of y (patches and field, scaled), with age, labels, patch, position, truth_age" in said
    with np.load(out) as made:
        expected = draw_patches_field(9, form="scaled", noise=0.5, side=16, stream="test", seed=4)
        assert set(made) == set(expected.arrays) | {"unit", "quantity", "source"}
        assert str(made["source"]) == expected.source
        assert (made["y"] == expected.arrays["y"]).all()


def test_ferrosim_is_written_as_asked(tmp_path):
    out = tmp_path / "f.npz"
    words = ["--count", 3, "--mode", "square", "--n", 4, "--samples", 40, "--amplitude", 2, 3, "--target", "coercive", "--depolarisation", 0.1]
    words += ["--field-disorder", 0.1, "--field-offset", 0.2, "--bond-disorder", 0.3]
    assert run("ferrosim", "--out", out, *words, "--seed", 5, "--stream", "validation") == 0
    with np.load(out) as made:
        assert made["random_field"].shape == (3, 2, 4, 4)
        assert (made["y"] == made["coercive"]).all()
        assert str(made["source"]) == (
            "draw_ferrosim(count=3, mode='square', n=4, field_disorder=0.1, field_offset=0.2, bond_disorder=0.3, amplitude=(2, 3), "
            "depolarisation=0.1, samples=40, target='coercive', seed=5, stream='validation')"
        )


def test_transitions_are_written_as_asked(tmp_path, capsys):
    words = ["--count", 30, "--first-hop", "--beam-radius", 2, "--dwell", 1, 2, "--current-na", 0.1, 0.2, "--voltage-kv", 60, 80]
    words += ["--seed", 5, "--stream", "validation"]
    for name, own in (("dune-prior", []), ("dune-mixture", ["--mixture", 3])):
        out = tmp_path / f"{name}.npz"
        assert run(name, "--out", out, *own, *words) == 0
        assert "30 transitions (first hop), " in capsys.readouterr().out
        with np.load(out) as made:
            assert made["neighbours_xy_angstrom"].shape == (30, 3, 2)
            assert np.linalg.norm(made["beam_xy_angstrom"], axis=1).max() <= 2
            assert 1 <= made["dwell_s"].min() <= made["dwell_s"].max() <= 2
            rates = "rates='mixture', mixture=3" if own else "rates='prior', mixture=0"
            assert str(made["source"]) == (
                f"draw_dune(count=30, {rates}, first_hop=True, beam_radius=2.0, dwell=(1.0, 2.0), "
                "current_na=(0.1, 0.2), voltage_kv=(60.0, 80.0), seed=5, stream='validation')"
            )


NAMES = {
    "dune-prior": ["dune-prior", "--count", "9"],
    "dune-mixture": ["dune-mixture", "--count", "9"],
    "cards": ["cards", "--n-per-suit", "2", "--side", "16"],
    "domains": ["domains", "--side", "64"],
    "patches_field": ["patches_field", "--count", "5"],
    "ferrosim": ["ferrosim", "--count", "2", "--n", "3", "--samples", "40"],
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path, name):
    for file, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(*name, "--out", tmp_path / f"{file}.npz", "--seed", seed)
    a, b, c = ((tmp_path / f"{file}.npz").read_bytes() for file in "abc")
    assert a == b != c


def test_an_existing_file_is_replaced_only_with_force(tmp_path):
    out = tmp_path / "d.npz"
    out.write_text("mine")
    with pytest.raises(InputError) as caught:
        run("domains", "--out", out, "--side", 64)
    assert caught.value.reason == "FILE_EXISTS"
    assert out.read_text() == "mine"
    assert run("domains", "--out", out, "--side", 64, "--force") == 0
    assert read_data(out).arrays["images"].shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cards", "--angle-deg", "200"], "INVALID_OPTION"),
        (["cards", "--seed", "-1"], "INVALID_OPTION"),
        (["domains", "--side", "9"], "INVALID_OPTION"),
        (["patches_field", "--noise", "-1"], "INVALID_OPTION"),
        (["ferrosim", "--samples", "9"], "INVALID_OPTION"),
        (["dune-prior", "--beam-radius", "0"], "INVALID_OPTION"),
        (["dune-mixture", "--mixture", "-1"], "INVALID_OPTION"),
    ],
)
def test_a_bad_option_is_an_input_error_and_writes_nothing(tmp_path, words, reason):
    with pytest.raises(InputError) as caught:
        run(*words, "--out", tmp_path / "a.npz")
    assert caught.value.reason == reason
    assert not list(tmp_path.iterdir())


def test_an_ending_other_than_npz_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        run("domains", "--out", tmp_path / "a.h5")
    assert caught.value.reason == "UNKNOWN_FORMAT"


def test_stripes_and_noise_are_written_as_asked(tmp_path, capsys):
    words = ["--count", 2, "--side", 32, "--pixel-size-nm", 4, "--seed", 3]
    assert run("stripes", "--out", tmp_path / "s.npz", *words, "--period-px", 8, "--angle-deg", 30, "--noise", 0.2) == 0
    assert run("noise", "--out", tmp_path / "n.npz", *words, "--sd", 2) == 0
    said = capsys.readouterr().out
    assert "draw_stripes(count=2, side=32, period_px=8, angle_deg=30, noise=0.2, pixel_size_nm=4, seed=3)" in said
    assert "draw_noise(count=2, side=32, sd=2, pixel_size_nm=4, seed=3)" in said
    assert read_data(tmp_path / "s.npz").arrays["pixel_size_nm"] == 4
