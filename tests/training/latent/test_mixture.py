from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from training.latent.coordinates import wrap_angle
from training.latent.divergences import kl_to_standard_normal
from training.latent.likelihoods import log_probability
from training.latent.mixture import Pairs, choice_entropy, mixture_bound, usage_pull
from training.latent.model import InvariantVAE, bin_angles_rad
from training.latent.objective import bound
from training.latent.specification import ModelSpecification

KINDS: dict[str, dict[str, Any]] = {
    "joint": {"class_source": "joint", "class_names": ("a", "b", "c")},
    "semi": {"class_source": "semi_supervised", "class_names": ("a", "b", "c")},
    "bins": {"angle_bins": 8},
    "joint-bins": {"class_source": "joint", "class_names": ("a", "b", "c"), "angle_bins": 8},
    "semi-bins": {"class_source": "semi_supervised", "class_names": ("a", "b", "c"), "angle_bins": 8},
}


def made(kind: str) -> InvariantVAE:
    torch.manual_seed(0)
    facts = KINDS[kind]
    p_r = math.pi / facts["angle_bins"] if "angle_bins" in facts else 1.0
    return InvariantVAE(
        ModelSpecification(
            10, 10, invariances=("rotation", "translation"), rotation_prior_sd_rad=p_r, encoder_widths=(16,), decoder_widths=(12, 12), **facts
        )
    )


