from __future__ import annotations

import sys

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.dune.lattice import Lattice
from training.data.dune.stem import draw_stem, find_atoms
from training.errors import InputError


def sample(view: float = 20.0, seed: int = 3) -> tuple[Lattice, Array, int]:
    lattice = Lattice.drawn(view, seed)
    numbers = np.full(len(lattice), 6)
    silicon = lattice.nearest(np.full(2, view / 2))
    numbers[silicon] = 14
    return lattice, numbers, silicon


@pytest.mark.parametrize(("side", "noise", "brightness"), [(128, 0.1, 1.0), (256, 0.3, 37.0), (64, 0.1, 1e-3)])
@pytest.mark.parametrize("seed", range(3))
def test_atoms_and_their_species_are_found_where_they_were_drawn(seed: int, side: int, noise: float, brightness: float) -> None:
    lattice, numbers, silicon = sample(seed=seed)
    image = draw_stem(lattice.atoms_xy, numbers, field_of_view_angstrom=20.0, side=side, noise=noise, seed=seed)
    xy, species = find_atoms(brightness * image + 5 * brightness, 20.0 / side)
    distance = np.linalg.norm(xy[:, None] - lattice.atoms_xy, axis=-1)
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 0.25
    assert np.sqrt((distance.min(axis=1) ** 2).mean()) < 0.08
    assert len(set(nearest)) == len(nearest)
    # Every atom that is not at the image's edge, among them the silicon atom's three neighbours.
    inside = ((lattice.atoms_xy > 0.7) & (lattice.atoms_xy < 19.3)).all(axis=1)
    assert set(np.flatnonzero(inside)) <= set(nearest)
    assert nearest[species == 14].tolist() == [silicon]
    assert set(species) == {6, 14}


def test_x_is_right_and_y_is_down() -> None:
    image = draw_stem(np.array([[15.0, 4.0]]), np.array([6]), field_of_view_angstrom=20.0, side=40, noise=0.0, background=0.3)
    assert np.unravel_index(image.argmax(), image.shape) in {(7, 29), (7, 30), (8, 29), (8, 30)}
    assert image.max() > 0.9
    assert image.min() == pytest.approx(0.3)
    np.testing.assert_allclose(find_atoms(image, 0.5)[0], [[15.0, 4.0]], atol=0.05)


def test_silicon_is_four_times_as_bright_as_carbon_and_noise_repeats_by_seed() -> None:
    options = {"field_of_view_angstrom": 20.0, "side": 41, "background": 0.0}
    centre = np.array([[10.0, 10.0]])
    carbon, silicon = (draw_stem(centre, np.array([number]), noise=0.0, **options).max() for number in (6, 14))
    assert silicon / carbon == pytest.approx((14 / 6) ** 1.7, rel=1e-5)
    first, again, other = (draw_stem(centre, np.array([6]), noise=0.1, seed=seed, **options) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_an_image_without_atoms_says_so() -> None:
    for image in (np.full((32, 32), 3.0), np.zeros((32, 32))):
        with pytest.raises(InputError) as caught:
            find_atoms(image, 0.2)
        assert caught.value.reason == "NO_ATOMS"


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(InputError, match=r"dichroic\[readers\]") as caught:
        find_atoms(np.zeros((32, 32)), 0.2)
    assert caught.value.reason == "MISSING_PACKAGE"


@pytest.mark.parametrize(
    ("image", "pixel", "reason"),
    [
        (np.zeros((32, 32, 3)), 0.2, "UNSUPPORTED_SHAPE"),
        (np.zeros((8, 32)), 0.2, "UNSUPPORTED_SHAPE"),
        (np.full((32, 32), np.nan), 0.2, "NON_FINITE"),
        (np.zeros((32, 32)), 0.0, "INVALID_OPTION"),
        (np.zeros((32, 32)), 1.0, "INVALID_OPTION"),
        (np.zeros((32, 32)), float("nan"), "INVALID_OPTION"),
    ],
)
def test_images_that_cannot_be_read_are_refused(image: Array, pixel: float, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        find_atoms(image, pixel)
    assert caught.value.reason == reason


def test_drawings_out_of_range_are_refused() -> None:
    xy, numbers = np.zeros((2, 2)), np.array([6, 6])
    for options, reason in (
        ({"side": 8}, "INVALID_OPTION"),
        ({"noise": -1.0}, "INVALID_OPTION"),
        ({"field_of_view_angstrom": 0.0}, "INVALID_OPTION"),
    ):
        with pytest.raises(InputError) as caught:
            draw_stem(xy, numbers, **{"field_of_view_angstrom": 20.0} | options)  # type: ignore[arg-type]
        assert caught.value.reason == reason
    with pytest.raises(InputError) as caught:
        draw_stem(xy, numbers[:1], field_of_view_angstrom=20.0)
    assert caught.value.reason == "UNSUPPORTED_SHAPE"
