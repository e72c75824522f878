"""The simulator against what must hold of its free energy: descent, gradient, coercive field, resting states, order, symmetry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.ferrosim import MODES, Lattices, force, free_energy, simulate, stable_step, uniform_lattices
from training.errors import InputError

ALL = pytest.mark.parametrize("mode", MODES)


def disordered(mode: str, n: int = 5, batch: int = 3, *, depolarisation: float = 0.3, seed: int = 0) -> Lattices:
    generator = np.random.default_rng(seed)
    plain = uniform_lattices(mode, n, batch)
    return replace(
        plain,
        bond=generator.uniform(0, 2, plain.bond.shape),
        random_field=0.7 * generator.standard_normal(plain.random_field.shape),
        depolarisation=depolarisation * generator.uniform(0.5, 1, batch),
    )


def random_start(lattices: Lattices, seed: int = 1) -> Array:
    scale = np.linalg.norm(lattices.landau.spontaneous)
    start: Array = scale * np.random.default_rng(seed).standard_normal(lattices.random_field.shape)
    return start


def steps_of(lattices: Lattices, field: Array, start: Array | None = None) -> float:
    return float(0.5 * stable_step(lattices, field, start).min())


@ALL
def test_the_force_is_minus_the_gradient_of_the_free_energy(mode: str) -> None:
    lattices = disordered(mode, n=4, batch=1)
    p, field = random_start(lattices), 0.4 * np.ones((1, lattices.landau.components))
    found = force(lattices, p, field)
    expected = np.empty_like(found)
    h = 1e-5
    for place in np.ndindex(p.shape):
        there = [p.copy(), p.copy()]
        there[0][place] += h
        there[1][place] -= h
        higher, lower = (free_energy(lattices, q, field)[0] for q in there)
        expected[place] = -(higher - lower) / (2 * h)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@ALL
def test_the_free_energy_never_rises_at_constant_field(mode: str) -> None:
    lattices = disordered(mode)
    field = np.full((3, 120), 0.5 * lattices.landau.coercive_field)
    start = random_start(lattices)
    run = simulate(lattices, field, steps_of(lattices, field, start), start=start, keep=range(120))
    energy = np.array([free_energy(lattices, run.patterns[:, sample], run.field[:, sample]) for sample in range(120)])
    assert np.diff(energy, axis=0).max() <= 1e-12 * np.abs(energy).max()
    assert (energy[0] - energy[-1] > 1e-3 * np.abs(energy[0])).all()


def test_one_k_for_all_sites_couples_each_site_to_the_mean_of_its_neighbours() -> None:
    lattices = uniform_lattices("uniaxial", 6, bond=1.7)
    p = random_start(lattices)
    mean = sum(np.roll(p, shift, axis) for shift in (1, -1) for axis in (2, 3)) / 4
    own = lattices.landau
    np.testing.assert_allclose(force(lattices, p, np.zeros((1, 1))), -own.a * p - own.b * p**3 - 1.7 * (p - mean), rtol=1e-12, atol=1e-12)


def test_the_published_constants_are_there() -> None:
    uniaxial = MODES["uniaxial"]
    assert uniaxial.coercive_field == pytest.approx(0.866265, abs=5e-7)
    assert uniaxial.spontaneous == (pytest.approx(1.216553, abs=5e-7),)
    p = np.array([0.3, -0.7]).reshape(1, 2, 1, 1)
    for mode, (a1, a2, a3) in {"tetragonal": (-1.6, 12.2, 40.0), "rhombohedral": (-10.6, 10.2, -10.0)}.items():
        expected = a1 * (0.09 + 0.49) + a2 * (0.3**4 + 0.7**4) + a3 * 0.09 * 0.49
        assert MODES[mode].energy(p).item() == pytest.approx(expected, rel=1e-12)
    assert MODES["square"].energy(p).item() == pytest.approx(-1.85 / 2 * 0.58 + 1.25 / 4 * (0.3**4 + 0.7**4), rel=1e-12)


@ALL
def test_a_single_site_rests_at_its_spontaneous_polarisation(mode: str) -> None:
    lattices = uniform_lattices(mode, 1, 1)
    rest = np.array(MODES[mode].spontaneous)
    field = np.zeros((1, 600))
    run = simulate(lattices, field, steps_of(lattices, field), start=(0.6 * rest + 0.01 * np.linalg.norm(rest))[None, :, None, None])
    np.testing.assert_allclose(run.polarisation[0, -1], rest, atol=1e-9)


def test_a_single_sites_remanence_is_1_216553() -> None:
    lattices = uniform_lattices("uniaxial", 1)
    # Driven to 2 Ec, brought back to 0, and left for 20 relaxation times.
    field = np.concatenate([np.linspace(0, 2 * 0.866265, 100), np.linspace(2 * 0.866265, 0, 100), np.zeros(100)])[None]
    assert simulate(lattices, field, 0.1).polarisation[0, -1, 0] == pytest.approx(1.216553, abs=1e-6)


@ALL
def test_the_coercive_field_parts_lattices_that_hold_from_lattices_that_switch(mode: str) -> None:
    # At a relative excess of 3e-4 a site passes the bottleneck in a time of order 1/√(3e-4): no sweep, so no lag to allow for. The tetragonal mode
    # turns by way of y, which must be nudged off 0 and grows at a rate in proportion to the excess: 1e-2 there.
    own = MODES[mode]
    excess, nudge = (1e-2, 1e-3) if mode == "tetragonal" else (3e-4, 0.0)
    lattices = uniform_lattices(mode, 1, 2)
    field = np.repeat(-own.coercive_field * np.array([[1 - excess], [1 + excess]]), 3000, axis=1)
    start = np.broadcast_to(np.array(own.spontaneous)[:, None, None], (2, own.components, 1, 1)) + nudge
    run = simulate(lattices, field, 1.5 * steps_of(lattices, field, start), start=start)
    held, switched = run.polarisation[:, -1, 0]
    assert held > 0.3 * own.spontaneous[0]
    assert switched < -own.spontaneous[0]


def test_a_quasi_static_sweep_finds_the_coercive_field() -> None:
    # A sweep at rate r passes the fold late, by 2.338 (r²/c)^(1/3) + O(r) with c = 3 b p_c (Airy's delay): 9.5e-4 and 2.4e-4 at the two
    # rates here, in the ratio 4. The two crossings are extrapolated by that law, and what is left is O(r): within 2e-4 of 0.866265.
    rates = np.array([8e-5 / 6, 1e-5 / 6])
    crossings = []
    for rate in rates:
        start, end, step = 0.862, 0.868, 0.2
        samples = round((end - start) / (rate * step)) + 1
        field = -np.linspace(start, end, samples)[None]
        polarisation = simulate(uniform_lattices("uniaxial", 1), field, step).polarisation[0, :, 0]
        assert polarisation[0] > 0 > polarisation[-1]
        crossings.append(-field[0, int((polarisation < 0).argmax())])
    late, less_late = np.array(crossings) - 0.8662649
    c = 3 * 1.25 * np.sqrt(1.85 / 3.75)
    assert late == pytest.approx(2.338 * (rates[0] ** 2 / c) ** (1 / 3), rel=0.35)
    assert 0 < less_late < late
    assert (4 * less_late - late) / 3 == pytest.approx(0, abs=2e-4)


@ALL
def test_halving_the_step_divides_the_error_by_sixteen(mode: str) -> None:
    lattices = disordered(mode, n=4, batch=2)
    time = np.linspace(0, 1, 13)
    field = 1.5 * lattices.landau.coercive_field * np.sin(2 * np.pi * time)[None].repeat(2, axis=0)
    step = 0.9 * float(stable_step(lattices, field).min())
    ends = [simulate(lattices, field, step, substeps=substeps).final for substeps in (2, 4, 8, 64)]
    errors = np.array([np.abs(end - ends[-1]).max() for end in ends[:-1]])
    order = np.log2(errors[:-1] / errors[1:])
    assert errors[0] < 1e-3
    assert order[-1] == pytest.approx(4, abs=0.3)


@ALL
def test_moving_the_disorder_around_the_torus_moves_the_answer(mode: str) -> None:
    lattices = disordered(mode, n=6)
    start = random_start(lattices)

    def moved(array: Array) -> Array:
        return np.roll(array, (2, -1), axis=(-2, -1))

    elsewhere = replace(lattices, bond=moved(lattices.bond), random_field=moved(lattices.random_field))
    field = np.linspace(0, 1, 60)[None].repeat(3, axis=0)
    step = steps_of(lattices, field, start)
    here, there = (simulate(each, field, step, start=p).final for each, p in ((lattices, start), (elsewhere, moved(start))))
    # Not bit for bit: the mean, which depolarises, adds the sites in another order.
    np.testing.assert_allclose(there, moved(here), rtol=0, atol=1e-11)
    assert np.abs(there - here).max() > 0.01


@ALL
@pytest.mark.parametrize("batch", [1, 2, 61, 260])
def test_a_simulation_does_not_depend_on_its_batch(mode: str, batch: int) -> None:
    lattices = disordered(mode, n=10, batch=batch)
    field = np.random.default_rng(2).uniform(-1, 1, (batch, 5))
    step = steps_of(lattices, field)
    together = simulate(lattices, field, step, keep=[3])
    for row in {0, batch // 2, batch - 1}:
        alone = simulate(lattices.rows(slice(row, row + 1)), field[row : row + 1], step, keep=[3])
        for name in ("field", "polarisation", "patterns", "final"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[row], err_msg=name)


def test_each_simulation_has_its_own_field_and_patterns_are_those_of_their_samples() -> None:
    lattices = disordered("square", n=4)
    field = np.random.default_rng(0).uniform(-1, 1, (3, 9, 2))
    run = simulate(lattices, field, 0.05, keep=[0, 8, 4])
    assert run.patterns.shape == (3, 3, 2, 4, 4)
    np.testing.assert_array_equal(run.patterns[:, 1], run.final)
    np.testing.assert_allclose(run.patterns.mean(axis=(3, 4)), run.polarisation[:, [0, 8, 4]], atol=1e-12)
    half = simulate(lattices, field[:, :5], 0.05)
    np.testing.assert_array_equal(half.final, run.patterns[:, 2])
    np.testing.assert_array_equal(simulate(lattices, field, 0.05).polarisation, run.polarisation)


@ALL
def test_the_longest_step_allowed_does_not_blow_up_and_a_longer_one_is_refused_with_what_would_do(mode: str) -> None:
    lattices = disordered(mode)
    field = 3 * lattices.landau.coercive_field * np.tile([1.0, -1.0], 20)[None].repeat(3, axis=0)
    start = random_start(lattices)
    longest = float(stable_step(lattices, field, start).min())
    assert np.isfinite(simulate(lattices, field, longest, start=start).polarisation).all()
    with pytest.raises(InputError, match="substeps=3") as caught:
        simulate(lattices, field, 2.9 * longest, start=start)
    assert caught.value.reason == "TIME_STEP_TOO_LARGE"
    simulate(lattices, field, 2.9 * longest, start=start, substeps=3)


@pytest.mark.parametrize(
    ("reason", "wrong"),
    [
        ("INVALID_OPTION", {"step": 0.0}),
        ("INVALID_OPTION", {"step": float("nan")}),
        ("INVALID_OPTION", {"substeps": 0}),
        ("INVALID_OPTION", {"keep": [10]}),
        ("INVALID_OPTION", {"keep": [-1]}),
        ("UNSUPPORTED_SHAPE", {"field": np.zeros((2, 1))}),
        ("UNSUPPORTED_SHAPE", {"field": np.zeros((3, 10))}),
        ("UNSUPPORTED_SHAPE", {"field": np.zeros((2, 10), dtype=np.float32)}),
        ("UNSUPPORTED_SHAPE", {"field": np.zeros((2, 10, 2))}),
        ("NON_FINITE", {"field": np.full((2, 10), np.nan)}),
        ("UNSUPPORTED_SHAPE", {"start": np.zeros((2, 1, 4, 4))}),
        ("NON_FINITE", {"start": np.full((2, 1, 3, 3), np.inf)}),
    ],
)
def test_what_cannot_be_simulated_is_refused(reason: str, wrong: dict[str, object]) -> None:
    options = {"field": np.zeros((2, 10)), "step": 0.1} | wrong
    with pytest.raises(InputError) as caught:
        simulate(uniform_lattices("uniaxial", 3, 2), **options)  # type: ignore[arg-type]
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("reason", "wrong"),
    [
        ("INVALID_OPTION", {"mode": "cubic"}),
        ("INVALID_OPTION", {"bond": np.full((2, 3, 3), -0.1)}),
        ("INVALID_OPTION", {"depolarisation": np.array([0.0, -1.0])}),
        ("UNSUPPORTED_SHAPE", {"bond": np.ones((2, 3, 4))}),
        ("UNSUPPORTED_SHAPE", {"random_field": np.zeros((2, 2, 3, 3))}),
        ("UNSUPPORTED_SHAPE", {"depolarisation": np.zeros(3)}),
        ("NON_FINITE", {"random_field": np.full((2, 1, 3, 3), np.nan)}),
    ],
)
def test_lattices_that_make_no_sense_are_refused(reason: str, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        replace(uniform_lattices("uniaxial", 3, 2), **wrong)  # type: ignore[arg-type]
    assert caught.value.reason == reason
    with pytest.raises(InputError):
        uniform_lattices("uniaxial", 0)
