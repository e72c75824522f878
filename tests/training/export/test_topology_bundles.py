"""Models with content on circles as bundles: what the manifest says, parity and golden answers at the jump, and a room that serves them."""

from __future__ import annotations

import asyncio
import functools
import math
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from dichroic.bundle import TensorSpec, read_bundle
from dichroic.bundle.arrays import unpack
from services.engine.budget import QueueBudget
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from services.engine.observe import Unobserved
from services.engine.repository import Repository
from services.latent.manifold import Grid
from services.latent.room import LatentRoom
from tests.training.export.exported import Exported, facts_for, make_model
from training.export.golden import golden_answers
from training.export.latent_bundle import latent_section, write_latent_bundle
from training.export.parity import TOLERANCE, difference
from training.export.probes import probe_inputs
from training.latent.specification import ConditionColumn, ModelSpecification
from training.report.graphs import LatentGraphs
from training.report.manifold import decoded_manifold, draw_manifold
from training.report.traversals import draw_traversals, rows_of, traversed

SPECIFICATIONS = {
    "torus": ModelSpecification(12, 12, topology=("circle", "circle"), likelihood="gaussian", encoder_widths=(16,), decoder_widths=(16,)),
    "pose-line-circle": ModelSpecification(
        12,
        12,
        invariances=("rotation", "translation"),
        topology=("line", "circle"),
        encoder_channels=(4,),
        encoder_widths=(16,),
        decoder_widths=(20, 20),
    ),
    "classes-bins-conditions": ModelSpecification(
        12,
        12,
        invariances=("rotation",),
        rotation_prior_sd_rad=math.pi / 4,
        angle_bins=4,
        class_source="semi_supervised",
        class_names=("disc", "ring", "bar"),
        class_edges=((0, 1), (1, 2)),
        topology=("circle", "line"),
        encoder_widths=(16,),
        decoder_widths=(20, 20),
        conditions=(ConditionColumn("voltage", "V", "at the tip"),),
    ),
}
KINDS = sorted(SPECIFICATIONS)


@dataclass(frozen=True)
class OnDisk:
    """A bundle with its folder of bundles."""

    exported: Exported
    bundles: Path


@functools.cache
def _keeper() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def on_disk(kind: str) -> OnDisk:
    torch.set_num_threads(1)
    model = make_model(SPECIFICATIONS[kind])
    facts = facts_for(model.specification)
    bundles = Path(_keeper().name) / kind
    written = write_latent_bundle(bundles, model, facts)
    return OnDisk(Exported(model, facts, written, read_bundle(written.folder)), bundles)


