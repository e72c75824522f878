"""The section mechanism says what the graphs take and give; a manifest that contradicts itself is refused before any graph is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from dichroic.bundle import Manifest
from tests.services.mechanism.world import World


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """A manifest as JSON: an image, coordinates and a parameter; outliers; a low rank."""
    said: dict[str, Any] = World(outliers=True).bundle.manifest.model_dump(mode="json")
    said["mechanism"]["truncation"] = {"rank": 3, "bound": 1e-7}
    return said


def spec(said: dict[str, Any], signature: str, side: str, tensor: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in said["signatures"][signature][side] if each["name"] == tensor)
    return found


def drop(said: dict[str, Any], signature: str, side: str, tensor: str) -> None:
    own = said["signatures"][signature]
    own[side] = [each for each in own[side] if each["name"] != tensor]


def mechanism(said: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in said["mechanism"]["mechanisms"] if each["name"] == name)
    return found


def reshape(said: dict[str, Any], signature: str, side: str, tensor: str, *row: int) -> None:
    spec(said, signature, side, tensor).update(shape=["n", *row], axes=["point", *["x"] * len(row)])


def swap(said: dict[str, Any]) -> None:
    own = said["signatures"]["predict.uint8"]
    own["inputs"] = own["inputs"][::-1]


SPOILED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a reserved name": (lambda m: mechanism(m, "age").update(name="latents"), "has the name of another tensor"),
    "a name twice": (lambda m: mechanism(m, "age").update(name="position"), "a name stands twice"),
    "a part twice": (lambda m: m["mechanism"]["parts"][2].update(name=m["mechanism"]["parts"][1]["name"]), "a name stands twice"),
    "coordinates without columns": (lambda m: mechanism(m, "position").update(columns=[], trained_low=[], trained_high=[]), "named columns"),
    "an image with columns": (lambda m: mechanism(m, "patch").update(columns=["a"], trained_low=[0.0], trained_high=[1.0]), "named columns"),
    "an image with categories": (lambda m: mechanism(m, "patch").update(categories=["a", "b"]), "has categories"),
    "a category alone": (
        lambda m: mechanism(m, "age").update(kind="category", columns=[], trained_low=[], trained_high=[], categories=["a"]),
        "two or more",
    ),
    "a column twice": (lambda m: mechanism(m, "position").update(columns=["x", "x"]), "stands twice in its columns"),
    "a range of one column": (lambda m: mechanism(m, "position").update(trained_low=[0.0]), "one value for each column"),
    "a range upside down": (lambda m: mechanism(m, "position").update(trained_low=[9.0, 9.0], trained_high=[0.0, 0.0]), "above trained_high"),
    "no latents": (lambda m: mechanism(m, "age").update(latent_size=0), "latent_size"),
    "an unknown kernel": (lambda m: mechanism(m, "age").update(kernel="periodic"), "kernel"),
    "no sd of y": (lambda m: m["mechanism"]["quantity"].update(sd=0.0), "sd"),
    "no noise": (lambda m: m["mechanism"]["noise"].update(variance=0.0), "variance"),
    "outliers without a variance": (lambda m: m["mechanism"]["noise"].update(outlier_variance=None), "together or not at all"),
    "outliers without a share": (lambda m: m["mechanism"]["noise"].update(outlier_share=0.0), "together or not at all"),
    "outliers that are quieter": (lambda m: m["mechanism"]["noise"].update(outlier_variance=1e-9), "the noisier points"),
    "a bound of nothing": (lambda m: m["mechanism"]["truncation"].update(bound=1e-3), "bound"),
    "a rank of none": (lambda m: m["mechanism"]["truncation"].update(rank=0), "rank"),
    "no constant": (lambda m: m["mechanism"]["parts"].pop(0), "the constant is the first"),
    "a constant at the end": (lambda m: m["mechanism"]["parts"].append(m["mechanism"]["parts"].pop(0)), "the constant is the first"),
    "a part of nothing": (lambda m: m["mechanism"]["parts"][1].update(mechanisms=[]), "a function of mechanisms"),
    "a part of no mechanism": (lambda m: m["mechanism"]["parts"][1].update(mechanisms=["mood"]), "none of"),
    "a factor that is no mechanism": (lambda m: m["mechanism"]["parts"][1].update(factors=["mood"]), "none of"),
    "one point": (lambda m: m["mechanism"].update(points=1), "points"),
    "an unknown posterior": (lambda m: m["mechanism"].update(posterior="guessed"), "posterior"),
    "an unknown form": (lambda m: m["mechanism"].update(form="twisted"), "form"),
    "no rows": (lambda m: m["signatures"].pop("rows"), r"lacks the signatures \['rows'\]"),
    "no predict of uint16": (lambda m: m["signatures"].pop("predict.uint16"), r"lacks the signatures \['predict.uint16'\]"),
    "no encode of float32": (lambda m: m["signatures"].pop("encode.float32"), "lacks the signatures"),
    "a mechanism that no graph takes": (lambda m: drop(m, "encode.uint8", "inputs", "age"), "its inputs are"),
    "inputs in another order": (swap, "its inputs are"),
    "images of another dtype": (lambda m: spec(m, "predict.uint8", "inputs", "patch").update(dtype="uint16"), "input patch is uint16"),
    "coordinates in float32": (lambda m: spec(m, "encode.uint8", "inputs", "position").update(dtype="float32"), "input position is float32"),
    "rows of another width": (lambda m: reshape(m, "encode.uint8", "inputs", "position", 3), "it has 2 columns"),
    "latents of another width": (lambda m: reshape(m, "encode.uint8", "outputs", "latents", 9), "output latents is"),
    "latents in float32": (lambda m: spec(m, "encode.uint8", "outputs", "latents").update(dtype="float32"), "output latents is float32"),
    "rows of latents of another width": (lambda m: reshape(m, "rows", "inputs", "latents", 9), "signatures.rows: input latents is"),
    "no total": (lambda m: drop(m, "predict.float32", "outputs", "total_mean"), "output total_mean is missing"),
    "a total of two": (lambda m: reshape(m, "predict.float32", "outputs", "total_variance", 2), "output total_variance is"),
    "a part too few": (lambda m: reshape(m, "predict.float32", "outputs", "part_mean", 3), "output part_mean is"),
    "no posterior": (lambda m: m["signatures"]["predict.uint8"].update(fixed=[]), "fixed inputs are"),
    "half a posterior": (lambda m: m["signatures"]["predict.uint8"]["fixed"].pop(2), "fixed inputs are"),
}


def test_the_whole_is_taken(whole: dict[str, Any]) -> None:
    section = Manifest.model_validate(whole, strict=False).mechanism
    assert section is not None
    assert section.mechanism_names == ("patch", "position", "age")
    assert section.latent_size == 5


@pytest.mark.parametrize("case", SPOILED)
def test_a_manifest_that_contradicts_itself_is_refused(whole: dict[str, Any], case: str) -> None:
    import copy

    change, words = SPOILED[case]
    said = copy.deepcopy(whole)
    change(said)
    with pytest.raises(ValidationError, match=words):
        Manifest.model_validate(said, strict=False)


def test_the_index_of_a_category_has_no_columns() -> None:
    said = World(patch="category").bundle.manifest.model_dump(mode="json")
    Manifest.model_validate(said, strict=False)
    for name in ("encode.float32", "predict.float32"):
        reshape(said, name, "inputs", "patch", 2)
    with pytest.raises(ValidationError, match="is the index of a category"):
        Manifest.model_validate(said, strict=False)
