"""The digest: equal digests give equal answers, whoever wrote them and when."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dichroic.bundle import Manifest, read_bundle, write_bundle
from tests.dichroic.bundle.drawn import FILES, facts, manifest, write


def digest(said: dict[str, Any]) -> str:
    return Manifest.model_validate_json(json.dumps(said)).digest


def test_it_is_the_sha256_of_the_canonical_json_without_three_fields() -> None:
    said = facts()
    counted = {key: value for key, value in said.items() if key not in {"version", "created_time", "producer"}}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest(said) == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_version_time_and_producer_do_not_count(tmp_path: Path) -> None:
    first = write(tmp_path)
    producer = {"git_commit": "other", "packages": {"numpy": "3.0"}, "timings_s": {"fit": 9.0, "check": 1.0}}
    second = write(tmp_path, created_time="2030-12-31T23:59:59Z", producer=producer)
    assert first != second
    assert read_bundle(first).manifest.digest == read_bundle(second).manifest.digest


def test_order_and_layout_do_not_count() -> None:
    said = facts()
    turned = Manifest.model_validate_json(json.dumps(dict(reversed(said.items())), indent=7))
    assert turned.digest == digest(said)


def _leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, each in items for leaf in _leaves(each, (*at, key))]
    return [at]


# What else each field may hold.
OTHER: dict[str, Any] = {
    "format_version": "1.1",
    "dtype": "uint16",
    "integer_images": "value",
    "sha256": "1" * 64,
    "likelihood": "bernoulli",
    "licence": "CC0",
    "probability": 0.95,
    "novelty_false_alarm_rate": 0.05,
    "input_low": -1.0,
    "input_high": 1.0,
    "invariances": "scale",
    "range_low": -4.0,
    "range_high": 4.0,
    "content_size": 1,
}
# These have only one value so far, or one that another field repeats: another is refused.
FIXED = {"kind", "pose_convention", "shape", "channels", "path", "graph", "name", "dtype"}


@pytest.mark.parametrize(
    "at", [leaf for leaf in _leaves(facts()) if leaf[0] not in {"version", "created_time", "producer"}], ids=lambda at: ".".join(map(str, at))
)
def test_every_other_field_counts(at: tuple[Any, ...]) -> None:
    field = next(key for key in reversed(at) if isinstance(key, str))
    said = copy.deepcopy(facts())
    holder: Any = said
    for key in at[:-1]:
        holder = holder[key]
    value = holder[at[-1]]
    if field in OTHER:
        holder[at[-1]] = OTHER[field]
    elif isinstance(value, bool):
        holder[at[-1]] = not value
    else:
        holder[at[-1]] = value + 1 if isinstance(value, int | float) else f"{value}_other"
    try:
        assert digest(said) != digest(facts())
    except ValidationError:
        assert field in FIXED


def test_any_file_counts(tmp_path: Path) -> None:
    digests = {write_bundle(tmp_path, manifest(), FILES | {path: b"changed"})[1].digest for path in FILES}
    assert len(digests | {write_bundle(tmp_path, manifest(), FILES)[1].digest}) == len(FILES) + 1


def test_a_default_that_a_later_reader_adds_does_not_change_an_old_digest() -> None:
    class Later(Manifest):
        added_in_1_9: str | None = None

    text = json.dumps(facts())
    assert Later.model_validate_json(text).digest == Manifest.model_validate_json(text).digest


def test_the_digest_of_this_manifest_never_changes() -> None:
    """A release that computes another digest from the same file has broken every journal and every record that names one."""
    assert digest(facts()) == "dfdc96c202090fbb88b34f8fded75132263f69e0d1a6848c429553f7d12d29ef"


def test_the_digest_of_what_1_5_added_never_changes_either() -> None:
    said = facts()
    said["latent"]["angle_symmetry"] = 2
    first = digest(said)
    assert first == "18bf1ed5bf4ce2851445e5eeccf90e70eb01a9bbb7e951761b188b79c35af93c"
    said["latent"]["angle_symmetry"] = 3
    assert digest(said) != first


def test_the_digest_of_what_1_1_added_never_changes_either() -> None:
    said = facts()
    said["calibration"]["reconstruction_error_sample"] = [0.001, 0.02]
    said["latent"] |= {"topology": ["line", "circle"], "input_kind": "images", "conditions": [], "class_names": [], "class_source": ""}
    first = digest(said)
    assert first == "2c811af9595a1951b9650ee78b90a936b10536259d9b387d37c8a0d5d77c6467"
    said["latent"]["topology"] = ["circle", "line"]
    assert digest(said) != first
    said["calibration"]["reconstruction_error_sample"][0] = 0.002
    said["latent"]["topology"] = ["line", "circle"]
    assert digest(said) != first
