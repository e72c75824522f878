import numpy as np
import pytest

from services.transition.actions import perfect_neighbours
from services.transition.chain import Chain
from services.transition.table import tabulate
from tests.services.transition.conftest import CONTEXT
from tests.services.transition.graphene import long_tailed, occupancy_by, peaked


def states(count=40, seed=0):
    stream = np.random.default_rng(seed)
    beam = stream.uniform(-2.5, 2.5, (count, 2))
    beam[count // 2 :] = beam[: count - count // 2]
    angle = stream.random((count, 1)) * 6.3 + 2 * np.pi / 3 * np.arange(3)
    neighbours = 1.42 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return beam, neighbours, stream.uniform(0, 9, count), np.broadcast_to(CONTEXT, (count, 2))


@pytest.mark.parametrize("shells", [1, 2, 4])
@pytest.mark.parametrize("rates", [peaked, long_tailed])
def test_it_is_the_exponential_of_the_generator(rates, shells):
    beam, neighbours, dwell_s, context = states()
    told = Chain(lambda b, n, c: rates(b, n), shells)(beam, neighbours, dwell_s, context)
    np.testing.assert_allclose(told[:, 0], occupancy_by(rates, shells)(beam, neighbours, dwell_s, context), atol=1e-8)
    np.testing.assert_allclose(told.sum(axis=-1), 1, atol=1e-11)


def test_members_and_contexts_are_kept_apart():
    def rates(beam, neighbours, context):
        return np.stack([factor * context[:, :1] * peaked(beam, neighbours) for factor in (1.0, 3.0)], axis=1)

    beam, neighbours, dwell_s, _ = states()
    context = np.stack([np.linspace(0.5, 2, len(beam)), np.full(len(beam), 60.0)], axis=1)
    told = Chain(rates, 2)(beam, neighbours, dwell_s, context)
    for member, factor in enumerate((1.0, 3.0)):
        wanted = occupancy_by(peaked)(beam, neighbours, factor * context[:, 0] * dwell_s, context)
        np.testing.assert_allclose(told[:, member], wanted, atol=1e-8)


def test_the_model_is_asked_once_for_each_beam():
    asked = []

    def rates(beam, neighbours, context):
        asked.append(len(beam))
        return peaked(beam, neighbours)

    beam = np.repeat([[1.2, 0.0], [1.0, 0.3]], 5, axis=0)
    neighbours = np.broadcast_to(perfect_neighbours(1.42), (10, 3, 2))
    told = Chain(rates, 2)(beam, neighbours, np.arange(10.0), np.broadcast_to(CONTEXT, (10, 2)))
    assert asked == [2 * 10]
    np.testing.assert_allclose(told[0, 0], np.eye(11)[0], atol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 500.0])
def test_no_rates_and_great_ones_are_told(scale):
    beam, neighbours, dwell_s, context = states(6)
    told = Chain(lambda b, n, c: scale * long_tailed(b, n), 2)(beam, neighbours, dwell_s, context)
    np.testing.assert_allclose(told.sum(axis=-1), 1, atol=1e-10)
    assert (told >= 0).all()
    if scale < 1:
        np.testing.assert_allclose(told[:, :, 0], 1, atol=1e-9)


def test_a_table_of_more_shells_expects_less_of_what_lies_beyond():
    chain = {shells: tabulate(Chain(lambda b, n, c: 6 * long_tailed(b, n), shells), CONTEXT, shells=shells) for shells in (1, 3)}
    assert chain[3].open_lattice.hop_s < 0.98 * chain[1].open_lattice.hop_s
