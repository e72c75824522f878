from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import read_bundle
from dichroic.bundle.files import WEIGHTS_NAME
from dichroic.bundle.reader import read_manifest
from tests.training.scales.recipes import SCALES, write
from training.__main__ import main
from training.data.resample import resample
from training.data.stripes import draw_stripes
from training.export.sessions import GraphRunner
from training.export.stage_figures import stage_labels
from training.latent.checkpoint import Checkpoint, CheckpointStore
from training.scales import fit as module
from training.scales.prepare import standardised


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Interrupted in its second stage, then resumed."""
    home = tmp_path_factory.mktemp("scales")
    command = ["fit", str(write(home)), "--out", str(home / "bundles"), "--device", "cpu"]
    patched = pytest.MonkeyPatch()
    left = [5]

    class Interrupting(CheckpointStore):
        def save(self, state: Checkpoint) -> None:
            super().save(state)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    told, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors):
        patched.setattr(module, "CheckpointStore", Interrupting)
        assert main(command) == 130
        patched.undo()
    assert "run the same command with --resume" in errors.getvalue()
    with contextlib.redirect_stdout(told):
        assert main([*command, "--resume"]) == 0
    return home / "bundles" / "toy" / "1", told.getvalue()


def test_a_resumed_fit_writes_one_bundle_and_forgets_its_checkpoints(fitted: tuple[Path, str]) -> None:
    folder, printed = fitted
    assert str(folder) in printed
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    assert not list((folder.parents[1] / ".checkpoints").iterdir())


def test_figures_are_printed_by_window_side_by_side(fitted: tuple[Path, str]) -> None:
    lines = [re.split(r" {2,}", line) for line in fitted[1].splitlines()]
    assert ["by window", "4.5 px", "8 px", "12 px", "unit"] in lines
    (told,) = (line for line in lines if line[0] == "explained_fraction")
    figures = {metric.name: metric.value for metric in read_manifest(fitted[0]).metrics}
    assert [float(value) for value in told[1:4]] == pytest.approx([figures[f"explained_fraction_w{number}"] for number in (1, 2, 3)], rel=1e-3)
    assert not any(line[0].endswith(("_w1", "_w2", "_w3")) for line in lines)


def test_the_bundle_encodes_descriptors_and_tells_every_stage(fitted: tuple[Path, str]) -> None:
    manifest = read_manifest(fitted[0])
    assert manifest.latent is not None
    assert (manifest.latent.image_height_px, manifest.latent.image_width_px) == (8, 8)
    assert {"encode.float32", "reconstruct.float32", "decode"} <= set(manifest.signatures)
    names = {metric.name for metric in manifest.metrics}
    assert {f"active_units_w{stage}" for stage in (1, 2, 3)} <= names
    values = {metric.name: metric.value for metric in manifest.metrics}
    assert values["negative_elbo"] == pytest.approx(values["negative_elbo_w3"])  # what encodes is the last stage's model
    assert "Windows of 4.5, 8, 12 px" in (fitted[0] / "README.md").read_text(encoding="utf-8")


def test_frames_are_read_by_the_model_of_each_window(fitted: tuple[Path, str]) -> None:
    manifest = read_manifest(fitted[0])
    assert manifest.latent is not None
    frames = manifest.latent.frames
    assert frames is not None
    assert (frames.descriptor_px, frames.standardised) == (8, True)
    assert [stage.window_px for stage in frames.stages] == [4.5, 8.0, 12.0]
    assert {f"frame_{stage}.float32" for stage in (1, 2, 3)} <= set(manifest.signatures)


def test_a_served_frame_answers_as_its_windows_cut_for_training_do(fitted: tuple[Path, str]) -> None:
    bundle = read_bundle(fitted[0])

    def run(name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        signature = bundle.manifest.signatures[name]
        runner = GraphRunner(bundle.files[signature.graph], bundle.files[WEIGHTS_NAME], [output.name for output in signature.outputs])
        return runner.run(inputs)

    frame = 40 + 7 * draw_stripes(1, side=48, period_px=12.0, seed=5).arrays["images"][0].astype(np.float32)
    window = np.array([12.0, 6.3, 30.1, 12.0])
    centres = window[:, None] / 2 + (48 - window[:, None]) * np.random.default_rng(0).random((4, 2))
    cut = resample(standardised(frame[..., None]), centres, window, 8)[..., 0].astype(np.float32)
    served = run("frame_3.float32", frame=frame, centre_px=centres.astype(np.float32), window_px=window.astype(np.float32))
    trained = run("encode.float32", images=cut)
    np.testing.assert_allclose(served["latent_mean"], trained["latent_mean"], atol=2e-5)
    # And not by chance: another length is another picture.
    assert np.abs(served["latent_mean"][0] - served["latent_mean"][3]).max() > 1e-3


def test_the_history_holds_all_stages(fitted: tuple[Path, str]) -> None:
    history = json.loads((fitted[0] / "history.json").read_text())
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert [leg["epoch"] for leg in history["legs"]] == [1, 3, 5]
    assert [leg["name"] for leg in history["legs"]] == stage_labels(read_bundle(fitted[0]).manifest.latent.frames)


def test_bad_input_is_told_before_anything_is_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = write(tmp_path, scales=SCALES.replace("12.0", "65.0"))
    assert main(["fit", str(large), "--out", str(tmp_path / "bundles")]) == 2
    assert "A window of 65 px does not fit" in capsys.readouterr().err
    assert not (tmp_path / "bundles").exists()
