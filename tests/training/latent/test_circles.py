"""Content latents on circles: the prior's KL, what networks see, every kind of model, and a ring that a circle finds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from training.latent.checkpoint import CheckpointStore
from training.latent.circles import Circles
from training.latent.divergences import _NARROW_RAD, kl_to_standard_normal, kl_to_uniform_circle
from training.latent.evaluate import encode_images
from training.latent.mixture import mixture_bound
from training.latent.model import InvariantVAE
from training.latent.objective import bound
from training.latent.optimise import Fit
from training.latent.pose_metrics import fisher_lee_correlation
from training.latent.specification import ConditionColumn, ModelSpecification, TargetColumn, TopologyAxis
from training.recipe import Training

KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "rotation": {"invariances": ("rotation",), "angle_symmetry": 2},
    "angle bins": {"invariances": ("rotation", "translation"), "angle_bins": 8, "rotation_prior_sd_rad": math.pi / 8},
    "joint": {"class_source": "joint", "class_names": ("a", "b", "c")},
    "semi-supervised with bins": {
        "invariances": ("rotation",),
        "angle_bins": 4,
        "class_source": "semi_supervised",
        "class_names": ("a", "b"),
    },
    "conditional": {"conditions": (ConditionColumn("voltage", "V", "m"),)},
    "regression": {"targets": (TargetColumn("strain", "%", "m"),)},
    "image to spectrum": {"output_kind": "spectra", "output_shape": (1, 20, 1), "invariances": ("translation",)},
}


def made(topology: tuple[TopologyAxis, ...] = ("circle", "line", "circle"), **facts: object) -> InvariantVAE:
    torch.manual_seed(0)
    base: dict[str, object] = {"height_px": 8, "width_px": 8, "likelihood": "gaussian", "encoder_widths": (16,), "decoder_widths": (12, 12)}
    base |= {"content_size": len(topology), "topology": topology}
    return InvariantVAE(ModelSpecification(**base | facts))  # type: ignore[arg-type]


def told(model: InvariantVAE, images: torch.Tensor) -> torch.Tensor | None:
    return model.context_of(images, torch.ones((len(images), 1)) if model.specification.conditions else None)


def integrated_kl(sd: float) -> float:
    """∫ f log(2π f) over the circle, of the wrapped normal's density, in float64."""
    angle = (np.arange(40_000) + 0.5) / 40_000 * 2 * np.pi - np.pi
    turns = np.arange(-40, 41) * 2 * np.pi
    density = np.exp(-0.5 * ((angle[:, None] + turns) / sd) ** 2).sum(axis=1) / (sd * math.sqrt(2 * np.pi))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(density > 0, density * np.log(2 * np.pi * density), 0).sum() * 2 * np.pi / len(angle))


@pytest.mark.parametrize("sd", [0.01, 0.1, 0.4, 0.64, 0.66, 0.8, 1.0, 1.3, 2.0, 3.5])
def test_kl_to_the_uniform_circle_is_the_integral_over_the_wrapped_normal(sd: float) -> None:
    found = kl_to_uniform_circle(torch.tensor([sd], dtype=torch.float64))
    assert float(found) == pytest.approx(integrated_kl(sd), abs=1e-5)
    assert float(kl_to_uniform_circle(torch.tensor([sd]))) == pytest.approx(integrated_kl(sd), abs=1e-5)


def test_kl_to_the_uniform_circle_falls_to_nothing_without_a_step_and_has_a_gradient_everywhere() -> None:
    sd = torch.cat((torch.logspace(-4, 2, 4001, dtype=torch.float64), torch.tensor([_NARROW_RAD * (1 - 1e-9), _NARROW_RAD], dtype=torch.float64)))
    sd = sd.sort().values.requires_grad_()
    found = kl_to_uniform_circle(sd)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert sd.grad is not None
    assert torch.isfinite(sd.grad).all()
    assert (sd.grad <= 0).all()
    assert (found >= 0).all()
    found, at = found.detach(), sd.detach()
    assert float(found[-1]) == 0
    edges = found[(at >= _NARROW_RAD * (1 - 1e-8)) & (at <= _NARROW_RAD)]
    assert len(edges) == 2
    assert float(edges.max() - edges.min()) < 1e-4
    single = torch.logspace(-4, 2, 4001).requires_grad_()
    values = kl_to_uniform_circle(single)
    values.sum().backward()  # type: ignore[no-untyped-call]
    assert (values >= 0).all()
    assert single.grad is not None
    assert torch.isfinite(single.grad).all()


def test_decoders_see_a_point_on_the_circle_and_lines_as_they_are() -> None:
    circles = Circles(made().specification)
    content = torch.tensor([[0.5, 7.0, -2.0]])
    expected = torch.tensor([[math.cos(0.5), 7.0, math.cos(-2.0), math.sin(0.5), math.sin(-2.0)]])
    torch.testing.assert_close(circles.seen(content), expected)


def test_lessons_hold_lines_near_their_prior_and_no_circle() -> None:
    latents = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    found = Circles(made(invariances=("translation",)).specification).on_lines(latents)
    assert found.tolist() == [[1.0, 2.0, 4.0]]  # two shifts, and the content between two circles


