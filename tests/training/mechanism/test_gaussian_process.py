from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.mechanism.structures import FORMS, MECHANISMS, factor_values, measure, points
from training.mechanism.gaussian_process import StructuredGP

EVERY_FORM = pytest.mark.parametrize("form", sorted(FORMS))


def model(form: str) -> StructuredGP:
    """With a different number for every parameter."""
    terms = FORMS[form]
    centres = {name: factor_values().centres for term in terms for name in term.factors}
    made = StructuredGP(MECHANISMS, terms, centres, {mechanism.name: measure(mechanism) for mechanism in MECHANISMS}, outliers=True)
    rng = np.random.default_rng(2)
    for parameter in made.parameters():
        parameter.data += torch.from_numpy(np.asarray(0.3 * rng.normal(size=tuple(parameter.shape))))
    return made


@EVERY_FORM
def test_gpytorchs_covariance_is_the_structures(form: str) -> None:
    made, z = model(form), points(12)
    found = made.structure({name: np.zeros((3, 3)) for name in made.factors})
    wanted = sum(found.covariance(values, z, z) for values in found.terms)
    # GPyTorch's Matérn takes distances no smaller than 1e-15 under the root, 3e-8 of a lengthscale.
    assert np.abs(made.cross(torch.from_numpy(z), torch.from_numpy(z)).detach().numpy() - wanted).max() < 1e-7
    for kernel, values in zip(made.kernels, found.terms, strict=True):
        told = kernel(torch.from_numpy(z), diag=True).detach().numpy()
        assert np.abs(told - np.diag(found.covariance(values, z, z))).max() < 1e-7


@EVERY_FORM
def test_gradients_of_the_loss_are_its_finite_differences(form: str) -> None:
    made, rng = model(form), np.random.default_rng(5)
    given = [torch.from_numpy(array) for array in (points(15), rng.normal(size=15), rng.random(15))]
    made(*given).backward()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None, name
            flat, slope = parameter.data.view(-1), parameter.grad.view(-1)
            for index in range(len(flat)):
                at, losses = float(flat[index]), []
                for step in (1e-5, -1e-5):
                    flat[index] = at + step
                    losses.append(float(made(*given)))
                flat[index] = at
                assert float(slope[index]) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5, abs=1e-8), name
