"""The load sequence of a bundle whose graphs have fixed inputs: a room makes them, and what it makes must answer as the exporter's did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dichroic.bundle import Bundle
from dichroic.bundle.arrays import Arrays
from dichroic.errors import BundleRefusedError
from services.engine.budget import QueueBudget
from services.engine.device import ChosenDevice
from services.engine.loader import Loader, MakeFixed, Run
from services.engine.model import LoadedBundle, ServingModel
from services.engine.observe import Unobserved
from tests.toy_mechanism import Made
from tests.training.conftest import ToyMechanism
from training.mechanism.graph import posterior_arrays


@pytest.fixture(scope="module")
def made(toy_mechanism: ToyMechanism) -> Made:
    return toy_mechanism("additive")


def load(folder: Path, make: MakeFixed | None) -> LoadedBundle:
    return Loader(ChosenDevice("cpu", False, 1), max_batch=4, make_fixed={} if make is None else {"mechanism": make}).load(folder)


def honest(made: Made) -> Arrays:
    return posterior_arrays(made.fitted.posterior)


def refused(made: Made, make: MakeFixed | None) -> BundleRefusedError:
    with pytest.raises(BundleRefusedError) as caught:
        load(made.written.folder, make)
    return caught.value


def test_arrays_made_at_load_are_held_and_told(made: Made) -> None:
    def make(bundle: Bundle, run: Run) -> Arrays:
        latents = honest(made)["points"]
        found = run("rows", {"latents": latents[:3]}, {"points": latents})  # a graph of the bundle's own may help
        assert found["rows"].shape == (3, 3, 48)
        return honest(made)

    loaded = load(made.written.folder, make)
    assert set(loaded.fixed) == set(honest(made))
    serving = ServingModel.start(loaded, QueueBudget(10, 1 << 20), Unobserved())
    assert serving.fixed is loaded.fixed
    loaded.close()


def test_a_kind_without_a_maker_has_no_fixed_inputs(made: Made) -> None:
    error = refused(made, None)
    assert (error.step, error.cause) == ("signature", "FIXED_INPUTS")
    assert "'mechanism'" in error.message


def test_what_cannot_be_made_is_refused(made: Made) -> None:
    def breaks(bundle: Bundle, run: Run) -> Arrays:
        raise ZeroDivisionError("no points")

    error = refused(made, breaks)
    assert (error.step, error.cause) == ("posterior", "POSTERIOR_FAILED")
    assert "no points" in error.message


def test_what_does_not_fit_the_graph_is_refused(made: Made) -> None:
    error = refused(made, lambda bundle, run: honest(made) | {"alpha": np.zeros(47)})
    assert (error.step, error.cause) == ("posterior", "POSTERIOR_FAILED")
    assert "alpha" in error.message


def test_a_makers_own_refusal_stands(made: Made) -> None:
    def refuses(bundle: Bundle, run: Run) -> Arrays:
        raise BundleRefusedError("posterior", "NOISE", "no noise")

    error = refused(made, refuses)
    assert (error.step, error.cause) == ("posterior", "NOISE")


def test_a_posterior_that_answers_otherwise_does_not_serve(made: Made) -> None:
    error = refused(made, lambda bundle, run: honest(made) | {"alpha": honest(made)["alpha"] * 1.01})
    assert (error.step, error.cause) == ("golden", "GOLDEN_DIFFERS")
