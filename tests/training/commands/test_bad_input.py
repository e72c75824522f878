"""What `fit` says of input that makes no model: what was wrong, what was expected, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.latent.recipes import MODEL, random_images, write_recipe
from tests.training.latent.test_columns import CONDITIONS, OF_SPECTRA
from training.__main__ import main

IMAGES = random_images()
LABELS = np.arange(60) % 3
SEMI = MODEL.replace("content_size = 1", 'content_size = 1\nclass_source = "semi_supervised"\nclasses = 3')
JOINT = SEMI.replace("semi_supervised", "joint")
NAMED = SEMI.replace("classes = 3", 'classes = 3\nclass_names = ["disc", "ring", "bar"]')
SPECTRA = np.random.default_rng(0).random((60, 16), dtype=np.float32)

# model, extra keys of [data], arrays of the file, and words of the message: wrong, expected, to do
BAD: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "more labels than classes": (
        SEMI,
        "",
        {"images": IMAGES, "labels": np.arange(60) % 5},
        ("CLASS_COUNT_DIFFERS", "a.npz go up to 4", "classes = 3 (labels 0 to 2)", "set model.classes = 5, or correct"),
    ),
    "fewer labels than classes": (
        NAMED,
        "",
        {"images": IMAGES, "labels": LABELS % 2},
        ("CLASS_WITHOUT_LABELS", "class 2 (bar)", "label some of every class, or set model.classes"),
    ),
    "no label at all": (
        NAMED,
        "",
        {"images": IMAGES, "labels": np.full(60, -1)},
        ("CLASS_WITHOUT_LABELS", "class 0 (disc), 1 (ring), 2 (bar)", "label some of every class"),
    ),
    "more names than classes": (
        NAMED.replace("classes = 3", "classes = 2"),
        "",
        {"images": IMAGES, "labels": LABELS % 2},
        ("RECIPE_INVALID", "3 class_names for 2 classes", "a name for each, or leave class_names out"),
    ),
    "a label of no class": (
        SEMI,
        "",
        {"images": IMAGES, "labels": LABELS - 2},
        ("INVALID_LABELS", "go down to -2", "classes count from 0", "write −1 for unlabelled"),
    ),
    "labels that are no whole numbers": (
        SEMI,
        "",
        {"images": IMAGES, "labels": LABELS + 0.5},
        ("`labels`", "integers, -1 for unlabelled", "float64"),
    ),
    "K = 1": (
        JOINT.replace("classes = 3", "classes = 1"),
        "",
        {"images": IMAGES},
        ("RECIPE_INVALID", "model: classes = 1 says nothing of any image", "give 2 or more, or leave out"),
    ),
    "conditions missing": (
        MODEL,
        CONDITIONS,
        {"images": IMAGES},
        ("CONDITIONS_REQUIRED", "no array 'conditions' (n, 2)", "voltage, phase", "beside the images, a row for each, or leave"),
    ),
    "a rotation of spectra": (
        OF_SPECTRA.replace("translation", "rotation"),
        "",
        {"spectra": SPECTRA},
        ("RECIPE_INVALID", "'rotation' is impossible for the dimension of the data", "leave it out", "'translation'"),
    ),
    "a rotation of a file of spectra": (
        MODEL,
        "",
        {"spectra": SPECTRA},
        ("NO_IMAGES", "no array 'images' (n, h, w[, c])", "it has spectra", "input_kind and output_kind"),
    ),
    "all images constant": (
        MODEL,
        "",
        {"images": np.full_like(IMAGES, 3)},
        ("CONSTANT_IMAGES", "one and the same value, 3, in channel 0", "nothing to learn", "another channel"),
    ),
    "one image": (
        MODEL,
        "",
        {"images": IMAGES[:1]},
        ("TOO_FEW_IMAGES", "rows (1)", "training and held-out ones", "give more images or spectra, or cut patches"),
    ),
    "two images": (MODEL, "", {"images": IMAGES[:2]}, ("TOO_FEW_IMAGES", "1 training and 1 held-out", "at least 20 and 5", "give more data")),
}


@pytest.mark.parametrize("case", BAD)
def test_message_says_what_was_wrong_what_was_expected_and_what_to_do(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, extra, arrays, words = BAD[case]
    np.savez(tmp_path / "a.npz", **arrays)
    recipe = write_recipe(tmp_path, model=model, extra=extra)
    assert main(["fit", str(recipe), "--out", str(tmp_path / "bundles"), "--device", "cpu", "--data", str(tmp_path / "a.npz")]) == 2
    told = capsys.readouterr().err
    assert [word for word in words if word not in told] == [], told
    assert "Value error" not in told
    assert not (tmp_path / "bundles").exists()
