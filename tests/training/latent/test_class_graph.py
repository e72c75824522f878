"""Classes related by a directed graph: the penalty of steps along its edges, and what it does to what classes draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.latent.checkpoint import CheckpointStore
from training.latent.class_graph import step_penalty
from training.latent.decoders import PlainDecoder
from training.latent.model import InvariantVAE
from training.latent.optimise import Fit
from training.latent.specification import Invariance, ModelSpecification
from training.recipe import Classes, Training

CHAIN = ((0, 1), (1, 2))


def test_penalty_is_the_spread_of_the_steps_from_the_mean_of_the_parents() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1.0, 2.0], [4.0, 0.0], [3.0, 3.0]], dtype=torch.float64)
    # Children 1 (of 0), 2 (of 1) and 3 (of 1 and 2).
    steps = torch.tensor([[1.0, 2.0], [3.0, -2.0], [0.5, 2.0]], dtype=torch.float64)
    expected = torch.square(steps - steps.mean(dim=0)).sum()
    torch.testing.assert_close(step_penalty(vectors, ((0, 1), (1, 2), (2, 3), (1, 3))), expected)


def test_equal_steps_cost_nothing_and_a_single_child_is_asked_nothing() -> None:
    vectors = torch.arange(3.0)[:, None] * torch.tensor([[0.5, -2.0]]) + 7
    assert float(step_penalty(vectors, CHAIN)) == 0
    assert float(step_penalty(torch.randn(3, 4), ((2, 0),))) == 0


def test_an_edge_has_a_direction() -> None:
    vectors = torch.arange(3.0)[:, None]
    assert float(step_penalty(vectors, ((0, 1), (2, 1)))) == 0  # one child between its parents
    assert float(step_penalty(vectors, ((0, 1), (2, 0)))) > 1


def test_without_edges_the_penalty_and_its_gradient_are_zero() -> None:
    vectors = torch.randn(3, 4, requires_grad=True)
    penalty = step_penalty(vectors, ())
    penalty.backward()  # type: ignore[no-untyped-call]
    assert float(penalty.detach()) == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()
    step_penalty(vectors, CHAIN).backward()  # type: ignore[no-untyped-call]
    assert vectors.grad.any()


@torch.no_grad()
@pytest.mark.parametrize("invariances", [(), ("translation",)])
def test_classes_draw_the_same_exactly_when_their_vectors_are_the_same(invariances: tuple[Invariance, ...]) -> None:
    model = InvariantVAE(_specification(invariances))
    content = torch.full((3, 1), 0.3)
    assert model.decoder.class_vectors().shape == (3, 32 if invariances else 16)
    before = _drawn(model, content)
    assert float((before[1] - before[0]).abs().max()) > 1e-3
    if isinstance(model.decoder, PlainDecoder):
        model.decoder.class_vectors()[1:] = model.decoder.class_vectors()[:1].clone()  # a view of the weights
    else:
        for layer in model.decoder.of_class:
            layer.weight[:, 1:] = layer.weight[:, :1].clone()
    vectors, after = model.decoder.class_vectors(), _drawn(model, content)
    assert torch.equal(vectors[1], vectors[0])
    torch.testing.assert_close(after[1], after[0])


def _specification(invariances: tuple[Invariance, ...] = (), edges: tuple[tuple[int, int], ...] = ()) -> ModelSpecification:
    return ModelSpecification(
        8,
        8,
        content_size=1,
        invariances=invariances,
        likelihood="gaussian",
        noise_sd=0.1,
        class_source="semi_supervised",
        class_names=("low", "middle", "high"),
        encoder_widths=(16,),
        decoder_widths=(16, 16),
        class_edges=edges,
    )


@torch.no_grad()
def _drawn(model: InvariantVAE, content: torch.Tensor) -> torch.Tensor:
    latents = functional.pad(content, (len(model.specification.pose_names), 0))
    return model.images(model.split(latents, torch.eye(3)))


def _unevenness(folder: Path, invariances: tuple[Invariance, ...], edges: tuple[tuple[int, int], ...], weight: float, epochs: int = 60) -> float:
    """Second difference of the three classes' pictures over their distance: 0 for a constant step, 1 where two classes do not differ."""
    torch.set_num_threads(1)
    labels = np.arange(60) % 3
    # Three pictures on a line, at uneven places: a square of brightness 0.1, 0.2 and 0.9.
    images = np.zeros((60, 8, 8, 1), np.float32)
    images[:, 2:6, 2:6] = np.array([0.1, 0.2, 0.9], np.float32)[labels][:, None, None, None]
    images += np.random.default_rng(0).normal(0, 0.05, images.shape).astype(np.float32)
    training = Training(epochs=epochs, batch_size=30, learning_rate=1e-2, threads=1, classes=Classes(labelled_batch_size=30, edge_weight=weight))
    fit = Fit(
        _specification(invariances, edges),
        training,
        images,
        images[:0],
        seed=0,
        store=CheckpointStore(folder, "x"),
        device=torch.device("cpu"),
        labels=labels.astype(np.int64),
    )
    low, middle, high = _drawn(fit.run(resume=False).model, torch.zeros((3, 1)))
    return float(torch.linalg.vector_norm(high - 2 * middle + low) / torch.linalg.vector_norm(high - low))


@pytest.mark.parametrize("invariances", [(), ("translation",)])
def test_edges_bring_linked_classes_nearer_to_a_constant_step(tmp_path: Path, invariances: tuple[Invariance, ...]) -> None:
    without = _unevenness(tmp_path / "without", invariances, (), 10.0)
    linked = _unevenness(tmp_path / "linked", invariances, CHAIN, 10.0)
    assert without > 0.5
    assert linked < 0.7 * without


def test_a_weight_of_zero_is_a_fit_without_edges(tmp_path: Path) -> None:
    assert _unevenness(tmp_path / "none", (), (), 1.0, 3) == _unevenness(tmp_path / "zero", (), CHAIN, 0.0, 3)
