from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.errors import InputError
from training.mechanism.checkpoint import FitFile, fingerprint_of


def test_what_was_saved_last_is_what_is_loaded(tmp_path: Path) -> None:
    file = FitFile(tmp_path / "new" / "fit.safetensors")
    assert file.load("a") is None
    for turn in range(2):
        file.save("a", {"x": np.arange(3.0) + turn, "scalar": np.array(0.1)}, {"held_out": float("inf"), "turn": turn})
    arrays, facts = file.load("a") or ({}, {})
    assert np.array_equal(arrays["x"], np.arange(3.0) + 1)
    assert arrays["scalar"].shape == ()
    assert facts == {"held_out": float("inf"), "turn": 1}
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]
    file.clear()
    assert file.load("a") is None


def test_the_state_of_another_fit_is_refused(tmp_path: Path) -> None:
    file = FitFile(tmp_path / "fit.safetensors")
    file.save(fingerprint_of((np.zeros(3),), "a"), {"x": np.ones(2)}, {"n": 1})
    assert file.load(fingerprint_of((np.zeros(3),), "a")) is not None
    for other in (fingerprint_of((np.ones(3),), "a"), fingerprint_of((np.zeros(3),), "b"), fingerprint_of((np.zeros((3, 1)),), "a")):
        with pytest.raises(InputError) as caught:
            file.load(other)
        assert caught.value.reason == "CHECKPOINT_MISMATCH"
    file.path.write_bytes(b"no state")
    with pytest.raises(InputError) as caught:
        file.load("a")
    assert caught.value.reason == "CHECKPOINT_UNREADABLE"
