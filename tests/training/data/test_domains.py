import numpy as np
import pytest

from training.data.domains import draw_domains
from training.errors import InputError


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_scan_has_the_magnitudes_of_an_amplitude_image(seed):
    data = draw_domains(seed=seed)
    image = data.arrays["images"]
    assert image.shape == (1, 256, 256)
    assert image.dtype == np.float32
    assert (data.unit, data.quantity) == ("m", "Amplitude")
    assert image.min() >= 0
    assert np.median(image) == pytest.approx(1.4e-10, rel=0.05)
    assert 3e-10 < np.quantile(image, 0.95) < 6e-10
    assert data.arrays["pixel_size_nm"] == pytest.approx(7.84, rel=0.01)


def test_stripes_of_several_directions_have_the_asked_period():
    image = draw_domains(seed=0, period_px=(12, 14), damaged_spots=0).arrays["images"][0].astype(float)
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij"))
    stripes = (frequency > 1 / 16) & (frequency < 1 / 10)
    beside = (frequency > 1 / 9) & (frequency < 1 / 7)
    assert power[stripes].mean() > 5 * power[beside].mean()
    rows, columns = np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256), indexing="ij")
    rising = power[stripes & (rows * columns > 0)].sum()
    falling = power[stripes & (rows * columns < 0)].sum()
    assert 0.1 < rising / (rising + falling) < 0.9


def test_the_damaged_spot_is_marked_and_foreign():
    data = draw_domains(seed=1)
    damage = data.arrays["truth_damage"]
    assert damage.shape == (1, 256, 256)
    assert damage.dtype == bool
    assert 0.015 < damage.mean() < 0.08
    # Grains of a few pixels: far more change from one pixel to the next than stripes of ten and more have.
    image = np.log(data.arrays["images"][0] + 1e-11)
    change = np.abs(np.diff(image, axis=0))[:, :-1] + np.abs(np.diff(image, axis=1))[:-1]
    inside = damage[0, :-1, :-1]
    assert change[inside].mean() > 1.4 * change[~inside].mean()
    assert not draw_domains(seed=1, damaged_spots=0).arrays["truth_damage"].any()


def test_the_same_seed_draws_the_same_scan():
    assert draw_domains(96, 4).sha256 == draw_domains(96, 4).sha256 != draw_domains(96, 5).sha256


@pytest.mark.parametrize("wrong", [{"side": 32}, {"period_px": (3, 9)}, {"period_px": (12, 9)}, {"damaged_spots": 5}])
def test_an_option_out_of_range_is_refused(wrong):
    with pytest.raises(InputError) as caught:
        draw_domains(**wrong)
    assert caught.value.reason == "INVALID_OPTION"