def pictures(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 10, 10, 1, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_bound_is_the_sum_over_classes_and_bins_of_the_papers_equation(kind: str) -> None:
    model, images = made(kind), pictures()
    specification = model.specification
    noise = torch.randn(4, specification.latent_size)
    parts = mixture_bound(model, images, noise)
    found = model.posterior(images)
    expected = torch.zeros(4)
    for row in range(4):
        q = found.log_q[row].exp()
        assert float(q.sum()) == pytest.approx(1, abs=1e-5)
        for c in range(specification.class_count):
            for b in range(specification.bin_count):
                of = c if specification.posterior_count > 1 else 0
                mean, sd = found.mean[row, of, b], found.sd[row, of, b]
                sampling_at = mean + sd * noise[row]
                sampling_at[0] += model.bin_angles[b] / specification.rotation_prior_sd_rad
                weights = torch.eye(specification.class_count)[c : c + 1] if specification.class_source else None
                output = model.draw(model.split(sampling_at[None], weights))
                nll = -log_probability("bernoulli", output, images[row : row + 1].flatten(1, 2), model.noise_sd).sum()
                kl = kl_to_standard_normal(mean, sd).sum()
                expected[row] += q[c, b] * (nll + kl + torch.log(q[c, b]) + math.log(q.numel()))
    torch.testing.assert_close(parts.total(), expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_labelled_bound_takes_the_label_and_sums_over_its_bins_alone() -> None:
    model, images = made("semi-bins"), pictures()
    labels, noise = torch.tensor([0, 1, 2, 1]), torch.randn(4, 5)
    found = mixture_bound(model, images, noise, labels=labels)
    log_q = model.posterior(images).log_q
    with torch.no_grad():  # all probability on the label's class: the unlabelled bound, less log K
        sure = log_q - 1e4 * (1 - torch.eye(3)[labels])[:, :, None]
        sure = sure - torch.logsumexp(sure.flatten(1), dim=1)[:, None, None]
        posterior = model.posterior(images)
        model.posterior = lambda *_: type(posterior)(posterior.mean, posterior.sd, sure)  # type: ignore[method-assign]
        unlabelled = mixture_bound(model, images, noise)
    torch.testing.assert_close(found.reconstruction, unlabelled.reconstruction, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.discrete + math.log(3), unlabelled.discrete, rtol=1e-4, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("labels", [None, torch.tensor([2])])
def test_chosen_pairs_estimate_the_whole_bound_without_bias(labels: torch.Tensor | None) -> None:
    model, images = made("semi-bins"), pictures(1)
    noise = torch.randn(1, 5)
    whole = float(mixture_bound(model, images, noise, labels=labels).total())
    many, generator = 3000, torch.Generator().manual_seed(0)
    more = None if labels is None else labels.expand(many)
    drawn = (
        mixture_bound(model, images.expand(many, -1, -1, -1), noise.expand(many, -1), labels=more, pairs=Pairs(3, 2), generator=generator)
        .total()
        .numpy()
    )
    assert drawn.std() > 0
    assert drawn.mean() == pytest.approx(whole, abs=4 * float(drawn.std()) / math.sqrt(many) + 1e-3)


def test_gradient_of_chosen_pairs_is_that_of_the_whole_bound_on_average() -> None:
    model, images = made("joint-bins"), pictures(1)
    noise = torch.randn(1, 5)

    def gradient(count: int, pairs: Pairs | None) -> torch.Tensor:
        model.zero_grad()
        mixture_bound(
            model, images.expand(count, -1, -1, -1), noise.expand(count, -1), pairs=pairs, generator=torch.Generator().manual_seed(3)
        ).total().mean().backward()
        assert model.encoder.pairs is not None
        assert model.encoder.pairs.bias.grad is not None
        return model.encoder.pairs.bias.grad.clone()

    whole, drawn = gradient(1, None), gradient(4000, Pairs(3, 3))
    assert float((whole - drawn).norm() / whole.norm()) < 0.1


@torch.no_grad()
def test_one_class_in_one_bin_is_the_plain_bound() -> None:
    torch.manual_seed(0)
    plain = InvariantVAE(ModelSpecification(10, 10, invariances=("rotation",), encoder_widths=(16,), decoder_widths=(12, 12)))
    model = made("joint")
    images, noise = pictures(), torch.randn(4, 5)
    posterior = model.posterior(images)
    torch.testing.assert_close(posterior.mean[:, 0, 0], model.encode(images)[0])
    assert not plain.specification.is_mixture
    assert bound(plain, images, noise[:, :3]).total().shape == (4,)


@torch.no_grad()
def test_a_quarter_turn_of_the_image_turns_the_angle_and_leaves_class_and_content_alone() -> None:
    for kind in ("bins", "joint-bins", "semi-bins"):
        model, images = made(kind), pictures()
        first, turned = model.read(images), model.read(torch.rot90(images, 1, (1, 2)))  # counter-clockwise, row 0 at the top
        apart = wrap_angle(turned.sampling.angle - first.sampling.angle - math.pi / 2)
        np.testing.assert_allclose(apart, 0, atol=1e-5)
        torch.testing.assert_close(first.sampling.content, turned.sampling.content)
        if first.class_probabilities is not None:
            torch.testing.assert_close(first.class_probabilities, turned.class_probabilities)
        # And what is drawn at the turned pose is the picture turned.
        drawn, again = model.images(first.sampling), model.images(turned.sampling)
        torch.testing.assert_close(torch.rot90(drawn, 1, (1, 2)), again, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bins", [4, 8, 12, 24])
def test_bins_cover_the_circle_evenly(bins: int) -> None:
    angles = np.sort(np.mod(bin_angles_rad(bins), 2 * math.pi))
    np.testing.assert_allclose(np.diff(angles), 2 * math.pi / bins)


@pytest.mark.parametrize("bins", [4, 8])
def test_prior_of_the_angle_is_nearly_uniform_on_the_circle(bins: int) -> None:
    angle = np.linspace(-math.pi, math.pi, 400)
    sd = math.pi / bins
    apart = angle[:, None] - np.array(bin_angles_rad(bins))[None] + 2 * math.pi * np.arange(-3, 4)[:, None, None]
    density = np.exp(-0.5 * (apart / sd) ** 2).sum(axis=(0, 2))
    assert np.ptp(density) / density.mean() < 0.06


@torch.no_grad()
def test_angle_sd_is_the_bins_own_when_one_is_sure_and_wide_when_two_opposite_ones_are_as_probable() -> None:
    model, images = made("bins"), pictures(1)
    found = model.posterior(images)

    def told(q: list[float]) -> tuple[float, float]:
        log_q = torch.log(torch.tensor(q) + 1e-12)[None, None]
        model.posterior = lambda *_: type(found)(torch.zeros_like(found.mean), torch.full_like(found.sd, 0.1), log_q)  # type: ignore[method-assign]
        reading = model.read(images)
        assert reading.angle_sd_rad is not None
        return float(reading.sampling.angle), float(reading.angle_sd_rad)

    angle, sd = told([0.0, 0, 1, 0, 0, 0, 0, 0])
    assert angle == pytest.approx(bin_angles_rad(8)[2], abs=1e-6)
    assert sd == pytest.approx(0.1 * math.pi / 8, rel=1e-3)
    assert told([0.5001, 0, 0, 0, 0.4999, 0, 0, 0])[1] == pytest.approx(math.pi / math.sqrt(2), rel=1e-2)


def test_usage_pulls_the_mean_to_the_uniform_distribution_and_not_each_image() -> None:
    logits = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    log_q = torch.log_softmax(logits, dim=1)
    mean = torch.exp(log_q).mean(dim=0)
    torch.testing.assert_close(
        torch.autograd.grad(usage_pull(log_q, mean), logits, retain_graph=True)[0], torch.autograd.grad((mean * torch.log(4 * mean)).sum(), logits)[0]
    )
    sure = torch.log(torch.eye(4)[:1].repeat(5, 1) + 1e-12)
    assert float(usage_pull(sure, torch.full((4,), 0.25))) == pytest.approx(0, abs=1e-4)  # one batch of one class, classes used alike so far
    assert float(usage_pull(sure, torch.tensor([0.7, 0.1, 0.1, 0.1]))) == pytest.approx(math.log(2.8), abs=1e-4)


def test_choice_is_zero_for_sure_images() -> None:
    assert float(choice_entropy(torch.log(torch.eye(4) + 1e-12))) == pytest.approx(0, abs=1e-6)
    assert float(choice_entropy(torch.full((5, 4), -math.log(4)))) == pytest.approx(math.log(4), abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["joint-bins", "semi-bins"])
def test_leaving_out_negligible_pairs_changes_nothing(kind: str) -> None:
    model, images = made(kind), pictures()
    assert model.encoder.pairs is not None
    model.encoder.pairs.weight.mul_(200)  # most pairs are then all but impossible
    noise = torch.randn(4, 5)
    q = torch.exp(model.posterior(images).log_q).flatten(1)
    assert (q < 1e-6).sum() > 20
    assert (q > 1e-6).sum() > 4
    whole, some = mixture_bound(model, images, noise), mixture_bound(model, images, noise, negligible=1e-6)
    torch.testing.assert_close(some.total(), whole.total(), rtol=1e-6, atol=1e-2)
    assert not torch.equal(some.total(), whole.total())
