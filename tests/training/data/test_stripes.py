from __future__ import annotations

import numpy as np
import pytest

from training.data.resample import resample
from training.data.stripes import draw_noise, draw_stripes
from training.errors import InputError


def test_stripes_have_their_period_direction_and_phase() -> None:
    data = draw_stripes(6, side=64, period_px=10, noise=0.0, seed=2)
    middle = np.arange(64) + 0.5 - 32
    for image, angle, phase in zip(*(data.arrays[name] for name in ("images", "truth_angle_rad", "truth_phase_rad")), strict=True):
        # Along the stripes, (cos, sin) in right and up, nothing changes.
        right, up = np.meshgrid(middle, -middle)
        across = up * np.cos(angle) - right * np.sin(angle)
        np.testing.assert_allclose(image, np.cos(2 * np.pi * across / 10 + phase), atol=1e-5)
    assert np.ptp(data.arrays["truth_angle_rad"]) > 1
    assert data.arrays["images"].dtype == np.float32


def test_stripes_along_the_rows_share_their_variance_as_known() -> None:
    images = draw_stripes(40, side=96, period_px=12, angle_deg=0, noise=0.0, seed=0).arrays["images"]
    for window in (3.0, 6.0, 9.0):
        cut = np.concatenate(
            [resample(image[..., None], np.random.default_rng(0).uniform(10, 86, (50, 2)), np.full(50, window), 12) for image in images]
        )
        flat = cut.reshape(len(cut), -1)
        values = np.linalg.eigvalsh(np.cov(flat.T))[::-1]
        # About the mean over all phases, which is 0; the shorter the window, the more of it is mere brightness.
        assert values[1] / values[:2].sum() == pytest.approx((1 - abs(np.sinc(2 * window / 12))) / 2, abs=0.03)
        assert values[2] < 0.01 * values[0]


def test_noise_is_white_with_its_sd() -> None:
    image = draw_noise(1, side=256, sd=2.5, seed=1).arrays["images"][0].astype(float)
    assert image.std() == pytest.approx(2.5, rel=0.02)
    assert abs(np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("draw", [draw_stripes, draw_noise])
def test_the_seed_repeats_and_the_source_says_what_was_drawn(draw: object) -> None:
    assert callable(draw)
    first, again, other = (draw(3, side=32, pixel_size_nm=5.0, seed=seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256
    assert first.arrays["pixel_size_nm"] == 5
    assert first.source.startswith(f"{draw.__name__}(count=3, side=32, ")
    assert first.source.endswith("pixel_size_nm=5, seed=1)")


@pytest.mark.parametrize("options", [{"count": 0}, {"side": 8}, {"period_px": 3}, {"angle_deg": 100.0}, {"noise": -1}, {"pixel_size_nm": 0.0}])
def test_stripes_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Stripes cannot be drawn") as caught:
        draw_stripes(**options)
    assert caught.value.reason == "INVALID_OPTION"


@pytest.mark.parametrize("options", [{"count": 0}, {"side": 8}, {"sd": 0.0}, {"pixel_size_nm": -1.0}])
def test_noise_that_cannot_be_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Noise cannot be drawn"):
        draw_noise(**options)