@torch.no_grad()
@pytest.mark.parametrize("facts", KINDS.values(), ids=KINDS)
def test_a_turn_of_a_circle_draws_the_same_picture_and_half_a_turn_another(facts: dict[str, object]) -> None:
    model = made(**facts)
    specification = model.specification
    latents = torch.zeros((4, specification.latent_size))
    latents[:, specification.circle_columns("latent_mean")[0]] = torch.tensor([-math.pi, math.pi, 3 * math.pi, 0.0])
    weights = torch.eye(specification.class_count)[[0, 0, 0, 0]] if specification.class_source else None
    context = torch.zeros((4, specification.context_size)) if specification.context_size else None
    drawn = model.images(model.split(latents, weights, context))
    torch.testing.assert_close(drawn[1], drawn[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(drawn[2], drawn[0], atol=1e-5, rtol=0)
    assert float((drawn[3] - drawn[0]).abs().max()) > 1e-3


@pytest.mark.parametrize("facts", KINDS.values(), ids=KINDS)
def test_every_kind_of_model_has_a_bound_with_circles_and_tells_angles_in_range(facts: dict[str, object]) -> None:
    model = made(**facts)
    specification = model.specification
    images = torch.rand((6, 8, 8, 1))
    outputs = torch.rand((6, 1, 20, 1)) if specification.translates else None
    noise = torch.randn((6, specification.latent_size))
    context = told(model, images)
    if specification.is_mixture:
        parts = mixture_bound(model, images, noise, context=context, outputs=outputs)
        assert (parts.content > 0).all()
        parts.total().sum().backward()  # type: ignore[no-untyped-call]
    else:
        bound(model, images, noise, context=context, outputs=outputs).total().sum().backward()  # type: ignore[no-untyped-call]
    assert model.encoder.cosine is not None
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all(), name
    assert model.encoder.cosine.weight.grad is not None
    assert float(model.encoder.cosine.weight.grad.abs().max()) > 0
    found = encode_images(model, images.numpy(), np.ones((6, 1), np.float32) if specification.conditions else None)
    assert (np.abs(found["content"][:, [0, 2]]) <= math.pi).all()


@torch.no_grad()
def test_the_bound_has_the_uniform_priors_kl_on_circles_and_the_normal_ones_on_lines() -> None:
    model = made().double()
    images, noise = torch.rand((5, 8, 8, 1), dtype=torch.float64), torch.randn((5, 3), dtype=torch.float64)
    parts = bound(model, images, noise)
    mean, sd = model.encode(images)
    normal, uniform = kl_to_standard_normal(mean, sd), kl_to_uniform_circle(sd)
    torch.testing.assert_close(parts.divergence, torch.stack((uniform[:, 0], normal[:, 1], uniform[:, 2]), dim=1))
    z = mean + sd * noise
    seen = torch.stack((z[:, 0].cos(), z[:, 1], z[:, 2].cos(), z[:, 0].sin(), z[:, 2].sin()), dim=1)
    for layer in model.decoder.hidden:
        seen = torch.tanh(layer(seen))
    drawn, sigma = model.decoder.output(seen), model.noise_sd
    expected = (0.5 * torch.square((images.flatten(1) - drawn) / sigma) + torch.log(sigma) + 0.5 * math.log(2 * math.pi)).sum(dim=1)
    torch.testing.assert_close(parts.reconstruction, expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_a_mixtures_content_kl_is_that_of_the_circle() -> None:
    model = made(("circle",), class_source="semi_supervised", class_names=("a", "b"))
    images = torch.rand((5, 8, 8, 1))
    parts = mixture_bound(model, images, torch.randn((5, 1)))
    q = torch.exp(parts.posterior.log_q[:, :, 0])
    torch.testing.assert_close(parts.content, (q * kl_to_uniform_circle(parts.posterior.sd[:, :, 0, 0])).sum(dim=1))


def test_lines_alone_are_the_model_without_a_topology() -> None:
    first, second = made(("line", "line")), made((), content_size=2)
    assert first.encoder.cosine is None
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def ring(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright spot at angle θ on a ring: images (n, 12, 12, 1) in [0, 1], and θ (n,) radians. Nothing else varies."""
    angle = np.random.default_rng(seed).uniform(-np.pi, np.pi, count)
    row, column = np.mgrid[:12, :12] - 5.5
    at = (row - 3.5 * np.sin(angle)[:, None, None]) ** 2 + (column - 3.5 * np.cos(angle)[:, None, None]) ** 2
    return np.exp(-at / (2 * 1.5**2))[..., None].astype(np.float32), angle


def fitted_on_the_ring(folder: Path, topology: tuple[TopologyAxis, ...]) -> InvariantVAE:
    torch.set_num_threads(1)
    specification = ModelSpecification(
        12, 12, content_size=1, topology=topology, likelihood="gaussian", noise_sd=0.3, encoder_widths=(32,), decoder_widths=(32,)
    )
    training = Training(epochs=30, batch_size=50, learning_rate=1e-2, threads=1)
    images, _ = ring(1000, 0)
    return (
        Fit(specification, training, images, images[:0], seed=0, store=CheckpointStore(folder, "x"), device=torch.device("cpu"))
        .run(resume=False)
        .model
    )


def test_a_circle_finds_the_place_on_a_ring_one_to_one(tmp_path: Path) -> None:
    images, angle = ring(400, 1)
    found = encode_images(fitted_on_the_ring(tmp_path, ("circle",)), images)["content"][:, 0]
    assert abs(fisher_lee_correlation(found, angle)) >= 0.99
    assert abs(found).max() <= math.pi
    # One value for each place: neighbours on the circle are neighbours on the ring, its ends included.
    order = np.argsort(found)
    steps = np.angle(np.exp(1j * np.diff(angle[order], append=angle[order][0])))
    assert np.abs(steps).max() < 0.5
