"""What the model can draw: images or spectra decoded over its first two content latents, all in the canonical pose."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes

from training.data.dataset import Array
from training.report.canvas import figure, minus, model_name, save
from training.report.graphs import LatentGraphs
from training.report.settings import NOTHING_TOLD, Setting
from training.report.tiles import channels_of, draw_tiles, ends_of, first_channel, tell_scale

_STEPS = 11


def latent_values(steps: int = _STEPS) -> Array:
    """Evenly spaced quantiles of the prior N(0, 1), (steps,): every tile stands for the same share of it."""
    return np.array([NormalDist().inv_cdf((k + 0.5) / steps) for k in range(steps)])


def circle_values(steps: int = _STEPS) -> Array:
    """As `latent_values`, of the uniform prior on a circle, (steps,) radians: the last and the first are neighbours."""
    return 2 * np.pi * ((np.arange(steps) + 0.5) / steps - 0.5)


def decoded_manifold(graphs: LatentGraphs, setting: Setting = NOTHING_TOLD, stage: int | None = None) -> tuple[Array, Array, Array]:
    """Tiles (rows, columns, h, w[, c]) or (rows, columns, l[, c]) and the values of the first content latent (columns,) and the second (rows,).

    The second's largest value is on top. A model of one content latent gives one row, a model of none one tile. Further latents are 0, the prior's
    mean; of classes it is the first. `stage`: whose decoder, counted from 1; None: the last.
    """
    size = graphs.latent.content_size
    across = _values(graphs, 0) if size >= 1 else np.zeros(1)
    down = _values(graphs, 1)[::-1] if size >= 2 else np.zeros(1)
    content = np.zeros((len(down), len(across), size))
    if size >= 1:
        content[..., 0] = across
    if size >= 2:
        content[..., 1] = down[:, None]
    drawn = graphs.decode(content.reshape(len(down) * len(across), size), conditions=setting.conditions, targets=setting.targets, stage=stage)
    return drawn.reshape(len(down), len(across), *drawn.shape[1:]), across, down


def draw_manifold(graphs: LatentGraphs, folder: Path, settings: tuple[Setting, ...] = (NOTHING_TOLD,)) -> list[Path]:
    """manifold.png; manifold-CATEGORY.png for each category of a condition; ...-1.png, ...-2.png, ... for several channels."""
    made = [(setting, *decoded_manifold(graphs, setting)) for setting in settings]
    several = channels_of(graphs) > 1
    paths = []
    for index in range(channels_of(graphs)):
        pictures = [first_channel(graphs, tiles.reshape(-1, *tiles.shape[2:]), index) for _, tiles, _, _ in made]
        ends = ends_of(pictures) if pictures else (0.0, 1.0)  # one scale for all categories
        for (setting, tiles, across, down), picture in zip(made, pictures, strict=True):
            title = f"{model_name(graphs)}: {what_is_decoded(graphs)}{f', {_channel_name(graphs, index)}' if several else ''}{setting.words()}"
            name = f"manifold{setting.file_part}{f'-{index + 1}' if several else ''}.png"
            shown = picture.reshape(*tiles.shape[:2], *picture.shape[1:])
            paths.append(_draw(graphs, shown, (across, down), ends, title, folder / name))
    return paths


def _draw(graphs: LatentGraphs, tiles: Array, values: tuple[Array, Array], ends: tuple[float, float], title: str, path: Path) -> Path:  # noqa: PLR0917
    made = figure(7.4, 6.4 if len(values[1]) > 1 else 1.9, title)
    axes = made.add_subplot()
    draw_decoded(graphs, axes, tiles, values, ends)
    tell_scale(made, [axes], graphs, *ends)
    return save(made, path)


def draw_decoded(
    graphs: LatentGraphs, axes: Axes, tiles: Array, values: tuple[Array, Array], ends: tuple[float, float], *, small: bool = False
) -> None:
    """Tiles (rows, columns, h, w) or (rows, columns, l) of the first content latent's values across and the second's down; `small`: its ticks."""
    across, down = values
    size, font = graphs.latent.content_size, {"fontsize": 6} if small else {}
    columns, rows = draw_tiles(axes, tiles, *ends)
    axes.set_xticks(columns, _ticks(graphs, 0, across) if size >= 1 else [""], **font)
    axes.set_yticks(rows, _ticks(graphs, 1, down) if size >= 2 else [""], **font)
    axes.set_xlabel(f"content latent 1 ({_unit(graphs, 0)}, at quantiles of its prior)" if size >= 1 else "")
    axes.set_ylabel(f"content latent 2 ({_unit(graphs, 1)})" if size >= 2 else "")


def what_is_decoded(graphs: LatentGraphs) -> str:
    """Over which latents, for titles."""
    size = graphs.latent.content_size
    what = f"decoded over {('no content latent', 'its content latent', 'its two content latents')[min(size, 2)]}"
    if size > 2:
        what = f"decoded over the first two of {size} content latents, the others 0"
    return what + (f"; class 0, {graphs.latent.class_names[0]}" if graphs.latent.class_names else "")


def _channel_name(graphs: LatentGraphs, index: int) -> str:
    # The manifest names the channels of what goes in.
    names = () if graphs.translates else graphs.latent.channel_names
    return names[index] if names else f"channel {index}"


def _values(graphs: LatentGraphs, index: int) -> Array:
    return circle_values() if graphs.latent.on_circle(index) else latent_values()


def _unit(graphs: LatentGraphs, index: int) -> str:
    return "degrees on a circle" if graphs.latent.on_circle(index) else "unit 1"


def _ticks(graphs: LatentGraphs, index: int, values: Array) -> list[str]:
    """Labels of the values (steps,) of content latent `index`: degrees on a circle."""
    told = [f"{np.degrees(value):.0f}°" for value in values] if graphs.latent.on_circle(index) else [f"{value:.1f}" for value in values]
    return [minus(label) for label in told]
