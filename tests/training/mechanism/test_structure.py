from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from tests.training.mechanism.structures import FORMS, MECHANISMS, measure, points, structure
from training.mechanism.structure import Structure, TermValues, additive, correlation, mixed, offset_scaled


def plain(mechanism: str, first: np.ndarray, second: np.ndarray, values: TermValues) -> np.ndarray:
    """k̃ of a mechanism by the formula of Lu et al. as it stands, a double sum over the measure."""
    own = next(each for each in MECHANISMS if each.name == mechanism)
    found = measure(own)
    length = values.lengthscales[mechanism]
    kernel = lambda a, b: correlation(own.family, a, b, length)  # noqa: E731
    of_first, of_second = (
        sum(w * kernel(own.of(z), s[None])[:, 0] for w, s in zip(found.weights, found.points, strict=True)) for z in (first, second)
    )
    both = sum(
        w * v * kernel(s[None], t[None])[0, 0]
        for w, s in zip(found.weights, found.points, strict=True)
        for v, t in zip(found.weights, found.points, strict=True)
    )
    return kernel(own.of(first), own.of(second)) - np.outer(of_first, of_second) / both


def test_an_orthogonal_kernel_is_that_of_lu_et_al() -> None:
    found, first, second = structure("offset_scaled"), points(6), points(4, seed=1)
    values = found.terms[1]
    wanted = values.variance * plain("position", first, second, values)
    wanted *= np.outer(found.factor(values.term, first), found.factor(values.term, second))
    assert np.abs(found.covariance(values, first, second) - wanted).max() < 1e-12
    assert np.abs(wanted).max() > 0.1


def test_an_interaction_is_the_mean_of_all_products_of_two_or_more_orthogonal_kernels() -> None:
    found, first, second = structure("mixed"), points(6), points(4, seed=1)
    values = found.terms[-1]
    kernels = {mechanism.name: plain(mechanism.name, first, second, values) for mechanism in MECHANISMS}
    sets = [each for size in (2, 3) for each in combinations(kernels, size)]
    wanted = values.variance * np.mean([np.prod([kernels[name] for name in each], axis=0) for each in sets], axis=0)
    assert values.term.products == tuple(sets)
    assert np.abs(found.covariance(values, first, second) - wanted).max() < 1e-12


@pytest.mark.parametrize("held", [mechanism.name for mechanism in MECHANISMS])
def test_an_interaction_holds_no_function_of_one_mechanism(held: str) -> None:
    """Its mean over the measures of all others is zero wherever the one is."""
    found, where = structure("mixed"), points(5)
    first, second = (found.mechanism(name) for name in found.measures if name != held)
    over, other = found.measures[first.name], found.measures[second.name]
    for point in where:
        moved = np.repeat(point[None], len(over.points) * len(other.points), axis=0)
        moved[:, first.columns] = np.repeat(over.points, len(other.points), axis=0)
        moved[:, second.columns] = np.tile(other.points, (len(over.points), 1))
        covariance = np.kron(over.weights, other.weights) @ found.covariance(found.terms[-1], moved, where)
        assert np.abs(covariance).max() < 1e-13


def test_two_mechanisms_interact_by_the_product_of_their_kernels() -> None:
    terms = mixed("patch", "position")
    assert terms[-1].products == (("patch", "position"),)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_prior_variance_is_the_covariance_of_a_point_with_itself_and_no_more_than_the_terms(form: str) -> None:
    found, new = structure(form), points(30, seed=4)
    for values in found.terms:
        bare = found.prior(values, new)
        wanted = np.diag(found.covariance(values, new, new)) / found.factor(values.term, new) ** 2
        assert np.abs(bare - wanted).max() < 1e-12
        assert (bare <= values.variance).all()
        assert (bare.min() < 0.99 * values.variance) == bool(values.term.orthogonal)


def test_far_from_the_measure_an_orthogonal_kernel_is_as_it_was() -> None:
    found, far = structure("offset_scaled"), np.full((1, 5), 1e3)
    assert found.prior(found.terms[1], far) == pytest.approx(found.terms[1].variance)


def test_a_shift_between_offset_and_scaled_function_costs_prior_density() -> None:
    """(a, h) and (a − c b, h + c) are one f; with an orthogonal kernel the constant c has no variance in h: it is none of its functions."""
    found = structure("offset_scaled")
    values, over = found.terms[1], found.measures["position"]
    at = points(len(over.points))
    at[:, MECHANISMS[1].columns] = over.points
    own = found.covariance(replace(values, term=replace(values.term, factors=())), at, at)
    assert abs(over.weights @ own @ over.weights) < 1e-13
    free: Structure = replace(found, terms=tuple(replace(v, term=replace(v.term, orthogonal=(), factors=())) for v in found.terms))
    assert over.weights @ free.covariance(free.terms[1], at, at) @ over.weights > 0.1


def test_which_parts_give_their_mean_to_the_constant() -> None:
    assert [term.centred for term in offset_scaled("patch", "position", "age")] == [True, False, True]
    assert [term.centred for term in mixed("patch", "position")] == [True, True, False]
    assert [term.name for term in offset_scaled("patch", "position", "age")] == ["patch", "position", "age"]
    assert all(term.products == (term.mechanisms,) for term in additive("patch", "age"))
