"""The section latent says what the graphs take and give; a manifest that contradicts itself is refused before any graph is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dichroic.bundle import Manifest, read_bundle
from dichroic.bundle.manifest import Calibration, ErrorCalibration, Quantile
from dichroic.errors import BundleRefusedError
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from tests.dichroic.bundle.drawn import facts
from tests.toy_bundle import rewrite_manifest
from tests.toy_family import TARGETS, VOLTAGE, Family, write_family

FAMILY = Family()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_bundle(write_family(tmp_path_factory.mktemp("bundles"))).manifest


def test_the_family_and_bundles_from_before_it_are_taken(whole: Manifest) -> None:
    assert whole.latent is not None
    assert (whole.latent.class_names, whole.latent.class_source) == (("heart", "spade", "club"), "semi_supervised")
    old = Manifest.model_validate(facts(), strict=False)
    assert old.latent is not None
    assert (old.latent.class_names, old.latent.conditions, old.latent.targets, old.latent.input_kind) == ((), (), (), "images")


DISAGREEING: dict[str, tuple[dict[str, Any], str]] = {
    "fewer classes": ({"class_names": ["heart", "spade"]}, "class_probabilities"),
    "no classes": ({"class_names": [], "class_source": ""}, "class_"),
    "fewer conditions": ({"conditions": [VOLTAGE.model_dump(mode="json")]}, "conditions"),
    "no conditions": ({"conditions": []}, "conditions"),
    "fewer targets": ({"targets": [TARGETS[0].model_dump(mode="json")]}, "target_mean"),
    "no targets": ({"targets": []}, "regress"),
    "spectra in": ({"input_kind": "spectra"}, "first input"),
    "spectra out": ({"output_kind": "spectra"}, "output"),
}


def test_a_decoder_may_draw_by_its_targets_and_by_no_others(tmp_path: Path) -> None:
    folder = write_family(tmp_path, Family(draws_by_targets=True))
    manifest = read_bundle(folder).manifest
    assert manifest.latent is not None
    assert manifest.signatures["decode"].inputs[-1].name == "targets"
    fewer = manifest.latent.model_dump(mode="json") | {"targets": [TARGETS[0].model_dump(mode="json")]}
    rewrite_manifest(folder, latent=fewer)
    with pytest.raises(BundleRefusedError, match=r"targets|target_mean"):
        read_bundle(folder)
    without = {name: signature for name, signature in manifest.signatures.items() if not name.startswith("regress")}
    with pytest.raises(ValueError, match="input targets is there"):
        manifest.latent.model_copy(update={"targets": ()}).check_signatures(without)


@pytest.mark.parametrize("case", DISAGREEING)
def test_a_bundle_whose_section_and_signatures_disagree_is_refused_by_the_load_sequence(tmp_path: Path, case: str) -> None:
    changes, words = DISAGREEING[case]
    folder = write_family(tmp_path)
    manifest = read_bundle(folder).manifest
    assert manifest.latent is not None
    rewrite_manifest(folder, latent=manifest.latent.model_dump(mode="json") | changes)
    with pytest.raises(BundleRefusedError, match=words) as error:
        Loader(ChosenDevice("cpu", False, 1), max_batch=4).load(folder)
    assert (error.value.step, error.value.cause) == ("manifest", "INVALID_MANIFEST")


def drop(manifest: dict[str, Any], signature: str, side: str, tensor: str) -> None:
    found = manifest["signatures"][signature]
    found[side] = [spec for spec in found[side] if spec["name"] != tensor]


def spec_of(manifest: dict[str, Any], signature: str, side: str, tensor: str) -> dict[str, Any]:
    found: dict[str, Any] = next(spec for spec in manifest["signatures"][signature][side] if spec["name"] == tensor)
    return found


SPOILED: dict[str, Callable[[dict[str, Any]], object]] = {
    "encode tells no classes": lambda m: drop(m, "encode.uint8", "outputs", "class_probabilities"),
    "classify tells none": lambda m: m["signatures"]["classify.uint8"].update(outputs=m["signatures"]["regress.uint8"]["outputs"]),
    "decode takes no class": lambda m: drop(m, "decode", "inputs", "class_weights"),
    "decode takes no conditions": lambda m: drop(m, "decode", "inputs", "conditions"),
    "encode takes no conditions": lambda m: drop(m, "encode.float32", "inputs", "conditions"),
    "reconstruct takes no conditions": lambda m: drop(m, "reconstruct.float32", "inputs", "conditions"),
    "classify takes conditions": lambda m: m["signatures"]["classify.uint8"]["inputs"].append(spec_of(m, "decode", "inputs", "conditions")),
    "no sd": lambda m: drop(m, "regress.uint8", "outputs", "target_sd"),
    "classes of float64": lambda m: spec_of(m, "encode.uint8", "outputs", "class_probabilities").update(dtype="float64"),
    "an unknown latent": lambda m: spec_of(m, "decode", "inputs", "content").update(name="contents"),
    "uint8 under another name": lambda m: m["signatures"].update({"encode.uint16": m["signatures"]["encode.uint8"]}),
    "no classifier": lambda m: [m["signatures"].pop(name) for name in ("classify.uint8", "classify.float32")],
    "no regressor": lambda m: [m["signatures"].pop(name) for name in ("regress.uint8", "regress.float32")],
    "one class": lambda m: m["latent"].update(class_names=["heart"]),
    "a class twice": lambda m: m["latent"].update(class_names=["heart", "heart", "club"]),
    "a class without a name": lambda m: m["latent"].update(class_names=["heart", "", "club"]),
    "classes from nowhere": lambda m: m["latent"].update(class_source=""),
    "a category alone": lambda m: m["latent"]["conditions"][1].update(categories=["mixed"]),
    "a condition twice": lambda m: m["latent"]["conditions"][1].update(name="voltage"),
    "an edge to no class": lambda m: m["latent"].update(class_edges=[["heart", "moon"]]),
    "an edge to itself": lambda m: m["latent"].update(class_edges=[["heart", "heart"]]),
    "an edge twice": lambda m: m["latent"].update(class_edges=[["heart", "club"], ["heart", "club"]]),
    "an edge of three": lambda m: m["latent"].update(class_edges=[["heart", "club", "spade"]]),
    "a topology of one": lambda m: m["latent"].update(topology=["circle"]),
    "a topology unheard of": lambda m: m["latent"].update(topology=["circle", "sphere"]),
    "angles of no symmetry": lambda m: m["latent"].update(invariances=["rotation"], angle_symmetry=0),
    "angles of half a symmetry": lambda m: m["latent"].update(invariances=["rotation"], angle_symmetry=1.5),
    "a symmetry of no angle": lambda m: m["latent"].update(invariances=["translation"], angle_symmetry=2),
    "images of one row": lambda m: m["latent"].update(image_height_px=1),
    "errors out of order": lambda m: m["calibration"].update(reconstruction_error_sample=[0.2, 0.1]),
    "errors of none": lambda m: m["calibration"].update(reconstruction_error=None),
    "more errors than there were": lambda m: m["calibration"]["reconstruction_error"].update(count=20),
    "one error": lambda m: m["calibration"].update(reconstruction_error_sample=[0.2]),
    "a negative error": lambda m: m["calibration"].update(reconstruction_error_sample=[-0.1, 0.2]),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_manifest_that_contradicts_itself_is_refused(whole: Manifest, case: str) -> None:
    said = whole.model_dump(mode="json")
    Manifest.model_validate(said, strict=False)
    SPOILED[case](said)
    with pytest.raises(ValidationError):
        Manifest.model_validate(said, strict=False)


def test_angles_may_be_meant_modulo_a_part_of_a_turn() -> None:
    assert Manifest.model_validate(facts(), strict=False).latent.angle_symmetry == 1  # type: ignore[union-attr]
    said = facts()
    said["latent"] |= {"angle_symmetry": 2}
    assert Manifest.model_validate(said, strict=False).latent.angle_symmetry == 2  # type: ignore[union-attr]


def test_a_thousand_errors_are_enough() -> None:
    errors = ErrorCalibration(count=5000, split="drawn", quantiles=(Quantile(probability=0.5, value=0.1),))
    Calibration(reconstruction_error=errors, reconstruction_error_sample=tuple(index / 1000 for index in range(1000)))
    with pytest.raises(ValidationError):
        Calibration(reconstruction_error=errors, reconstruction_error_sample=tuple(index / 1000 for index in range(1001)))
