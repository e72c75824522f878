"""The pose of drawn cards is pinned by image moments and by where the heart's tip points: nothing of the generator's own transform is used."""

import numpy as np
import pytest

from training.data.cards import STREAMS, SUITS, SYMMETRY_ORDER, draw_cards, draw_poses
from training.errors import InputError

HEART = SUITS.index("heart")


def draw(label, *, angle=0.0, shear=0.0, scale=1.0, down=0.0, right=0.0, side=96):
    pose = {"angle_rad": angle, "shear_rad": shear, "scale": scale, "shift_down_px": down, "shift_right_px": right}
    return draw_poses(np.array([label]), **{name: np.array([value]) for name, value in pose.items()}, side=side)[0].astype(float)


def moments(image):
    """Area, centre (right, up from the image's centre) and covariance, in pixels."""
    rows, columns = np.indices(image.shape)
    x, y = columns - (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2 - rows
    area = image.sum()
    centre = np.array([(image * x).sum(), (image * y).sum()]) / area
    dx, dy = x - centre[0], y - centre[1]
    return area, centre, np.array([[(image * dx * dx).sum(), (image * dx * dy).sum()], [(image * dx * dy).sum(), (image * dy * dy).sum()]]) / area


def tip_direction_deg(image):
    """Direction of the heart's farthest point from its centroid, degrees counter-clockwise from the right."""
    rows, columns = np.nonzero(image > 0.5)
    x, y = columns - (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2 - rows
    _, centre, _ = moments(image)
    far = np.argmax((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    return np.degrees(np.arctan2(y[far] - centre[1], x[far] - centre[0]))


@pytest.mark.parametrize("angle_deg", [-150, -90, -30, 0, 45, 90, 170])
def test_a_positive_angle_turns_the_object_counter_clockwise_with_row_0_at_the_top(angle_deg):
    # A heart stands on its tip: it points down, at -90 degrees, and turns with the heart.
    found = tip_direction_deg(draw(HEART, angle=np.radians(angle_deg), side=192))
    assert (found - (angle_deg - 90) + 180) % 360 - 180 == pytest.approx(0, abs=2)


@pytest.mark.parametrize("label", range(4))
@pytest.mark.parametrize(("down", "right"), [(0.0, 0.0), (4.8, 0.0), (0.0, -3.3), (-2.5, 4.1)])
def test_shifts_move_the_centroid_down_and_right_whatever_the_other_pose(label, down, right):
    image = draw(label, angle=0.7, shear=0.2, scale=1.2, down=down, right=right)
    assert moments(image)[1] == pytest.approx([right, -down], abs=0.06)


@pytest.mark.parametrize("label", range(4))
def test_scale_multiplies_the_object(label):
    area = moments(draw(label))[0]
    assert moments(draw(label, scale=1.3))[0] / area == pytest.approx(1.69, rel=0.01)
    assert moments(draw(label, scale=0.7))[0] / area == pytest.approx(0.49, rel=0.02)


def test_the_order_is_shear_scale_rotate():
    _, _, plain = moments(draw(HEART, side=192))
    _, _, posed = moments(draw(HEART, angle=0.6, shear=0.35, scale=1.1, side=192))
    shear = np.array([[1.0, np.tan(0.35)], [0.0, 1.0]])
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    expected = 1.1**2 * turn @ shear @ plain @ shear.T @ turn.T
    assert posed == pytest.approx(expected, rel=0.01, abs=2)


def test_a_positive_shear_leans_the_top_to_the_right():
    diamond = SUITS.index("diamond")
    image = draw(diamond, shear=0.3, side=192)
    top_row = np.nonzero(image.max(axis=1) > 0.5)[0][0]
    assert np.nonzero(image[top_row] > 0.5)[0].mean() > 192 / 2 + 5


@pytest.mark.parametrize("label", range(4))
def test_the_symmetry_order_is_true_and_no_higher(label):
    plain = draw(label)
    order = SYMMETRY_ORDER[SUITS[label]]
    turned = draw(label, angle=2 * np.pi / order)
    assert np.abs(turned - plain).mean() < 0.002
    further = draw(label, angle=2 * np.pi / (2 * order))
    assert np.abs(further - plain).mean() > 0.02


def test_the_four_suits_differ():
    images = [draw(label) for label in range(4)]
    assert all(np.abs(images[i] - images[j]).mean() > 0.02 for i in range(4) for j in range(i))


def test_the_truth_is_the_pose_that_was_drawn():
    data = draw_cards(6, angle_deg=180, shear_deg=0, shift=0.1, scale=(0.8, 1.2), side=96, seed=3)
    arrays = data.arrays
    for row in range(24):
        _, centre, _ = moments(arrays["images"][row].astype(float))
        assert centre == pytest.approx([arrays["truth_shift_right_px"][row], -arrays["truth_shift_down_px"][row]], abs=0.08)
        if arrays["labels"][row] == HEART:
            off = tip_direction_deg(arrays["images"][row]) - np.degrees(arrays["truth_angle_rad"][row]) + 90
            assert (off + 180) % 360 - 180 == pytest.approx(0, abs=5)


def test_poses_fill_their_ranges_and_no_more():
    arrays = draw_cards(500, angle_deg=120, shear_deg=20, shift=0.1, scale=(0.9, 1.1), side=8, seed=0).arrays
    limits = {
        "truth_angle_rad": np.radians([-120, 120]),
        "truth_shear_rad": np.radians([-20, 20]),
        "truth_shift_down_px": [-0.8, 0.8],
        "truth_shift_right_px": [-0.8, 0.8],
        "truth_scale": [0.9, 1.1],
    }
    for name, (low, high) in limits.items():
        values = arrays[name]
        assert values.dtype == np.float64
        assert low <= values.min() < low + 0.02 * (high - low), name
        assert high >= values.max() > high - 0.02 * (high - low), name


def test_images_are_float32_in_0_to_1_and_suits_balanced_in_every_prefix():
    data = draw_cards(5, angle_deg=12, shear_deg=1, shift=0, seed=0)
    images, labels = data.arrays["images"], data.arrays["labels"]
    assert images.shape == (20, 48, 48)
    assert images.dtype == np.float32
    assert images.min() == 0
    assert images.max() == 1
    assert 0 < np.mean((images > 0) & (images < 1)) < 0.2  # edges are soft
    assert labels.tolist() == [0, 1, 2, 3] * 5


def test_no_card_of_the_hardest_benchmark_touches_the_border():
    images = draw_cards(100, angle_deg=180, shear_deg=20, shift=0.1, seed=1).arrays["images"]
    assert images[:, [0, -1]].max() == 0
    assert images[:, :, [0, -1]].max() == 0


def test_the_same_seed_draws_the_same_cards_and_a_longer_set_begins_with_the_shorter():
    options = {"angle_deg": 120, "shear_deg": 20, "shift": 0.1, "seed": 5}
    first, again, longer = draw_cards(3, **options), draw_cards(3, **options), draw_cards(7, **options)
    assert first.sha256 == again.sha256
    assert first.sha256 != longer.sha256
    assert (longer.arrays["images"][:12] == first.arrays["images"]).all()


def test_streams_and_seeds_are_independent():
    angles = [
        draw_cards(250, angle_deg=180, shear_deg=0, shift=0, side=8, seed=seed, stream=stream).arrays["truth_angle_rad"]
        for seed in (0, 1)
        for stream in STREAMS
    ]
    correlation = np.corrcoef(angles) - np.eye(len(angles))
    assert np.abs(correlation).max() < 0.15


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("angle_deg", 181),
        ("shear_deg", 60),
        ("shift", 0.6),
        ("scale", (0, 1)),
        ("scale", (1.2, 1)),
        ("side", 4),
        ("noise", -0.1),
        ("stream", "dev"),
        ("n_per_suit", 0),
        ("angle_deg", float("nan")),
    ],
)
def test_an_option_out_of_range_is_named(option, value):
    options = {"n_per_suit": 1, "angle_deg": 1, "shear_deg": 1, "shift": 0, "seed": 0} | {option: value}
    with pytest.raises(InputError, match=option) as caught:
        draw_cards(**options)
    assert caught.value.reason == "INVALID_OPTION"


def test_noise_is_added_to_the_same_cards_and_has_the_spread_asked_for():
    options = {"n_per_suit": 20, "angle_deg": 180.0, "shear_deg": 5.0, "shift": 0.0, "side": 24, "seed": 3}
    plain, noisy, longer = draw_cards(**options), draw_cards(**options, noise=0.1), draw_cards(**options | {"n_per_suit": 30}, noise=0.1)
    difference = noisy.arrays["images"] - plain.arrays["images"]
    assert noisy.arrays["images"].dtype == np.float32
    assert difference.std() == pytest.approx(0.1, rel=0.02)
    assert abs(difference.mean()) < 0.002
    assert np.array_equal(noisy.arrays["truth_angle_rad"], plain.arrays["truth_angle_rad"])
    assert np.array_equal(longer.arrays["images"][:80], noisy.arrays["images"])
    assert "noise=0.1" in noisy.source
    assert "noise" not in plain.source  # the bundles made of such cards say what they always said
