"""What leaves the room is right, or is not sent."""

from __future__ import annotations

import numpy as np
import pytest

from services.latent.answers import most_probable


def test_the_most_probable_class_is_the_first_of_equal_ones() -> None:
    assert most_probable(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)).tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [[0.5, 0.4], [1.5, -0.5], [2.0, 3.0]])
def test_what_is_no_distribution_never_leaves_the_room(wrong: list[float]) -> None:
    with pytest.raises(RuntimeError, match="sum to 1"):
        most_probable(np.array([[0.5, 0.5], wrong], np.float32))
