from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from examples import demo
from examples.demo import check_range
from training.errors import InputError


def test_every_option_that_the_text_names_is_there_and_needs_no_value() -> None:
    named = re.findall(r"\[--(\w+) ", str(demo.__doc__))
    assert "model" in named
    assert set(named) <= vars(demo.command_line().parse_args([])).keys()


def info(integer_images: str = "full_scale") -> Any:
    preprocessing = {"input_low": [0.0], "input_high": [5e-10], "unit": "m", "integer_images": integer_images}
    return cast("Any", SimpleNamespace(manifest={"name": "domains", "preprocessing": preprocessing}))


def scan(low: float, high: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).uniform(low, high, (64, 64)).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 1e-13), (-1, 0), (3e-10, 3.01e-10)])
def test_values_of_another_unit_are_refused_with_both_ranges(low: float, high: float) -> None:
    with pytest.raises(InputError, match="the model domains takes 0 to 5e-10 m") as refused:
        check_range(scan(low, high), info())
    assert refused.value.reason == "OUT_OF_RANGE"


@pytest.mark.parametrize(("low", "high"), [(0, 5e-10), (1e-10, 2e-10), (0, 2e-9)])
def test_values_near_the_models_range_pass(low: float, high: float) -> None:
    check_range(scan(low, high), info())


def test_integers_that_span_the_range_by_definition_pass() -> None:
    check_range(np.full((64, 64), 7, dtype=np.uint8), info())
    with pytest.raises(InputError):
        check_range(np.full((64, 64), 7, dtype=np.uint8), info("value"))
