import argparse
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from training.commands import report as command
from training.data.dataset import save_npz
from training.data.domains import draw_domains
from training.errors import InputError
from training.latent.history import EpochFigures, History, history_bytes

SIDE = 16


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def figures(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_of_drawn_cards_is_reported_on_fresh_cards(tmp_path, bundle, capsys):
    assert run(bundle(), "--out", tmp_path / "figures") == 0
    assert figures(tmp_path / "figures") == ["errors.png", "manifold.png", "poses.png", "reconstructions.png", "traversals.png"]
    assert str(tmp_path / "figures" / "poses.png") in capsys.readouterr().out
    for path in (tmp_path / "figures").iterdir():
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.02  # something is drawn


def test_a_scan_is_cut_and_mapped(tmp_path, bundle):
    scan = tmp_path / "domains.npz"
    save_npz(scan, draw_domains(64))
    assert run(bundle("scan.h5", unit="m"), "--data", scan, "--out", tmp_path / "figures") == 0
    assert figures(tmp_path / "figures") == ["errors.png", "manifold.png", "maps.png", "poses.png", "reconstructions.png", "traversals.png"]


def test_a_bundle_of_a_drawn_scan_is_reported_on_a_fresh_scan(tmp_path, bundle):
    folder = bundle("draw_domains(side=64, seed=0, period_px=(10, 18), damaged_spots=1)", unit="m")
    assert run(folder, "--out", tmp_path / "figures") == 0
    assert "maps.png" in figures(tmp_path / "figures")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_of_the_models_size_are_taken_as_they_are(tmp_path, bundle, dtype):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 200, (20, SIDE, SIDE)).astype(dtype))
    assert run(bundle("mine"), "--data", tmp_path / "images.npy", "--out", tmp_path / "figures") == 0
    assert figures(tmp_path / "figures") == ["errors.png", "manifold.png", "poses.png", "reconstructions.png", "traversals.png"]


def test_without_images_only_what_the_decoder_draws_is_drawn_and_the_rest_explained(tmp_path, bundle, capsys):
    assert run(bundle("scan.h5"), "--out", tmp_path / "figures") == 0
    assert figures(tmp_path / "figures") == ["manifold.png", "traversals.png"]
    assert "--data FILE" in capsys.readouterr().out


def test_a_model_without_pose_and_threshold_is_reported_without_them(tmp_path, bundle):
    assert run(bundle(pose=False, threshold=None), "--out", tmp_path / "figures") == 0
    assert figures(tmp_path / "figures") == ["errors.png", "manifold.png", "reconstructions.png", "traversals.png"]


def test_the_newest_version_is_taken_and_the_folder_named_after_it(tmp_path, bundle, monkeypatch):
    bundle("scan.h5")
    second = bundle("scan.h5")
    monkeypatch.chdir(tmp_path)
    assert run(second.parent) == 0
    assert figures(tmp_path / "report-hand-made-2") == ["manifold.png", "traversals.png"]


def test_a_fits_history_is_drawn_and_its_absence_is_told(tmp_path, bundle, capsys):
    told = History(0, 1, (EpochFigures(1, 0.5), EpochFigures(2, 100.0, 90.0, 3.0, 1.0, 0.0), EpochFigures(3, 95.0, 86.0, 3.0, 1.0, 0.0)))
    assert run(bundle("scan.h5", history=history_bytes(told)), "--out", tmp_path / "with") == 0
    assert "elbo.png" in figures(tmp_path / "with")
    assert "holds no history" not in capsys.readouterr().out
    assert run(bundle("scan.h5"), "--out", tmp_path / "without") == 0
    assert "elbo.png" not in figures(tmp_path / "without")
    assert "holds no history" in capsys.readouterr().out


def test_the_bundle_itself_is_never_written_to(bundle):
    folder = bundle()
    before = figures(folder)
    with pytest.raises(InputError) as caught:
        run(folder, "--out", folder / "figures")
    assert caught.value.reason == "CANNOT_WRITE"
    assert figures(folder) == before


def test_a_damaged_bundle_is_refused(tmp_path, bundle):
    folder = bundle()
    (folder / "decode.onnx").write_bytes(b"other")
    with pytest.raises(InputError) as caught:
        run(folder, "--out", tmp_path / "figures")
    assert caught.value.reason == "BUNDLE_REFUSED"


@pytest.mark.parametrize(
    ("array", "unit", "reason"),
    [
        (np.zeros((5, 8, 8)), "1", "IMAGES_TOO_SMALL"),
        (np.zeros((5, SIDE, SIDE, 3)), "1", "CHANNELS_DIFFER"),
        (np.zeros((5, SIDE, SIDE)), "V", "UNITS_DIFFER"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(tmp_path, bundle, array, unit, reason):
    np.savez(tmp_path / "a.npz", images=array, unit=np.array(unit))
    with pytest.raises(InputError) as caught:
        run(bundle(), "--data", tmp_path / "a.npz", "--out", tmp_path / "figures")
    assert caught.value.reason == reason


def test_a_missing_bundle_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match="BUNDLES/NAME") as caught:
        run(tmp_path / "nothing")
    assert caught.value.reason == "FILE_NOT_FOUND"


def test_neither_command_loads_torch():
    code = "import sys, training.commands.report, training.commands.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
