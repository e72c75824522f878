"""A bundle of two window lengths with a dense encoder, exported once: its graphs say what the models say, as a server runs them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from dichroic.bundle import read_bundle
from services.engine.device import ChosenDevice
from services.engine.loader import Loader
from services.engine.model import LoadedBundle
from tests.training.export.exported import facts_for, make_model
from tests.training.frames.definition import by_definition
from training.data.windows import grid_axis
from training.export.frame_answers import FrameReference
from training.export.frame_models import FrameModels, StageModel, single_stage
from training.export.frame_parity import check_frame_parity
from training.export.golden import golden_answers
from training.export.latent_bundle import write_latent_bundle
from training.export.parity import TOLERANCE, ParityError, difference, output_range
from training.export.specs import signatures
from training.export.stage_decoders import check_decoders, decoder_golden, decoder_signatures
from training.export.written import Written
from training.latent.model import InvariantVAE, ObjectPose
from training.latent.specification import ModelSpecification

Array = np.ndarray[Any, np.dtype[Any]]
SIZE, STRIDE = 12, 2
SPECIFICATION = ModelSpecification(
    SIZE,
    SIZE,
    invariances=("rotation", "translation"),
    angle_symmetry=1,
    likelihood="gaussian",
    encoder_channels=(4,),
    encoder_widths=(8,),
    decoder_widths=(16, 16),
    dense_head="moments",
)
FACTS = facts_for(SPECIFICATION)
LOW, HIGH = FACTS.preprocessing.input_low[0], FACTS.preprocessing.input_high[0]
GENERATOR = np.random.default_rng(0)


@dataclass(frozen=True)
class Made:
    frames: FrameModels
    written: Written
    loaded: LoadedBundle

    def run(self, name: str, **inputs: Array) -> dict[str, Array]:
        frame = inputs.pop("frame", None)
        return self.loaded.runtimes[name].run(inputs, fixed=None if frame is None else {"frame": frame})


def moved(model: InvariantVAE) -> InvariantVAE:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return other


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    last = make_model(SPECIFICATION)
    frames = FrameModels((StageModel(moved(last), 9.0, 90.0), StageModel(last, 20.0, 200.0)))
    written = write_latent_bundle(tmp_path_factory.mktemp("bundles"), last, FACTS, frames)
    loaded = Loader(ChosenDevice("cpu", False, 1), max_batch=64).load(written.folder)
    yield Made(frames, written, loaded)
    loaded.close()


def values(*shape: int) -> Array:
    return (LOW + GENERATOR.random(shape) * (HIGH - LOW)).astype(np.float32)


def windows(frame: Array, count: int, shortest: float = 7.0, longest: float = 22.0) -> dict[str, Array]:
    window = GENERATOR.uniform(shortest, longest, count).astype(np.float32)
    centre = window[:, None] / 2 + GENERATOR.random((count, 2)) * (np.array(frame.shape[:2]) - window[:, None])
    return {"centre_px": centre.astype(np.float32), "window_px": window}


def test_the_manifest_tells_the_windows_and_the_bundle_has_its_graphs(made: Made) -> None:
    latent = made.written.manifest.latent
    assert latent is not None
    assert latent.frames is not None
    assert [(stage.window_px, stage.window_nm) for stage in latent.frames.stages] == [(9.0, 90.0), (20.0, 200.0)]
    assert (latent.frames.descriptor_px, latent.frames.standardised, latent.frames.dense) == (SIZE, False, made.frames.section.dense)
    assert made.frames.section.dense is not None
    assert made.frames.section.dense.stride_px == STRIDE
    assert 0 < made.written.parity.worst <= 1e-4


@pytest.mark.parametrize("stage", [1, 2])
def test_windows_are_cut_as_defined_and_encoded_by_their_own_stage(made: Made, stage: int) -> None:
    frame = values(31, 26)
    rows = windows(frame, 20)
    found = made.run(f"frame_{stage}.float32", frame=frame, **rows)
    model, step = made.frames.stages[stage - 1].model, rows["window_px"] / SIZE
    cut = [by_definition(frame[:, :, None].astype(float), centre, float(window), SIZE) for centre, window in zip(*rows.values(), strict=True)]
    with torch.no_grad():
        reading = model.read(torch.from_numpy((np.stack(cut) - LOW) / (HIGH - LOW)).float())
        pose = model.object_pose(reading.sampling)
    np.testing.assert_allclose(found["latent_mean"], reading.mean.numpy(), atol=2e-5)
    np.testing.assert_allclose(found["shift_down_px"], pose.shift_down_px.numpy() * step, atol=2e-5 * SIZE)


def test_a_window_as_long_as_the_descriptor_is_an_image(made: Made) -> None:
    frame = GENERATOR.integers(0, 255, (30, 40), dtype=np.uint8)
    corners = [(0, 0), (18, 28), (5, 11)]
    images = np.stack([frame[y : y + SIZE, x : x + SIZE] for y, x in corners])
    centre = np.array(corners, np.float32) + SIZE / 2
    found = made.run("frame_2.uint8", frame=frame, centre_px=centre, window_px=np.full(3, SIZE, np.float32))
    for name, told in made.run("encode.uint8", images=images).items():
        np.testing.assert_allclose(found[name], told, atol=1e-5)


@pytest.mark.parametrize("window", [12.0, 9.3, 17.0])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_dense_map_is_what_the_windows_tell(made: Made, dtype: str, window: float) -> None:
    frame = GENERATOR.integers(0, 255, (43, 38), dtype=np.uint8) if dtype == "uint8" else values(43, 38)
    if dtype == "float32":
        frame[20, 7] = np.nan
    length = np.full(1, window, np.float32)
    rows, columns = (grid_axis(side, float(length[0]), STRIDE * float(length[0]) / SIZE) for side in frame.shape)
    centre = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=2).reshape(-1, 2).astype(np.float32)
    alone = made.run(f"frame_1.{dtype}", frame=frame, centre_px=centre, window_px=np.full(len(centre), window, np.float32))
    maps = made.run(f"dense_1.{dtype}", frames=frame[None], window_px=length)
    for spec in made.written.manifest.signatures["encode.uint8"].outputs:
        whole = maps[spec.name]
        assert whole.shape[:3] == (1, len(rows), len(columns))
        flat = whole.reshape(len(centre), *whole.shape[3:])
        assert difference(spec, flat, alone[spec.name]) <= TOLERANCE * output_range(spec, alone[spec.name])


def test_what_is_explained_is_the_reconstructions_share_of_the_variance(made: Made) -> None:
    frame = values(30, 30)
    corners = [(0, 0), (18, 18), (5, 11)]
    images = np.stack([frame[y : y + SIZE, x : x + SIZE] for y, x in corners])
    error = made.run("reconstruct.float32", images=images)["error"]
    given = {"centre_px": np.array(corners, np.float32) + SIZE / 2, "window_px": np.full(3, SIZE, np.float32)}
    explained = made.run("explain_2.float32", frame=frame, **given)["explained"]
    variance = (images.astype(float) / (HIGH - LOW)).var(axis=(1, 2))
    np.testing.assert_allclose(explained, 1 - error / variance, atol=1e-4)
    constant = np.full((30, 30), HIGH, np.float32)
    np.testing.assert_array_equal(made.run("explain_2.float32", frame=constant, **given)["explained"], 0)


def test_every_stage_but_the_last_has_a_decoder_of_its_own_beside_the_last_ones_and_no_weights_twice(made: Made) -> None:
    assert {name for name in made.written.manifest.signatures if name.startswith("decode")} == {"decode", "decode_1"}
    rows = 5
    content = GENERATOR.standard_normal((rows, 2)).astype(np.float32)
    pose = {name: GENERATOR.uniform(-0.5, 0.5, rows).astype(np.float32) for name in ("angle_rad", "shift_down_px", "shift_right_px")}
    pose["scale"] = np.ones(rows, np.float32)
    for name, stage in (("decode_1", made.frames.stages[0]), ("decode", made.frames.stages[1])):
        with torch.no_grad():
            moved_to = ObjectPose(*(torch.from_numpy(pose[key]) for key in ("angle_rad", "scale", "shift_down_px", "shift_right_px")))
            drawn = stage.model.images(stage.model.sampling_at(moved_to, torch.from_numpy(content), None, None)).numpy()[..., 0]
        found = made.run(name, content=content, **pose)["images"]
        np.testing.assert_allclose((found - LOW) / (HIGH - LOW), drawn, atol=2e-5)
    files = read_bundle(made.written.folder).files
    assert outside(files["decode_1.onnx"]) <= outside(files["explain_1.float32.onnx"])


def outside(graph: bytes) -> set[tuple[str, ...]]:
    """Names and places of the tensors that lie in weights.safetensors."""
    found = {
        (tensor.name, *(entry.value for entry in tensor.external_data))
        for tensor in onnx.load_model_from_string(graph).graph.initializer
        if tensor.external_data
    }
    assert found
    return found


def test_decoders_of_models_with_angle_bins_have_their_golden_answers() -> None:
    """Which choose a bin when they encode, and none when they decode."""
    binned = ModelSpecification(
        SIZE, SIZE, invariances=("rotation",), rotation_prior_sd_rad=np.pi / 4, angle_bins=4, encoder_widths=(8,), decoder_widths=(12,)
    )
    model = make_model(binned)
    frames = FrameModels((StageModel(moved(model), 9.0), StageModel(model, 20.0)))
    declared = decoder_signatures(frames, signatures(binned, FACTS.preprocessing)["decode"])
    golden = decoder_golden(frames, FACTS.preprocessing, declared)
    assert golden["decode_1/out/images"].shape == (4, SIZE, SIZE)
    assert not np.allclose(
        golden["decode_1/out/images"], golden_answers(model, FACTS.preprocessing, declared)["decode_1/out/images"], rtol=1e-3, atol=0
    )


def test_a_decoder_of_another_stage_is_found(made: Made) -> None:
    bundle = read_bundle(made.written.folder)
    declared = {"decode_1": made.written.manifest.signatures["decode_1"]}
    with pytest.raises(ParityError, match="decode_1/images"):
        check_decoders(made.frames, FACTS.preprocessing, declared, {"decode_1": bundle.files["decode.onnx"]}, bundle.files["weights.safetensors"])


def test_a_graph_of_another_stage_is_found(made: Made) -> None:
    bundle = read_bundle(made.written.folder)
    declared = {name: signature for name, signature in made.written.manifest.signatures.items() if name == "frame_1.uint8"}
    graphs = {"frame_1.uint8": bundle.files["frame_2.uint8.onnx"]}
    with pytest.raises(ParityError, match=r"frame_1\.uint8"):
        check_frame_parity(made.frames, FACTS.preprocessing, declared, graphs, bundle.files["weights.safetensors"])


def test_standardised_frames_are_told_alike_whatever_their_offset_and_gain(made: Made) -> None:
    """The reference, with which every graph is compared at export."""
    frames = FrameModels(made.frames.stages, standardised=True)
    reference, signature = FrameReference(frames, FACTS.preprocessing), made.written.manifest.signatures["frame_1.uint8"]
    frame = GENERATOR.integers(20, 100, (30, 40), dtype=np.uint8)
    rows = windows(frame, 5)
    first, second = (reference.answer("frame_1.uint8", signature, {"frame": shown, **rows}) for shown in (frame, 2 * frame + 7))
    for name, told in first.items():
        np.testing.assert_allclose(told, second[name], atol=1e-5 * max(1.0, float(np.abs(told).max())))


def test_only_models_of_patches_of_images_read_frames(made: Made) -> None:
    model = made.frames.stages[1].model
    single = single_stage(model, SIZE, 2.5)
    assert single is not None
    assert single.section.stages[0].model_dump() == {"window_px": float(SIZE), "window_nm": 2.5 * SIZE}
    assert single_stage(model, None, 2.5) is None
    assert single_stage(make_model(ModelSpecification(12, 16, encoder_widths=(4,), decoder_widths=(4,))), 12, None) is None
