from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.latent.test_model import small
from training.latent.divergences import kl_to_standard_normal
from training.latent.likelihoods import log_probability
from training.latent.objective import bound


def test_kl_is_that_of_torchs_distributions() -> None:
    mean, sd = torch.randn(20, 3), torch.rand(20, 3) + 0.1
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, sd), normal(torch.zeros_like(mean), torch.ones_like(sd)))
    torch.testing.assert_close(kl_to_standard_normal(mean, sd), expected)


def test_bound_is_minus_log_p_summed_over_pixels_plus_kl() -> None:
    model, images = small(("rotation", "translation"), channels=2), torch.rand(4, 10, 14, 2)
    noise = torch.randn(4, model.specification.latent_size)
    parts = bound(model, images, noise)
    mean, sd = model.encode(images)
    output = model.draw(model.split(mean + sd * noise))
    expected = -log_probability("bernoulli", output, images.flatten(1, 2), model.noise_sd).sum(dim=(1, 2))
    torch.testing.assert_close(parts.reconstruction, expected)
    torch.testing.assert_close(parts.total(), expected + kl_to_standard_normal(mean, sd).sum(dim=1))


def test_betas_weigh_pose_and_content_apart() -> None:
    model, images = small(("rotation",)), torch.rand(4, 10, 14, 1)
    parts = bound(model, images, torch.zeros(4, 3))
    pose, content = parts.divergence[:, 0], parts.divergence[:, 1:].sum(1)
    torch.testing.assert_close(parts.loss(2.0, 5.0, 1), (parts.reconstruction + 2 * pose + 5 * content).mean())


def test_all_pixels_chosen_is_the_whole_bound() -> None:
    model, images = small(("translation",)), torch.rand(3, 10, 14, 1)
    noise = torch.randn(3, 4)
    every = torch.stack([torch.randperm(140) for _ in range(3)])
    torch.testing.assert_close(bound(model, images, noise, every).reconstruction, bound(model, images, noise).reconstruction)


@torch.no_grad()
def test_random_pixels_estimate_the_bound_without_bias() -> None:
    model, images = small(("rotation", "translation")), torch.rand(1, 10, 14, 1)
    noise = torch.randn(1, 5)
    whole = float(bound(model, images, noise).reconstruction)
    generator = torch.Generator().manual_seed(1)
    many = images.expand(4000, -1, -1, -1)
    drawn = bound(model, many, noise.expand(4000, -1), torch.randint(140, (4000, 8), generator=generator)).reconstruction.numpy()
    assert drawn.mean() == pytest.approx(whole, abs=4 * drawn.std() / np.sqrt(len(drawn)))
    assert drawn.std() > 0
