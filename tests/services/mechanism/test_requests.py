"""A request's digest changes with all that it asks for, and with nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.mechanism import Given
from services.mechanism.requests import digest_of

VALUES: dict[str, Any] = {"a": np.arange(6.0).reshape(3, 2), "b": np.arange(3)}
Y = np.ones(3)
FIRST = digest_of({"seed": 1, "model_name": "divide"}, Given(VALUES, {"a": "um"}), {"y": Y})


def test_what_says_the_same_has_the_same_digest() -> None:
    turned = {"b": VALUES["b"].copy(), "a": np.asfortranarray(VALUES["a"])}
    assert digest_of({"model_name": "divide", "seed": 1}, Given(turned, {"b": "", "a": "um"}), {"y": np.ones(6)[::2]}) == FIRST
    assert len(FIRST) == 64
    assert digest_of({}, Given({"a": np.zeros((0, 2))}), {})


@pytest.mark.parametrize(
    ("facts", "values", "units", "y"),
    [
        ({"seed": 2}, {}, {}, Y),
        ({"model_name": "other"}, {}, {}, Y),
        ({}, {"a": VALUES["a"] + 1e-12}, {}, Y),
        ({}, {"a": VALUES["a"].reshape(2, 3)}, {}, Y),
        ({}, {"b": VALUES["b"].astype(np.float64)}, {}, Y),
        ({}, {"c": np.arange(3)}, {}, Y),
        ({}, {}, {"a": "nm"}, Y),
        ({}, {}, {"b": "h"}, Y),
        ({}, {}, {}, np.array([1.0, 1.0, np.nextafter(1, 2)])),
    ],
)
def test_whatever_is_asked_for_changes_it(facts: dict[str, Any], values: dict[str, Any], units: dict[str, str], y: Any) -> None:
    assert digest_of({"seed": 1, "model_name": "divide"} | facts, Given(VALUES | values, {"a": "um"} | units), {"y": y}) != FIRST


def test_none_is_not_nothing() -> None:
    assert digest_of({}, None, {"y": Y}) != digest_of({}, Given({}), {"y": Y})
    assert digest_of({}, Given({"y": Y}), {}) != digest_of({}, Given({}), {"y": Y})
