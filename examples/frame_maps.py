"""Latent maps of one whole image at several window lengths, and from which length on a damaged place can be told; drawn.

    python examples/frame_maps.py [--model scales_stripes] [--server HOST:PORT] [--out frame_maps.png]

The image is drawn: two grains of stripes that run different ways, with a place where the stripes are worn away. It is uploaded once for all maps: the
service cuts the windows itself. Then points are looked at through windows of many lengths: damaged ones, and ones between a dark and a bright stripe,
which are as grey from near. The service says from which length on their content tells them apart. `dichroic map` and `dichroic spectrum` ask the same
of files of your own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dichroic import Client, FrameEncoding, ScaleSpectrum
from examples.asking import options, service_client
from examples.frame_maps_picture import draw

NDArray = np.ndarray[Any, np.dtype[Any]]
SIDE_PX, PERIOD_PX, PIXEL_SIZE_NM = 192, 16.0, 5.0
# In which way the stripes of either grain run, counter-clockwise from the rows.
GRAINS_DEG = (25.0, -50.0)
# More than the model has seen: what is near is not clear.
NOISE = 0.3
# Middle (row, column) and radius of the damage; how many points are looked at, and how far from its middle.
DAMAGE_PX, DAMAGE_RADIUS_PX = (122.0, 66.0), 30.0
POINTS, POINTS_WITHIN_PX = 24, 14.0
WINDOWS_PX = tuple(float(window) for window in np.geomspace(1, 28, 10))


@dataclass(frozen=True)
class DrawnFrame:
    """An image and what is known of it.

    Attributes:
        image: (SIDE_PX, SIDE_PX) float32, stripes between −1 and 1 with noise.
        points_px: (2 · POINTS, 2) float64, row and column.
        labels: (2 · POINTS,) int64: 1 inside the damage, 0 between whole stripes.
    """

    image: NDArray
    points_px: NDArray
    labels: NDArray


def draw_frame(seed: int) -> DrawnFrame:
    """Two grains side by side, their stripes worn away around DAMAGE_PX; the noise and the points are the seed's."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE_PX, :SIDE_PX] + 0.5
    first, second = (_stripes(row, column, angle) for angle in GRAINS_DEG)
    stripes = np.where(column < 0.55 * SIDE_PX + 8 * np.sin(row / 25), first, second)
    distance = np.hypot(row - DAMAGE_PX[0], column - DAMAGE_PX[1])
    image = stripes / (1 + np.exp((DAMAGE_RADIUS_PX - distance) / 2)) + NOISE * rng.standard_normal((SIDE_PX, SIDE_PX))
    inside = DAMAGE_PX + POINTS_WITHIN_PX * _disc(rng, POINTS)
    whole = _between((DAMAGE_PX[0] - 75, DAMAGE_PX[1]) + POINTS_WITHIN_PX * _disc(rng, POINTS), GRAINS_DEG[0])  # of the same grain
    return DrawnFrame(image.astype(np.float32), np.concatenate((inside, whole)), np.repeat([1, 0], POINTS))


def ask(client: Client, model: str, frame: DrawnFrame) -> tuple[FrameEncoding, ScaleSpectrum]:
    """Maps at the model's own lengths, with what a reconstruction explains, and the points' spectrum over WINDOWS_PX."""
    encoding = client.encode_frame(model, frame.image, pixel_size_nm=PIXEL_SIZE_NM, stride_px=3, explain=True)
    spectrum = client.scale_spectrum(model, frame.image, frame.points_px, labels=frame.labels, window_px=WINDOWS_PX, pixel_size_nm=PIXEL_SIZE_NM)
    return encoding, spectrum


def main() -> int:
    """Asks, prints and draws.

    Returns:
        0.

    Raises:
        SystemExit: as `service_client`.
    """
    parser = options(__doc__, model="scales_stripes", out="frame_maps.png")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and the points (default %(default)s)")
    arguments = parser.parse_args()
    frame = draw_frame(arguments.seed)
    with service_client(arguments, "interrupted; nothing was drawn") as client:
        began = time.perf_counter()
        encoding, spectrum = ask(client, arguments.model, frame)
        took = time.perf_counter() - began
        latent = client.model(arguments.model).manifest["latent"]
    for each in encoding.maps:
        told = "" if each.explained is None else f", {np.nanmedian(each.explained):.2f} of a window explained (median)"
        print(f"{each.window_nm:6.1f} nm, stage {each.stage}: {each.rows} × {each.columns} windows{told}")
    length = spectrum.separable_from_nm
    print(f"the damage can be told from {length:.0f} nm on" if length is not None else "no length tells the damage")
    # Stripes look the same after half a turn; a bundle from before format 1.5 does not say so.
    draw(arguments.out, frame, encoding, spectrum, latent.get("angle_symmetry", 1))
    print(f"both answers took {1e3 * took:.0f} ms\npicture: {arguments.out}")
    return 0


def _stripes(row: NDArray, column: NDArray, angle_deg: float) -> NDArray:
    values: NDArray = np.cos(2 * np.pi / PERIOD_PX * (np.stack((row, column), axis=-1) @ _across(angle_deg)))
    return values


def _across(angle_deg: float) -> NDArray:
    """The direction (row, column) across stripes of this angle, of length 1."""
    angle = np.radians(angle_deg)
    return np.array([-np.cos(angle), -np.sin(angle)])


def _between(points: NDArray, angle_deg: float) -> NDArray:
    """Points (n, 2) moved across the stripes to the nearest place where these become brighter: −90° of the cosine."""
    across = _across(angle_deg)
    behind = (points @ across + PERIOD_PX / 4 + PERIOD_PX / 2) % PERIOD_PX - PERIOD_PX / 2
    moved: NDArray = points - behind[:, None] * across
    return moved


def _disc(rng: np.random.Generator, count: int) -> NDArray:
    """Points (count, 2) even over the unit disc."""
    radius, angle = np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
    return np.stack((radius * np.sin(angle), radius * np.cos(angle)), axis=1)


if __name__ == "__main__":
    sys.exit(main())
