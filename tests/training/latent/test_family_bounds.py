"""Conditional, image-to-spectrum and regression bounds against the papers' equations, written out in NumPy in float64."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from training.latent.checkpoint import CheckpointStore
from training.latent.companions import Companions
from training.latent.evaluate import held_out_bound, predict_outputs, tell_targets
from training.latent.mixture import mixture_bound
from training.latent.model import InvariantVAE
from training.latent.objective import CapacityNow, bound
from training.latent.optimise import Fit
from training.latent.regression import tell
from training.latent.schedule import weights_at
from training.latent.specification import ConditionColumn, ModelSpecification, TargetColumn
from training.latent.target_metrics import r2, target_figures
from training.recipe import Training
from training.recipe_sections import Capacity, Regression

VOLTAGE, PHASE = ConditionColumn("voltage", "V", "m", (), 2.0, 4.0), ConditionColumn("phase", "1", "m", ("a", "b", "c"))
STRAIN = TargetColumn("strain", "%", "m", 10.0, 2.0)


def made(**facts: object) -> InvariantVAE:
    torch.manual_seed(0)
    base: dict[str, object] = {"height_px": 10, "width_px": 10, "likelihood": "gaussian", "encoder_widths": (16,), "decoder_widths": (12, 12)}
    return InvariantVAE(ModelSpecification(**base | facts)).double()  # type: ignore[arg-type]


def tanh_layers(model: InvariantVAE, values: np.ndarray) -> np.ndarray:
    """The encoder's dense layers on flattened images, in NumPy."""
    for layer in model.encoder.dense:
        values = np.tanh(values @ layer.weight.numpy().T + layer.bias.numpy())  # type: ignore[operator, union-attr]
    return values


def linear(layer: torch.nn.Module | None, values: np.ndarray) -> np.ndarray:
    assert isinstance(layer, torch.nn.Linear)
    return np.asarray(values @ layer.weight.numpy().T + (0 if layer.bias is None else layer.bias.numpy()))


def softplus(values: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(values)) + 1e-4


def plain_decoded(model: InvariantVAE, z: np.ndarray, told: np.ndarray) -> np.ndarray:
    values = np.concatenate([z, told], axis=1)
    for layer in model.decoder.hidden:
        values = np.tanh(linear(layer, values))
    return linear(model.decoder.output, values)


def spatially_decoded(model: InvariantVAE, z: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Rotation alone: x' = x R(φ); h0 = tanh(W_x x' + b + W_z z + W_0 c), h1 = tanh(W h0 + b + W_1 c)."""
    decoder, grid = model.decoder, model.grid.numpy()
    first, second = (linear(layer, told)[:, None] for layer in decoder.of_context)  # type: ignore[union-attr]
    cos, sin = np.cos(z[:, :1]), np.sin(z[:, :1])
    moved = np.stack([grid[:, 0] * cos - grid[:, 1] * sin, grid[:, 0] * sin + grid[:, 1] * cos], axis=-1)
    h = np.tanh(linear(decoder.of_coordinates, moved) + linear(decoder.of_content, z[:, 1:])[:, None] + first)  # type: ignore[union-attr, arg-type]
    h = np.tanh(linear(decoder.hidden[0], h) + second)
    return linear(decoder.output, h)[..., 0]


def nll(model: InvariantVAE, x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    sigma = float(model.noise_sd)
    return np.asarray((0.5 * ((x - mean) / sigma) ** 2 + math.log(sigma) + 0.5 * math.log(2 * math.pi)).sum(axis=1))


def kl(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return np.asarray((0.5 * (mean**2 + sd**2 - 1) - np.log(sd)).sum(axis=1))


def gaussian(model: InvariantVAE, x: np.ndarray, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q(z|x, told): μ and σ."""
    features = tanh_layers(model, x)
    if told.shape[1]:
        features = np.tanh(linear(model.encoder.told, np.concatenate([features, told], axis=1)))
    return linear(model.encoder.mean, features), softplus(linear(model.encoder.deviation, features))


@torch.no_grad()
@pytest.mark.parametrize("invariances", [(), ("rotation",)])
def test_conditional_bound_is_minus_log_p_of_x_given_z_and_c_plus_kl_of_q_of_z_given_x_and_c(invariances: tuple[str, ...]) -> None:
    model = made(conditions=(VOLTAGE, PHASE), invariances=invariances)
    random = np.random.default_rng(1)
    x, noise = random.random((4, 100)), random.standard_normal((4, model.specification.latent_size))
    raw = np.array([[2.0, 0], [6, 1], [-2, 2], [4, 1]])
    told = np.concatenate([(raw[:, :1] - 2) / 4, np.eye(3)[raw[:, 1].astype(int)]], axis=1)  # (c − mean)/sd, and one-hot
    mean, sd = gaussian(model, x, told)
    drawn = (spatially_decoded if invariances else plain_decoded)(model, mean + sd * noise, told)
    expected = nll(model, x, drawn) + kl(mean, sd)
    context = model.context(torch.from_numpy(raw), None)
    found = bound(model, torch.from_numpy(x.reshape(4, 10, 10, 1)), torch.from_numpy(noise), context=context).total()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@torch.no_grad()
