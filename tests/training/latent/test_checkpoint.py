from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.errors import InputError
from training.latent.checkpoint import Checkpoint, CheckpointStore

ARRAYS = {"model/a": np.arange(6, dtype=np.float32).reshape(2, 3), "adam/step/a": np.array(3.0, dtype=np.float32)}
STATE = Checkpoint(ARRAYS, 1, 7, (0, -12.3456789012345))


def test_state_comes_back_exactly_scalars_included(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "fits" / "toy", "mine")
    store.save(STATE)
    found = store.load()
    assert (found.restart, found.epoch, found.best) == (1, 7, (0, -12.3456789012345))
    for name, array in STATE.arrays.items():
        assert found.arrays[name].shape == array.shape
        np.testing.assert_array_equal(found.arrays[name], array)


def test_saving_again_replaces_the_state_and_leaves_no_draft(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, "mine")
    store.save(STATE)
    store.save(Checkpoint(STATE.arrays, 1, 8, None))
    assert store.load().epoch == 8
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.safetensors"]


def test_nothing_to_resume_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        CheckpointStore(tmp_path / "none", "mine").load()
    assert caught.value.reason == "CHECKPOINT_MISSING"


def test_another_fits_checkpoint_is_refused(tmp_path: Path) -> None:
    CheckpointStore(tmp_path, "mine").save(STATE)
    with pytest.raises(InputError) as caught:
        CheckpointStore(tmp_path, "yours").load()
    assert caught.value.reason == "CHECKPOINT_MISMATCH"


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x80\x04\x95pickle"])
def test_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fit.safetensors").write_bytes(content)
    with pytest.raises(InputError) as caught:
        CheckpointStore(tmp_path, "mine").load()
    assert caught.value.reason == "CHECKPOINT_UNREADABLE"


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as caught:
        CheckpointStore(tmp_path / "file" / "toy", "mine").save(STATE)
    assert caught.value.reason == "CANNOT_WRITE"
