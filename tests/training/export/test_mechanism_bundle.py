"""A mechanism bundle in the server's own load sequence, and its graphs against the float64 reference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import read_bundle
from dichroic.bundle.arrays import Arrays, pack, unpack
from dichroic.bundle.files import GOLDEN_NAME, POSTERIOR_NAME, sha256_of
from dichroic.errors import BundleRefusedError
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from services.engine.model import LoadedBundle
from services.mechanism.posterior import make_fixed
from tests.toy_bundle import rewrite_manifest
from tests.toy_mechanism import NOISE_VARIANCE, Made, toy_arrays, toy_facts, toy_fitted
from tests.training.conftest import FittedByCommand, ToyMechanism
from training.export.mechanism_bundle import write_mechanism_bundle
from training.export.mechanism_golden import TOLERANCE
from training.mechanism.posterior import Posterior
from training.mechanism.side_graphs import FEATURES

FORMS = ("additive", "scaled")
LOADER = Loader(ChosenDevice("cpu", False, 1), max_batch=16, make_fixed={"mechanism": make_fixed})


@pytest.fixture(scope="module", params=FORMS)
def made(request: pytest.FixtureRequest, toy_mechanism: ToyMechanism) -> Made:
    return toy_mechanism(request.param)


@pytest.fixture(scope="module")
def loaded(made: Made) -> Iterator[LoadedBundle]:
    found = LOADER.load(made.written.folder)
    yield found
    found.close()


def inputs(dtype: str = "float32", count: int = 9) -> Arrays:
    """New points; pictures of whole numbers, so that they are the same in every dtype."""
    arrays = toy_arrays(count, seed=11)
    return {"patch": np.round(3 * arrays["patch"]).clip(0).astype(dtype), "position": arrays["position"], "phase": arrays["phase"]}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_loaded_bundle_predicts_what_the_reference_says_of_its_own_latents(made: Made, loaded: LoadedBundle, dtype: str) -> None:
    given = inputs(dtype)
    told = loaded.runtimes[f"predict.{dtype}"].run(given)
    latents = loaded.runtimes[f"encode.{dtype}"].run(given)["latents"]
    np.testing.assert_array_equal(told["latents"], latents)
    wanted, sd = made.fitted.posterior.predict(latents), made.facts.quantity.sd
    for tensor, reference in (
        ("part_mean", wanted.mean),
        ("part_covariance", wanted.covariance),
        ("factor", wanted.factor),
        ("factor_variance", wanted.factor_variance),
        ("total_mean", wanted.total_mean),
        ("total_variance", wanted.total_variance),
    ):
        assert np.abs(told[tensor] - reference).max() <= 1e-9 * max(sd, sd**2), tensor
    np.testing.assert_allclose(told["total_mean"], np.sum(told["factor"] * told["part_mean"], axis=1), atol=1e-12)


def test_pictures_of_whole_numbers_are_the_same_in_every_dtype(loaded: LoadedBundle) -> None:
    """Principal components take integers by their value."""
    found = [loaded.runtimes[f"predict.{dtype}"].run(inputs(dtype))["total_mean"] for dtype in ("uint8", "uint16", "float32")]
    np.testing.assert_allclose(found[0], found[2], atol=1e-12)
    np.testing.assert_allclose(found[1], found[2], atol=1e-12)


def test_a_row_is_told_the_same_alone_and_in_a_batch(loaded: LoadedBundle) -> None:
    predict, given = loaded.runtimes["predict.float32"], inputs()
    whole = predict.run(given)
    for row in (0, 4, 8):
        alone = predict.run({name: values[row : row + 1] for name, values in given.items()})
        for tensor, values in alone.items():
            np.testing.assert_allclose(values[0], whole[tensor][row], atol=1e-10)


def test_rows_and_features_are_prior_covariances(made: Made, loaded: LoadedBundle) -> None:
    posterior = made.fitted.posterior
    latents = loaded.runtimes["encode.float32"].run(inputs())["latents"]
    for points in (posterior.latents, posterior.latents[:2]):
        told = loaded.runtimes["rows"].run({"latents": latents}, fixed={"points": points})
        features = loaded.runtimes["features"].run({"latents": latents})["features"]
        for index, values in enumerate(posterior.structure.terms):
            scale = posterior.factor_scales[index]
            wanted = posterior.structure.covariance(values, latents, points, bare=True) * scale
            np.testing.assert_allclose(told["rows"][:, index], wanted, atol=1e-12)
            norms = np.square(features[:, index]).sum(axis=1)
            np.testing.assert_allclose(norms, values.variance * scale**2, rtol=8 / np.sqrt(FEATURES))


def test_the_posterior_made_at_load_is_the_exporters(made: Made, loaded: LoadedBundle) -> None:
    posterior = made.fitted.posterior
    np.testing.assert_array_equal(loaded.fixed["points"], posterior.latents)
    np.testing.assert_allclose(loaded.fixed["alpha"], posterior.alpha, rtol=1e-6)
    np.testing.assert_allclose(loaded.fixed["gauge_mean"], posterior.gauge.mean, atol=1e-8)


def test_the_manifest_tells_parts_noise_and_calibration(made: Made) -> None:
    manifest = made.written.manifest
    section = manifest.mechanism
    assert section is not None
    additive = made.facts.form == "additive"
    assert [part.name for part in section.parts] == (["constant", "patch", "position", "phase"] if additive else ["constant", "position", "phase"])
    assert section.parts[1].factors == (() if additive else ("patch",))
    assert [part.centred for part in section.parts[1:]] == ([True, True, True] if additive else [False, True])
    assert section.noise.variance == NOISE_VARIANCE
    assert section.noise.outlier_share == (0.1 if additive else 0.0)
    assert manifest.calibration.interval_coverage is not None
    assert section.truncation is None


def test_the_card_tells_how_the_model_is_used_and_how_far_it_can_be_trusted(made: Made) -> None:
    card = read_bundle(made.written.folder).model_card
    words = ["coercive voltage (V)", "Mechanism `position`, coordinates in um", "Trained range: x 0.", "Categories, from 0: fresh, aged, broken"]
    words += ["Parts: constant", "90%: 90.0%", "standard deviation 0.1 V", "Matérn-5/2", "E[b²] = 1", "| rmse |"]
    words += ["a share of 10.0% is outliers, of 1 V", "a sum of one function"] if made.facts.form == "additive" else ["multiplied by a factor"]
    assert [word for word in words if word not in card] == [], card


def test_what_a_report_draws_is_in_the_bundle_and_replays(made: Made, loaded: LoadedBundle) -> None:
    arrays = unpack(read_bundle(made.written.folder).files["held_out.safetensors"], path="held_out.safetensors")
    assert {"y", "rank", "latents", "part_mean", "part_variance", "factor", "input_position", "input_phase"} <= set(arrays)
    assert "input_patch" not in arrays
    told = made.fitted.posterior.predict(arrays["latents"])
    np.testing.assert_allclose(arrays["total_mean"], told.total_mean, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "step", "cause"),
    [
        ({"residual": 1.1}, "golden", "GOLDEN_DIFFERS"),
        ({"noise_variance": 1.01}, "golden", "GOLDEN_DIFFERS"),
        ({"noise_variance": -1.0}, "posterior", "NOISE"),
        ({"points": None}, "posterior", ""),
    ],
)
def test_a_posterior_that_is_not_the_exporters_does_not_serve(
    toy_mechanism: ToyMechanism, tmp_path: Path, change: dict[str, float | None], step: str, cause: str
) -> None:
    folder = toy_mechanism("additive").written.folder
    bundle = read_bundle(folder)
    arrays = unpack(bundle.files[POSTERIOR_NAME], path=POSTERIOR_NAME)
    for name, factor in change.items():
        if factor is None:
            del arrays[name]
        else:
            arrays[name] = arrays[name] * factor
    copy = copied(folder, tmp_path, POSTERIOR_NAME, pack(arrays))
    with pytest.raises(BundleRefusedError) as caught:
        LOADER.load(copy)
    assert caught.value.step == step
    assert caught.value.cause == cause or not cause


def copied(folder: Path, tmp_path: Path, name: str, data: bytes) -> Path:
    """A copy in which one file is another, and the manifest says so."""
    copy = tmp_path / "toy_mechanism" / "1"
    shutil.copytree(folder, copy)
    (copy / name).write_bytes(data)
    files = json.loads((copy / "bundle.json").read_text())["files"]
    for entry in files:
        if entry["path"] == name:
            entry |= {"sha256": sha256_of(data), "size_bytes": len(data)}
    rewrite_manifest(copy, files=files)
    return copy


def test_golden_answers_are_held_to_a_small_part_of_their_own_size(made: Made) -> None:
    """Each in its own unit: a variance is not compared with y, nor a factor."""
    bundle = read_bundle(made.written.folder)
    golden, section = unpack(bundle.files[GOLDEN_NAME], path=GOLDEN_NAME), bundle.manifest.mechanism
    assert section is not None
    prior = float(golden["rows/out/prior"].sum(axis=1).max())
    least = {"part_covariance": 1e-2 * prior, "total_variance": 1e-2 * prior, "rows": 1e-2 * prior, "prior": 1e-2 * prior}
    least |= {"part_mean": 0.1 * section.quantity.sd, "total_mean": 0.1 * section.quantity.sd, "features": 0.1 * section.quantity.sd}
    for key, tolerance in golden.items():
        name, _, tensor = key.partition("/atol/")
        if tensor:
            own = np.abs(golden[f"{name}/out/{tensor}"]).max()
            assert tolerance[0] <= TOLERANCE * max(own, least.get(tensor, 1.0)) * (1 + 1e-9), key


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-9, 2e3])
def test_y_may_be_measured_in_any_unit(unit: float, tmp_path: Path) -> None:
    """Metres as well as millivolts: the bundle is written, and loads."""
    fitted, standardisation = toy_fitted()
    old = fitted.posterior
    terms = tuple(replace(values, variance=values.variance * unit**2) for values in old.structure.terms)
    structure = replace(old.structure, mean=old.structure.mean * unit, terms=terms)
    posterior = Posterior(structure, old.latents, old.y * unit, old.noise_variance * unit**2, old.reference)
    facts = toy_facts(standardisation)
    facts = replace(facts, quantity=facts.quantity.model_copy(update={"sd": facts.quantity.sd * unit}))
    scaled = replace(fitted, structure=structure, posterior=posterior, noise_variance=fitted.noise_variance * unit**2)
    LOADER.load(write_mechanism_bundle(tmp_path, scaled, facts).folder).close()


def test_low_rank_is_within_its_certified_bound_of_the_exact_posterior(fitted_mechanism: FittedByCommand) -> None:
    loaded = LOADER.load(fitted_mechanism.folder)
    section = loaded.manifest.mechanism
    assert section is not None
    assert section.truncation is not None
    assert section.truncation.rank <= section.points / 2
    rng = np.random.default_rng(5)
    given = {"position": rng.random((40, 2)) * 3 - 1, "phase": rng.integers(0, 2, 40)}
    low = loaded.runtimes["predict.float32"].run(given)
    # The exact root, from what the file holds, through the graph that takes any root.
    stored = unpack(read_bundle(fitted_mechanism.folder).files[POSTERIOR_NAME], path=POSTERIOR_NAME)
    rows = loaded.runtimes["rows"].run({"latents": stored["points"]}, fixed={"points": stored["points"]})
    half = np.linalg.cholesky(np.einsum("nt,ntm->nm", rows["factor"], rows["rows"]) + np.diag(stored["noise_variance"]))
    inverse = np.linalg.inv(half)
    gauge = np.einsum("ntm,m->tn", rows["rows"], stored["reference"])
    exact = loaded.runtimes["predict.float32"].run(given, fixed={**loaded.fixed, "inverse": inverse, "gauge_half": inverse @ gauge.T})
    np.testing.assert_allclose(low["total_mean"], exact["total_mean"], atol=1e-9)
    np.testing.assert_allclose(low["part_mean"], exact["part_mean"], atol=1e-9)
    prior = rows["prior"][0]
    allowed = 2 * section.truncation.bound * prior.max()
    difference = np.abs(low["part_covariance"] - exact["part_covariance"]).max()
    assert 0 < difference <= allowed + 1e-12
    loaded.close()
