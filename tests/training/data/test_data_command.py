import argparse

import numpy as np
import pytest

from training.commands import data as command
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


@pytest.mark.parametrize("name", [["cards", "--n-per-suit", "2", "--side", "16"], ["domains", "--side", "64"]], ids=["cards", "domains"])
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