@pytest.fixture
async def torus() -> AsyncIterator[LatentRoom]:
    loader = Loader(ChosenDevice("cpu", False, 1), max_batch=16)
    repository = Repository(on_disk("torus").bundles, loader, QueueBudget(64, 1 << 28), Unobserved())
    await repository.load("toy", 1)
    yield LatentRoom(repository)
    await repository.drain(5)


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_agree_and_golden_answers_stand_clear_of_the_jump(kind: str) -> None:
    made = on_disk(kind).exported
    assert 0 < made.written.parity.worst <= TOLERANCE
    golden = unpack(made.bundle.files["golden.safetensors"], path="golden.safetensors")
    for tensor in ("content", "latent_mean"):
        columns = list(made.model.specification.circle_columns(tensor))
        assert columns
        assert (np.abs(golden[f"encode.uint8/out/{tensor}"][:, columns]) <= 3.0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_manifest_and_card_say_which_content_is_on_circles(kind: str) -> None:
    made = on_disk(kind).exported
    latent, specification = made.bundle.manifest.latent, made.model.specification
    assert latent is not None
    assert latent.topology == specification.topology
    columns = ", ".join(map(str, specification.circle_columns("content")))
    encode, decode = made.bundle.manifest.signatures["encode.float32"], made.bundle.manifest.signatures["decode"]
    for spec in (next(spec for spec in encode.outputs if spec.name == "content"), decode.inputs[0]):
        assert f"columns {columns}, from 0, are angles in radians on a circle" in spec.meaning
    assert "On circles: content" in made.bundle.model_card
    if specification.class_edges:
        assert latent.class_edges == (("disc", "ring"), ("ring", "bar"))
        assert "disc → ring, ring → bar" in made.bundle.model_card


def test_lines_alone_write_no_topology_and_no_edges() -> None:
    for topology in ((), ("line", "line")):
        model = make_model(ModelSpecification(12, 12, topology=topology, encoder_widths=(8,), decoder_widths=(8,)))
        section = latent_section(model, facts_for(model.specification))
        assert not {"topology", "class_edges"} & section.model_fields_set


def test_angles_differ_the_short_way_round_and_other_columns_do_not() -> None:
    spec = TensorSpec(name="content", dtype="float32", shape=("n", 2), axes=("image", "content"), unit="1", meaning="m")
    first, second = np.array([[3.0, math.pi - 1e-4]]), np.array([[3.0, -math.pi + 1e-4]])
    assert difference(spec, first, second, (1,)) == pytest.approx(2e-4)
    assert difference(spec, first, second) > 6
    assert difference(spec, first[:, ::-1], second[:, ::-1], (1,)) > 6


def test_a_model_that_tells_mostly_angles_at_the_jump_gets_golden_rows_that_do_not() -> None:
    made = on_disk("torus").exported
    model = make_model(made.model.specification)
    with torch.no_grad():  # directions near (−1, 0): sines small and cosines negative
        assert model.encoder.cosine is not None
        model.encoder.mean.weight *= 0.5
        model.encoder.mean.bias.zero_()
        model.encoder.cosine.bias.fill_(-0.3)
    signatures = {"encode.uint8": made.bundle.manifest.signatures["encode.uint8"]}
    golden = golden_answers(model, made.facts.preprocessing, signatures)
    assert (np.abs(golden["encode.uint8/out/content"]) <= 3.0).all()


async def test_encode_then_decode_gives_what_reconstruct_gives(torus: LatentRoom) -> None:
    made, deadline = on_disk("torus").exported, asyncio.get_running_loop().time() + 30
    images = probe_inputs(made.bundle.manifest.signatures["encode.uint16"], made.model.specification, made.facts.preprocessing, 9, seed=3)["images"]
    encoded = await torus.encode("toy", 0, {"images": images}, deadline)
    assert encoded.content is not None
    assert (np.abs(encoded.content) <= np.pi).all()
    np.testing.assert_array_equal(encoded.content, encoded.latent_mean)
    whole = (await torus.reconstruct("toy", 0, {"images": images}, deadline)).reconstruction
    for turns in (0, 1, -2):
        content = (encoded.content + 2 * np.pi * turns).astype(np.float32)
        decoded = (await torus.decode("toy", 0, {"content": content}, deadline)).images
        assert decoded is not None
        np.testing.assert_allclose(decoded, whole, atol=1e-5 * float(np.ptp(whole)))


async def test_a_manifold_over_a_circle_closes(torus: LatentRoom) -> None:
    deadline = asyncio.get_running_loop().time() + 30
    found = await torus.decode_manifold("toy", 0, Grid(0, 1, 24, 24), deadline)
    assert found.images is not None
    assert found.values_1[0] == pytest.approx(-np.pi)
    assert found.values_1[-1] == pytest.approx(np.pi - 2 * np.pi / 24)
    for axis in (0, 1):
        around = np.linalg.norm(np.moveaxis(np.roll(found.images, -1, axis) - found.images, axis, 0).reshape(24, -1), axis=1)
        apart = np.linalg.norm(np.take(found.images, 12, axis) - np.take(found.images, 0, axis))
        # From the last picture to the first is a step like any other.
        assert around[-1] <= 1.1 * around[:-1].max()
        assert apart > 3 * around.max()


def test_the_report_goes_round_circles_in_degrees(tmp_path: Path) -> None:
    graphs = LatentGraphs(on_disk("pose-line-circle").exported.written.folder)
    row = rows_of(graphs.latent)[-1]
    assert row.label == "content 2\n−180° to 180°"
    assert (row.values[0], row.values[-1]) == pytest.approx((-math.pi, math.pi))
    tiles = traversed(graphs, [row])
    np.testing.assert_allclose(tiles[0, 0], tiles[0, -1], atol=1e-5 * float(np.ptp(tiles)))
    _, across, down = decoded_manifold(graphs)
    assert across.max() < 2  # quantiles of the normal distribution
    assert np.diff(down) == pytest.approx(-2 * math.pi / len(down))
    assert down[0] - 2 * math.pi == pytest.approx(down[-1] - 2 * math.pi / len(down))
    for path in [*draw_traversals(graphs, tmp_path), *draw_manifold(graphs, tmp_path)]:
        assert path.stat().st_size > 5000
