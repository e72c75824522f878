"""What the server makes of posterior.safetensors is what training made, or the bundle is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dichroic.bundle import Bundle
from dichroic.bundle.arrays import Arrays, pack
from dichroic.bundle.files import POSTERIOR_NAME
from dichroic.errors import BundleRefusedError
from services.mechanism import posterior
from services.mechanism.posterior import inverse_of_lower, posterior_inputs
from tests.services.mechanism.world import World
from training.mechanism.truncate import low_rank


@pytest.mark.parametrize("form", ["additive", "product", "mixed", "scaled", "offset_scaled"])
def test_the_exact_posterior_is_trainings(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posterior, "CHUNK_ROWS", 7)  # several chunks, the last of another length
    world = World(form=form)
    found, given = posterior_inputs(world.bundle, world.rows), world.posterior
    assert np.abs(found["inverse"] - given.inverse).max() < 1e-10
    assert np.abs(found["alpha"] - given.alpha).max() < 1e-10
    assert np.abs(found["gauge_half"] - given.gauge.half).max() < 1e-12
    assert np.abs(found["gauge_mean"] - given.gauge.mean).max() < 1e-12
    assert np.abs(found["gauge_variance"] - given.gauge.prior_variance).max() < 1e-12
    assert "root" not in found


def test_the_posterior_in_low_rank_spans_what_trainings_does() -> None:
    world = World(wide=3, count=200, rank_tolerance=1e-6)
    found, wanted = posterior_inputs(world.bundle, world.rows), low_rank(world.posterior)
    assert wanted is not None
    assert found["inverse"].shape == wanted.loading.shape
    # Eigenvectors have signs of their own: their products have not.
    assert np.abs(found["inverse"].T @ found["inverse"] - wanted.loading.T @ wanted.loading).max() < 1e-7 * np.abs(wanted.loading).max() ** 2
    assert np.abs(found["gauge_half"].T @ found["gauge_half"] - wanted.gauge_half.T @ wanted.gauge_half).max() < 1e-9
    assert np.abs(found["root"] - world.posterior.inverse).max() < 1e-9
    assert np.array_equal(found["inverse"], found["basis"].T @ found["root"])


@pytest.mark.parametrize("count", [1, 96, 97, 300])
def test_a_triangle_is_inverted_by_halves(count: int) -> None:
    rng = np.random.default_rng(0)
    lower = np.tril(rng.normal(size=(count, count)) / count) + 2 * np.eye(count)
    assert np.abs(inverse_of_lower(lower) @ lower - np.eye(count)).max() < 1e-12
    assert np.array_equal(inverse_of_lower(lower), np.tril(inverse_of_lower(lower)))


def test_what_stands_for_the_noise_of_inducing_points_completes_the_root() -> None:
    world = World(kind="inducing")
    found = posterior_inputs(world.bundle, world.rows)
    root, noise = found["inverse"], found["noise_root"]
    whole = root @ (world.kernel(found["points"], found["points"]) + noise @ noise.T) @ root.T
    assert np.abs(whole - np.eye(len(root))).max() < 1e-8


def _without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def _with(**changes: Callable[[Any], Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: change(arrays[name]) for name, change in changes.items()}


def _set(place: Any, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        changed = array.copy()
        changed[place] = value
        return changed

    return change


BROKEN: dict[str, tuple[str, str, Callable[[Arrays], Arrays]]] = {
    "missing": ("exact", "WRONG_ARRAYS", _without("reference")),
    "more": ("exact", "WRONG_ARRAYS", lambda arrays: arrays | {"extra": np.zeros(3)}),
    "of the other kind": ("inducing", "WRONG_ARRAYS", lambda arrays: _without("inverse")(arrays) | {"residual": arrays["alpha"]}),
    "float32": ("exact", "WRONG_DTYPE", _with(residual=lambda array: array.astype(np.float32))),
    "fewer": ("exact", "WRONG_SHAPE", _with(points=lambda array: array[:-1])),
    "other latents": ("exact", "WRONG_SHAPE", _with(points=lambda array: array[:, :-1])),
    "transposed root": ("inducing", "WRONG_SHAPE", _with(inverse=lambda array: array[:5].T)),
    "NaN": ("exact", "NOT_FINITE", _with(points=_set((0, 0), np.nan))),
    "infinity": ("inducing", "NOT_FINITE", _with(inverse=_set((0, 0), np.inf))),
    "no noise": ("exact", "NOISE", _with(noise_variance=_set(3, 0.0))),
    "reference": ("exact", "REFERENCE", _with(reference=lambda array: array * 1.001)),
    "negative reference": ("exact", "REFERENCE", _with(reference=lambda array: _set(1, array[0] + array[1] + 0.1)(_set(0, -0.1)(array)))),
    "twins without noise": (
        "exact",
        "NOT_POSITIVE_DEFINITE",
        _with(points=lambda array: _set(1, 0.0)(_set(0, 0.0)(array)), noise_variance=lambda array: np.full_like(array, 1e-300)),
    ),
    "too large a root": ("inducing", "NOT_POSITIVE_DEFINITE", _with(inverse=lambda array: array * 3)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_posterior_that_is_none_is_refused_with_its_cause(what: str) -> None:
    kind, cause, change = BROKEN[what]
    world = World(kind=kind)
    broken = Bundle(world.manifest, {POSTERIOR_NAME: pack(change(world.arrays))})
    with pytest.raises(BundleRefusedError) as refused:
        posterior_inputs(broken, world.rows)
    assert (refused.value.step, refused.value.cause) == ("posterior", cause)


def test_a_bundle_without_a_posterior_is_refused() -> None:
    with pytest.raises(BundleRefusedError) as refused:
        posterior_inputs(Bundle(World().manifest, {}), World().rows)
    assert refused.value.cause == "NO_POSTERIOR"


def _truncated(rank: int, bound: float) -> Bundle:
    world = World(wide=3, count=200, rank_tolerance=1e-6)
    truncation = world.section.truncation
    assert truncation is not None
    section = world.section.model_copy(update={"truncation": truncation.model_copy(update={"rank": rank or truncation.rank, "bound": bound})})
    return replace(world.bundle, manifest=world.manifest.model_copy(update={"mechanism": section}))


@pytest.mark.parametrize(("rank", "bound", "cause"), [(20, 1e-6, "TRUNCATION_BOUND"), (0, 1e-9, "TRUNCATION_BOUND"), (200, 1e-6, "WRONG_SHAPE")])
def test_a_bound_that_does_not_hold_is_refused(rank: int, bound: float, cause: str) -> None:
    world = World(wide=3, count=200, rank_tolerance=1e-6)
    with pytest.raises(BundleRefusedError) as refused:
        posterior_inputs(_truncated(rank, bound), world.rows)
    assert refused.value.cause == cause