def test_image_to_spectrum_bound_is_of_the_spectrum_given_the_images_latents() -> None:
    model = made(output_kind="spectra", output_shape=(1, 20, 1))
    random = np.random.default_rng(1)
    x, y, noise = random.random((4, 100)), random.random((4, 20)), random.standard_normal((4, 2))
    mean, sd = gaussian(model, x, np.empty((4, 0)))
    expected = nll(model, y, plain_decoded(model, mean + sd * noise, np.empty((4, 0)))) + kl(mean, sd)
    outputs = torch.from_numpy(y.reshape(4, 1, 20, 1))
    found = bound(model, torch.from_numpy(x.reshape(4, 10, 10, 1)), torch.from_numpy(noise), outputs=outputs).total()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@torch.no_grad()
def test_regression_bound_samples_unknown_targets_and_takes_known_ones() -> None:
    model = made(targets=(STRAIN,))
    random = np.random.default_rng(1)
    x, noise, y_noise = random.random((4, 100)), random.standard_normal((4, 2)), random.standard_normal((4, 1))
    known = np.array([[0.3], [np.nan], [-1.2], [np.nan]])
    features = tanh_layers(model, x)
    mu, sigma = linear(model.encoder.target_mean, features), softplus(linear(model.encoder.target_deviation, features))
    is_known = ~np.isnan(known[:, 0])
    y = np.where(np.isnan(known), mu + sigma * y_noise, known)
    mean, sd = gaussian(model, x, y)
    x_terms = nll(model, x, plain_decoded(model, mean + sd * noise, y)) + kl(mean, sd)
    surprise = 0.5 * ((known - mu) / sigma) ** 2 + np.log(sigma) + 0.5 * math.log(2 * math.pi)
    images = torch.from_numpy(x.reshape(4, 10, 10, 1))
    told = tell(model, images, torch.from_numpy(known), torch.from_numpy(y_noise))
    np.testing.assert_allclose(told.divergence, np.where(is_known, 0, kl(mu, sigma)), rtol=1e-6)
    np.testing.assert_allclose(told.surprise[is_known], surprise[is_known, 0], rtol=1e-6)
    assert (told.surprise[~is_known] == 0).all()
    found = bound(model, images, torch.from_numpy(noise), context=model.context(None, told.values)).total()
    np.testing.assert_allclose(found, x_terms, rtol=1e-5)


@torch.no_grad()
def test_conditional_mixture_is_the_plain_conditional_bound_where_one_pair_has_all_probability() -> None:
    model = made(conditions=(PHASE,), class_source="joint", class_names=("a", "b"))
    images, noise = torch.rand(3, 10, 10, 1, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    context = model.context(torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64), None)
    found = model.posterior(images, context)
    sure = torch.tensor([[[0.0], [-1e9]]], dtype=torch.float64).expand(3, -1, -1)
    model.posterior = lambda *_: type(found)(found.mean, found.sd, sure)  # type: ignore[method-assign]
    mixed = mixture_bound(model, images, noise, context=context)
    mean, sd = found.mean[:, 0, 0], found.sd[:, 0, 0]
    drawn = model.draw(model.split(mean + sd * noise, torch.eye(2, dtype=torch.float64)[:1].expand(3, -1), context))
    expected = nll(model, images.flatten(1).numpy(), drawn.flatten(1).numpy()) + kl(mean.numpy(), sd.numpy()) + math.log(2)
    np.testing.assert_allclose(mixed.total(), expected, rtol=1e-6)


def test_classes_do_not_depend_on_conditions() -> None:
    model = made(conditions=(PHASE,), class_source="semi_supervised", class_names=("a", "b"), angle_bins=4, invariances=("rotation",))
    images = torch.rand(3, 10, 10, 1, dtype=torch.float64)
    first, second = (model.posterior(images, model.context(torch.full((3, 1), value, dtype=torch.float64), None)) for value in (0.0, 2.0))
    torch.testing.assert_close(first.log_q, second.log_q)
    assert not torch.allclose(first.mean, second.mean)


@torch.no_grad()
def test_a_target_does_not_change_with_a_quarter_turn_where_there_are_bins() -> None:
    model = made(targets=(STRAIN,), angle_bins=4, invariances=("rotation",))
    images = torch.rand(3, 10, 10, 1, dtype=torch.float64)
    torch.testing.assert_close(model.targets(images), model.targets(torch.rot90(images, 1, (1, 2))))


