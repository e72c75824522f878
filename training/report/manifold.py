"""What the model can draw: images decoded over its first two content latents, all in the canonical pose."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np

from training.data.dataset import Array
from training.report.canvas import INTENSITY, channel, figure, model_name, mosaic, save, unit_label
from training.report.graphs import LatentGraphs

_STEPS = 11


def latent_values(steps: int = _STEPS) -> Array:
    """Evenly spaced quantiles of the prior N(0, 1), (steps,): every tile stands for the same share of it."""
    return np.array([NormalDist().inv_cdf((k + 0.5) / steps) for k in range(steps)])


def circle_values(steps: int = _STEPS) -> Array:
    """As `latent_values`, of the uniform prior on a circle, (steps,) radians: the last and the first are neighbours."""
    return 2 * np.pi * ((np.arange(steps) + 0.5) / steps - 0.5)


def decoded_manifold(graphs: LatentGraphs) -> tuple[Array, Array, Array]:
    """Tiles (rows, columns, h, w[, c]) and the values of the first content latent (columns,) and the second (rows,), largest on top.

    A model of one content latent gives one row, a model of none one tile. Further latents are 0, the prior's mean; of classes it is the first.
    """
    size = graphs.latent.content_size
    across = _values(graphs, 0) if size >= 1 else np.zeros(1)
    down = _values(graphs, 1)[::-1] if size >= 2 else np.zeros(1)
    content = np.zeros((len(down), len(across), size))
    if size >= 1:
        content[..., 0] = across
    if size >= 2:
        content[..., 1] = down[:, None]
    images = graphs.decode(content.reshape(-1, size))
    return images.reshape(len(down), len(across), *images.shape[1:]), across, down


def draw_manifold(graphs: LatentGraphs, folder: Path) -> list[Path]:
    """manifold.png; manifold-1.png, manifold-2.png, ... for images of several channels."""
    tiles, across, down = decoded_manifold(graphs)
    names = graphs.latent.channel_names or tuple(f"channel {index}" for index in range(graphs.latent.channels))
    size = graphs.latent.content_size
    paths = []
    for index in range(graphs.latent.channels):
        several = graphs.latent.channels > 1
        picture = mosaic(channel(tiles.reshape(-1, *tiles.shape[2:]), index).reshape(*tiles.shape[:4]))
        what = f"decoded over {('no content latent', 'its content latent', 'its two content latents')[min(size, 2)]}"
        if size > 2:
            what = f"decoded over the first two of {size} content latents, the others 0"
        if graphs.latent.class_names:
            what += f"; class 0, {graphs.latent.class_names[0]}"
        made = figure(7.4, 6.4 if len(down) > 1 else 1.9, f"{model_name(graphs)}: {what}{f', {names[index]}' if several else ''}")
        axes = made.add_subplot()
        shown = axes.imshow(picture, cmap=INTENSITY, interpolation="nearest")
        height, width = tiles.shape[2:4]
        axes.set_xticks((width + 1) * np.arange(len(across)) + width / 2, _ticks(graphs, 0, across) if size >= 1 else [""])
        axes.set_yticks((height + 1) * np.arange(len(down)) + height / 2, _ticks(graphs, 1, down) if size >= 2 else [""])
        axes.set_xlabel(f"content latent 1 ({_unit(graphs, 0)}, at quantiles of its prior)" if size >= 1 else "")
        axes.set_ylabel(f"content latent 2 ({_unit(graphs, 1)})" if size >= 2 else "")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        made.colorbar(shown, ax=axes, label=unit_label(graphs.preprocessing.unit, "pixel value"), shrink=0.8)
        paths.append(save(made, folder / (f"manifold-{index + 1}.png" if several else "manifold.png")))
    return paths


def _on_circle(graphs: LatentGraphs, index: int) -> bool:
    return bool(graphs.latent.topology) and graphs.latent.topology[index] == "circle"


def _values(graphs: LatentGraphs, index: int) -> Array:
    return circle_values() if _on_circle(graphs, index) else latent_values()


def _unit(graphs: LatentGraphs, index: int) -> str:
    return "degrees on a circle" if _on_circle(graphs, index) else "unit 1"


def _ticks(graphs: LatentGraphs, index: int, values: Array) -> list[str]:
    """Labels of the values (steps,) of content latent `index`: degrees on a circle."""
    told = [f"{np.degrees(value):.0f}°" for value in values] if _on_circle(graphs, index) else [f"{value:.1f}" for value in values]
    return [label.replace("-", "−") for label in told]
