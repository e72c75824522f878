from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from training.latent.model import InvariantVAE, ObjectPose
from training.latent.specification import INVARIANCES, Invariance, ModelSpecification

SUBSETS = [subset for size in range(4) for subset in itertools.combinations(INVARIANCES, size)]


def small(invariances: tuple[Invariance, ...] = (), **changes: object) -> InvariantVAE:
    torch.manual_seed(0)
    facts: dict[str, object] = {"content_size": 2, "encoder_widths": (16,), "decoder_widths": (12, 12), **changes}
    return InvariantVAE(ModelSpecification(10, 14, invariances=invariances, **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize("invariances", SUBSETS, ids="+".join)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_subset_of_invariances_encodes_and_draws(invariances: tuple[Invariance, ...], channels: int) -> None:
    model = small(invariances, channels=channels)
    mean, sd = model.encode(torch.rand(5, 10, 14, channels))
    assert mean.shape == sd.shape == (5, model.specification.latent_size)
    assert (sd > 0).all()
    assert model.images(model.split(mean)).shape == (5, 10, 14, channels)


def test_latents_come_in_the_papers_order() -> None:
    specification = small(("rotation", "translation", "scale")).specification
    assert specification.latent_names == ("rotation", "shift_1", "shift_2", "scale", "content_1", "content_2")


def test_raw_latents_mean_what_the_priors_say() -> None:
    model = small(("rotation", "translation", "scale"), rotation_prior_sd_rad=2.0, shift_prior_sd=0.2, scale_prior_log_sd=0.5)
    sampling = model.split(torch.tensor([[0.3, 1.0, -2.0, -1.0, 5.0, 6.0]]))
    assert float(sampling.angle) == pytest.approx(0.6)
    np.testing.assert_allclose(sampling.shift, [[0.2, -0.4]], rtol=1e-6)
    assert float(sampling.scale) == pytest.approx(np.exp(-0.5))
    np.testing.assert_allclose(sampling.content, [[5.0, 6.0]])


def test_scale_stays_positive_however_far_the_latent_goes() -> None:
    model = small(("scale",))
    assert float(model.split(torch.tensor([[-100.0, 0.0, 0.0]])).scale) > 0


@pytest.mark.parametrize("invariances", [subset for subset in SUBSETS if subset], ids="+".join)
def test_decoding_at_the_reported_pose_draws_the_same_image(invariances: tuple[Invariance, ...]) -> None:
    model = small(invariances)
    sampling = model.split(torch.randn(6, model.specification.latent_size))
    again = model.sampling_at(model.object_pose(sampling), sampling.content)
    torch.testing.assert_close(model.images(again), model.images(sampling), atol=1e-5, rtol=0)


def test_an_object_asked_for_further_down_and_right_is_drawn_there() -> None:
    model = small(("rotation",), content_size=0)
    ones = torch.ones(1)
    still, moved = (
        model.images(model.sampling_at(ObjectPose(0 * ones, ones, down * ones, right * ones), torch.zeros(1, 0)))[0, ..., 0].detach()
        for down, right in ((0.0, 0.0), (2.0, 3.0))
    )
    torch.testing.assert_close(moved[2:, 3:], still[:-2, :-3], atol=1e-5, rtol=0)


def test_plain_model_has_no_coordinates_and_spatial_models_do() -> None:
    assert not small(()).spatial
    assert small(("scale",)).spatial


def test_convolutional_encoder_takes_odd_sizes() -> None:
    torch.manual_seed(0)
    model = InvariantVAE(ModelSpecification(13, 17, channels=2, encoder_channels=(4, 8), encoder_widths=(16,)))
    assert model.encode(torch.rand(3, 13, 17, 2))[0].shape == (3, 2)


@pytest.mark.parametrize(("noise_sd", "learned"), [(None, True), (0.05, False)])
def test_gaussian_noise_is_learned_or_fixed_as_told(noise_sd: float | None, learned: bool) -> None:
    model = small((), likelihood="gaussian", noise_sd=noise_sd)
    assert (model.log_noise is not None) == learned
    if noise_sd is not None:
        assert float(model.noise_sd) == pytest.approx(noise_sd)
