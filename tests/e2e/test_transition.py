"""A transition bundle served by a real process and asked through the client: right numbers, a way to the goal, and an end that waits for nobody."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dichroic import Client
from dichroic.errors import DichroicError
from tests.e2e.conftest import Service, serve
from tests.services.transition.graphene import nearest
from tests.toy_transition import ToyTransition, image, states, write_toy_transition

ATOMS, NUMBERS = image()
GOAL = ATOMS[nearest(ATOMS, np.array([3.0, 2.0]))]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transition")
    write_toy_transition(folder)
    return folder


@pytest.fixture(scope="module")
def service(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(bundles, tmp_path_factory.mktemp("service") / "log") as running:
        yield running


def test_rates_are_the_models_and_a_plan_leads_to_the_goal(service: Service) -> None:
    told = states(2000)
    with Client(service.address) as client:
        found = client.predict_transitions("dune", **told)
        np.testing.assert_allclose(found.occupancy, ToyTransition().predict(told)["occupancy_mean"], atol=1e-10)
        numbers, hops = NUMBERS.copy(), 0
        while not (step := client.plan("dune", ATOMS, numbers, GOAL)).done:
            # The microscope shows it where the plan thinks it most likely.
            numbers[step.path_index[:2]] = 6, 14
            hops += 1
            assert hops < 20
    assert hops > 1
    assert "dichroic_action_tables 1.0" in service.get("/metrics")[1]
    assert 'method="Plan",model="dune"' in service.get("/metrics")[1]


def test_a_signal_while_a_plan_is_prepared_ends_the_service_in_time(bundles: Path, tmp_path: Path) -> None:
    outcomes: list[object] = []

    def ask(address: str) -> None:
        with Client(address, retry_for_s=0) as client:
            client.predict_transitions("dune", **states(1))
            asked.set()
            try:
                outcomes.append(client.plan("dune", ATOMS, NUMBERS, GOAL))
            except DichroicError as error:
                outcomes.append(error)

    asked = threading.Event()
    with serve(bundles, tmp_path / "log", drain_s="10") as service:
        asking = threading.Thread(target=ask, args=(service.address,))
        asking.start()
        assert asked.wait(30)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        asking.join(30)
    assert len(outcomes) == 1