def test_gradient_of_partly_known_targets_is_finite() -> None:
    model = made(targets=(STRAIN,))
    told = tell(model, torch.rand(2, 10, 10, 1, dtype=torch.float64), torch.tensor([[math.nan], [1.0]], dtype=torch.float64), torch.ones(2, 1))
    (told.values.sum() + told.divergence.sum() + told.surprise.sum()).backward()
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_capacity_weighs_the_distance_of_the_mean_kl_from_its_rising_aim() -> None:
    training = Training(content_capacity=Capacity(nats=5.0, weight=30.0, until=0.5), class_capacity=Capacity(nats=1.0, weight=2.0, until=1.0))
    weights = weights_at(training, 0.25)
    assert weights.content_beta == CapacityNow(2.5, 30.0)
    assert weights.discrete_beta == CapacityNow(0.25, 2.0)
    assert weights_at(training, 0.9).content_beta == CapacityNow(5.0, 30.0)
    model = made(invariances=("rotation",))
    parts = bound(model, torch.rand(4, 10, 10, 1, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64))
    content = parts.divergence[:, 1:].sum(dim=1).mean()
    expected = (parts.reconstruction + 3 * parts.divergence[:, 0]).mean() + 30 * abs(content - 2.5)
    torch.testing.assert_close(parts.loss(3.0, CapacityNow(2.5, 30.0), 1), expected)


def test_figures_of_targets() -> None:
    random = np.random.default_rng(0)
    truth = random.standard_normal(20000) * 3 + 1
    noise = random.standard_normal(20000)
    found = target_figures(truth + 0.5 * noise, np.full(20000, 0.5), truth)
    assert found.rmse == pytest.approx(0.5, rel=0.03)
    assert found.r2 == pytest.approx(1 - 0.25 / 9, abs=0.002)
    assert found.coverage == pytest.approx(0.9, abs=0.01)
    assert found.nlpd == pytest.approx(math.log(0.5) + 0.5 * math.log(2 * math.pi) + 0.5, abs=0.03)
    assert math.isnan(r2(np.zeros(3), np.ones(3)))


def fitted(tmp_path: Path, specification: ModelSpecification, training: Training, images: np.ndarray, beside: Companions) -> InvariantVAE:
    torch.set_num_threads(1)
    store = CheckpointStore(tmp_path / "fit", "x")
    return Fit(specification, training, images, images[:0], seed=0, store=store, device=torch.device("cpu"), beside=beside).run(resume=False).model


def stripes(phase: np.ndarray) -> np.ndarray:
    return (0.5 + 0.5 * np.sin(np.arange(10)[None, :, None, None] * 0.6 + phase[:, None, None, None]) * np.ones((1, 1, 10, 1))).astype(np.float32)


def test_few_known_targets_teach_the_rest(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    height = random.uniform(-1, 1, 400)
    images = stripes(0.7 * height) + 0.05 * random.standard_normal((400, 10, 10, 1)).astype(np.float32)
    targets = np.where(np.arange(400) % 10 == 0, height, np.nan)[:, None]
    specification = ModelSpecification(
        10,
        10,
        content_size=1,
        likelihood="gaussian",
        encoder_widths=(32,),
        decoder_widths=(32,),
        targets=(TargetColumn("height", "1", "m", 0.0, 0.577),),
    )
    training = Training(epochs=25, batch_size=40, learning_rate=5e-3, regression=Regression(labelled_batch_size=16))
    model = fitted(tmp_path, specification, training, images[:300], Companions(targets=targets[:300] / 0.577))
    mean, sd = tell_targets(model, images[300:])
    assert r2(mean, height[300:, None]) > 0.9
    assert target_figures(mean[:, 0], sd[:, 0], height[300:]).coverage > 0.5


def test_a_condition_that_decides_the_picture_is_used(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    conditions = random.integers(3, size=(300, 1)).astype(np.float32)
    images = stripes(2.1 * conditions[:, 0]) + 0.05 * random.standard_normal((300, 10, 10, 1)).astype(np.float32)
    specification = ModelSpecification(10, 10, content_size=1, likelihood="gaussian", encoder_widths=(16,), decoder_widths=(32,), conditions=(PHASE,))
    training = Training(epochs=30, batch_size=30, learning_rate=1e-2)
    model = fitted(tmp_path, specification, training, images, Companions(conditions))
    right = held_out_bound(model, images, seed=0, beside=Companions(conditions)).error.mean()
    wrong = held_out_bound(model, images, seed=0, beside=Companions((conditions + 1) % 3)).error.mean()
    assert right < 0.01
    assert wrong > 5 * right


def test_image_to_spectrum_predicts_the_spectrum(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    phase = random.uniform(-1, 1, 300)
    spectra = np.cos(np.arange(20)[None] * 0.4 + 2 * phase[:, None]).astype(np.float32)[:, None, :, None]
    specification = ModelSpecification(
        10, 10, content_size=2, likelihood="gaussian", encoder_widths=(32,), decoder_widths=(32,), output_kind="spectra", output_shape=(1, 20, 1)
    )
    training = Training(epochs=40, batch_size=30, learning_rate=5e-3)
    model = fitted(tmp_path, specification, training, stripes(phase)[:250], Companions(outputs=spectra[:250]))
    assert r2(predict_outputs(model, stripes(phase)[250:]), spectra[250:]) > 0.9
