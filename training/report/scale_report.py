"""All pictures of a bundle's length scales over one frame, and which there cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.report.graphs import LatentGraphs
from training.report.scale_alignment import draw_scale_alignment
from training.report.scale_graphs import Frame, ScaleGraphs
from training.report.scale_maps import draw_scale_maps
from training.report.scale_numbers import write_scale_numbers
from training.report.scale_spectrum import draw_scale_spectrum
from training.report.scale_stages import alignment_of, stages_over
from training.report.scale_statistics import draw_scale_statistics


def draw_scales(graphs: LatentGraphs, frame: Frame, folder: Path) -> list[Path]:
    """scale_maps.png; of several stages also scale_statistics.png, scale_alignment.png and scale_spectrum.png; scales.json with their numbers."""
    scales = ScaleGraphs(graphs, frame)
    stages = stages_over(scales)
    # One stage agrees with itself, also where its window leaves room for too few centres to compare.
    alignment = alignment_of(scales) if len(stages) > 1 else (np.ones((1, 1)), np.zeros((1, 1)))
    written = [draw_scale_maps(scales, stages, folder)]
    if len(stages) > 1:
        written.append(draw_scale_statistics(scales, stages, folder))
        written.append(draw_scale_alignment(scales, alignment, folder))
        written.append(draw_scale_spectrum(scales, stages, folder))
    return [*written, write_scale_numbers(scales, stages, alignment, folder)]


def stage_count(graphs: LatentGraphs) -> int:
    """How many window lengths the bundle has weights for; 0 for a bundle without frames."""
    return 0 if graphs.latent.frames is None else len(graphs.latent.frames.stages)


def scales_not_drawn(graphs: LatentGraphs, frame: Frame | None) -> list[str]:
    """What a reader may look for in vain."""
    if stage_count(graphs) < 2:
        return []
    lines = ["Traversals, and manifold.png, are of the last stage, whose windows are the longest; scale_manifolds.png is of all stages."]
    if not graphs.decodes_every_stage:
        lines = [
            "The manifold and traversals are of the last stage, whose windows are the longest: "
            "this bundle holds no decoder of the others; fit its recipe again, which adds them."
        ]
    if frame is None:
        lines.append("No scale_maps, scale_statistics, scale_alignment or scale_spectrum.png: they need a whole image; give one with --data FILE.")
    return lines
