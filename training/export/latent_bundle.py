"""Puts a latent model's bundle together and writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from dichroic.bundle import (
    README_NAME,
    Condition,
    LatentSection,
    Metric,
    Preprocessing,
    Signature,
    Target,
    TrainingData,
)
from dichroic.bundle.arrays import pack
from dichroic.bundle.files import GOLDEN_NAME, WEIGHTS_NAME
from dichroic.bundle.manifest import Calibration
from training.export.dense_graphs import maps_core
from training.export.frame_graphs import frame_graphs
from training.export.frame_models import FrameModels
from training.export.frame_parity import check_frame_parity, frame_golden
from training.export.frame_specs import frame_signatures
from training.export.golden import golden_answers
from training.export.graphs import to_graph, with_front
from training.export.model_card import model_card
from training.export.modules import MODULES, Decode
from training.export.parity import check_parity
from training.export.specs import normalised_in, signatures
from training.export.stage_decoders import check_decoders, decoder_golden, decoder_signatures
from training.export.weights import share_weights
from training.export.written import Written, write
from training.latent.history import HISTORY_NAME, History, history_bytes
from training.latent.model import InvariantVAE
from training.latent.specification import ConditionColumn, ModelSpecification
from training.recipe_sections import Card

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxscript", "safetensors", "torch")


@dataclass(frozen=True)
class Facts:
    """What the manifest says beside what can be read off the model.

    Attributes:
        name: the bundle's name.
        card: the recipe's texts.
        preprocessing: normalisation and unit.
        training_data: source, licence and hashes.
        notes: about the data, for the card; may be empty.
        quantity: name of the channel; may be empty.
        pixel_size_nm: None when unknown.
        metrics: figures on held-out data.
        calibration: of the reconstruction error.
        novelty_threshold: None when not calibrated.
        novelty_false_alarm_rate: goes with it.
        timings_s: how long each step took; no part of the digest.
        remark: what the card must say before the recipe's texts; may be empty.
        history: what each epoch of the fit cost; None: not known, and the bundle has no history.json.
        output_preprocessing: normalisation and unit of what is drawn, where another kind goes in.
    """

    name: str
    card: Card
    preprocessing: Preprocessing
    training_data: TrainingData
    notes: str
    quantity: str
    pixel_size_nm: float | None
    metrics: tuple[Metric, ...]
    calibration: Calibration
    novelty_threshold: float | None
    novelty_false_alarm_rate: float | None
    timings_s: dict[str, float]
    remark: str = ""
    history: History | None = None
    output_preprocessing: Preprocessing | None = None


def write_latent_bundle(bundles: Path, model: InvariantVAE, facts: Facts, frames: FrameModels | None = None) -> Written:
    """Exports the graphs, checks them against the model, and writes `bundles/<name>/<version>/`.

    Args:
        bundles: the folder of bundles.
        model: of single images.
        facts: what cannot be read off the model.
        frames: models of windows of whole images, the last of which is `model`; None: the bundle reads no frames.

    Raises:
        ParityError: a graph disagrees with the model; nothing is written.
        OSError: the folder cannot be written.
    """
    model = model.eval().cpu()
    for stage in () if frames is None else frames.stages:
        stage.model.eval().cpu()
    drawn = facts.output_preprocessing
    images = signatures(model.specification, facts.preprocessing, drawn)
    windows = {} if frames is None else frame_signatures(frames, facts.preprocessing)
    decoders = {} if frames is None else decoder_signatures(frames, images["decode"])
    declared = images | decoders | windows
    graphs, weights = export_graphs(model, facts.preprocessing, declared, drawn, frames)
    parity = check_parity(model, facts.preprocessing, images, graphs, weights, drawn)
    golden = golden_answers(model, facts.preprocessing, images, drawn)
    if frames is not None:
        of_frames = check_frame_parity(frames, facts.preprocessing, windows, graphs, weights)
        of_stages = check_decoders(frames, facts.preprocessing, decoders, graphs, weights)
        parity = max(parity, of_frames, of_stages, key=lambda each: each.worst)
        golden |= frame_golden(frames, facts.preprocessing, windows) | decoder_golden(frames, facts.preprocessing, decoders)
    latent = latent_section(model, facts, frames)
    files = {declared[name].graph: data for name, data in graphs.items()}
    files[WEIGHTS_NAME] = weights
    files[GOLDEN_NAME] = pack(golden)
    files[README_NAME] = model_card(
        card=facts.card,
        name=facts.name,
        latent=latent,
        preprocessing=facts.preprocessing,
        training_data=facts.training_data,
        notes=facts.notes,
        remark=facts.remark,
        metrics=facts.metrics,
        calibration=facts.calibration,
        drawn=drawn,
    ).encode("utf-8")
    if facts.history is not None:
        files[HISTORY_NAME] = history_bytes(facts.history)
    return write(
        bundles,
        files,
        parity,
        kind="latent",
        name=facts.name,
        packages=_PACKAGES,
        timings_s=facts.timings_s,
        signatures=declared,
        preprocessing=facts.preprocessing,
        metrics=facts.metrics,
        calibration=facts.calibration,
        training_data=facts.training_data,
        latent=latent,
    )


def export_graphs(
    model: InvariantVAE,
    preprocessing: Preprocessing,
    declared: dict[str, Signature],
    drawn: Preprocessing | None = None,
    frames: FrameModels | None = None,
) -> tuple[dict[str, bytes], bytes]:
    """The bytes of every signature's graph, and of the weights they share."""
    cores: dict[str, onnx.ModelProto] = {}
    values = normalised_in(model.specification)
    decode = declared["decode"]
    graphs: dict[str, onnx.ModelProto] = {"decode": to_graph(Decode(model, drawn or preprocessing), decode.inputs, decode.outputs)}
    for kind in [kind for kind in MODULES if f"{kind}.float32" in declared]:
        one = declared[f"{kind}.float32"]
        cores[kind] = to_graph(MODULES[kind](model, preprocessing), [values, *one.inputs[1:]], one.outputs)
        for name, signature in declared.items():
            if name.startswith(f"{kind}."):
                graphs[name] = with_front(cores[kind], signature.inputs[0], preprocessing)
    parameters = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    if frames is not None:
        if model.specification.dense_head:
            cores["dense"] = maps_core(model, preprocessing)
        graphs |= frame_graphs(frames, cores | {"decode": graphs["decode"]}, preprocessing, declared)
        for number, stage in enumerate(frames.stages[:-1], start=1):
            parameters |= {f"stage_{number}.{name}": tensor.detach().numpy() for name, tensor in stage.model.state_dict().items()}
    return share_weights(graphs, parameters)


