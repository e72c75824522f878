"""What each stage of a bundle can draw: the manifolds of all window lengths side by side."""

from __future__ import annotations

import math
from pathlib import Path

from training.export.stage_figures import stage_labels
from training.report.canvas import figure, model_name, save
from training.report.graphs import LatentGraphs
from training.report.manifold import decoded_manifold, draw_decoded, what_is_decoded
from training.report.tiles import channels_of, ends_of, first_channel, tell_scale


def draw_scale_manifolds(graphs: LatentGraphs, folder: Path) -> list[Path]:
    """scale_manifolds.png: a manifold for each stage, in one scale of colours; nothing for a bundle that holds the last stage's decoder alone."""
    if graphs.latent.frames is None or not graphs.decodes_every_stage:
        return []
    labels = stage_labels(graphs.latent.frames)
    stages = [*range(1, len(labels)), None]  # the last one's graph has no number
    found = [decoded_manifold(graphs, stage=stage) for stage in stages]
    pictures = [first_channel(graphs, tiles.reshape(-1, *tiles.shape[2:])).reshape(*tiles.shape[:2], *tiles.shape[2:4]) for tiles, _, _ in found]
    ends = ends_of(pictures)
    columns = math.ceil(math.sqrt(len(labels)))
    rows = math.ceil(len(labels) / columns)
    several = f"; the first of {channels_of(graphs)} channels" if channels_of(graphs) > 1 else ""
    title = f"{model_name(graphs)}: each window length's own latents, {what_is_decoded(graphs)}{several}"
    made = figure(5.0 * columns + 1.0, 4.9 * rows + 0.5, title)
    free = made.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes, label, picture, (_, across, down) in zip(free, labels, pictures, found, strict=False):
        draw_decoded(graphs, axes, picture, (across, down), ends, small=True)
        axes.set_title(f"window {label}")
    for axes in free[len(labels) :]:
        axes.set_axis_off()
    tell_scale(made, free, graphs, *ends)
    return [save(made, folder / "scale_manifolds.png")]