def latent_section(model: InvariantVAE, facts: Facts, frames: FrameModels | None = None) -> LatentSection:
    """The manifest's section about the model itself."""
    specification = model.specification
    present = specification.invariances
    # Of the images, whichever side they are on.
    height, width = (specification.height_px, specification.width_px) if specification.input_kind == "images" else specification.drawn_shape[:2]
    if specification.input_kind == specification.output_kind == "spectra":
        height, width = 1, specification.width_px
    return LatentSection(
        invariances=present,
        image_height_px=height,
        image_width_px=width,
        channels=specification.channels,
        channel_names=(facts.quantity,) if facts.quantity and specification.channels == 1 else (),
        pixel_size_nm=facts.pixel_size_nm,
        content_size=specification.content_size,
        latent_names=specification.latent_names,
        rotation_prior_sd_rad=specification.rotation_prior_sd_rad if "rotation" in present else None,
        shift_prior_sd=specification.shift_prior_sd if "translation" in present else None,
        scale_prior_log_sd=specification.scale_prior_log_sd if "scale" in present else None,
        likelihood=specification.likelihood,
        novelty_threshold=facts.novelty_threshold,
        novelty_false_alarm_rate=facts.novelty_false_alarm_rate,
        **_classes(specification),
        **_family(specification),
        # Left out, not null or 1, where there is none, as below.
        **({} if frames is None else {"frames": frames.section}),
        **({"angle_symmetry": specification.angle_symmetry} if specification.angle_symmetry > 1 else {}),
    )


def _classes(specification: ModelSpecification) -> dict[str, Any]:
    # Left out, not empty, where there are none: a field that is written is part of the digest.
    if not specification.class_source:
        return {}
    return {"class_names": specification.class_names, "class_source": specification.class_source}


def _family(specification: ModelSpecification) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if specification.conditions:
        found["conditions"] = tuple(_condition(column) for column in specification.conditions)
    if specification.targets:
        found["targets"] = tuple(Target(name=column.name, unit=column.unit, meaning=column.meaning) for column in specification.targets)
    if "circle" in specification.topology:
        found["topology"] = specification.topology
    if specification.class_edges:
        names = specification.class_names
        found["class_edges"] = tuple((names[parent], names[child]) for parent, child in specification.class_edges)
    if specification.input_kind != "images" or specification.output_kind != "images":
        found |= {"input_kind": specification.input_kind, "output_kind": specification.output_kind}
    return found


def _condition(column: ConditionColumn) -> Condition:
    facts = {"name": column.name, "unit": column.unit, "meaning": column.meaning}
    return Condition(**facts, categories=column.categories) if column.categories else Condition(**facts)
