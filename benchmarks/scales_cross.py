"""Issue 6's cross-scale test: windows of one length in scans of different size, against one count of pixels. `python -m benchmarks.scales_cross`.

Measured PbTiO3 scans of 1, 3 and 5 µm (DICHROIC_DATA), not registered and of different contrast: each is normalised by its own mean and standard
deviation, and distributions are compared, by the energy distance of rotation-invariant latents of 1000 windows or more drawn without repetition.
For two scans with pixels p and q and a length W, with windows of 8 to 64 px in both: D²(W nm in both) over the geometric mean of D²(W/p px in both)
and D²(W/q px in both), all by the encoder of length W. A pair's figure is the median over lengths (and over the two scans of 1 µm).
Without --bundle the latents are plain principal components of rotation-averaged descriptors; they show what the data say before any model does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.scales_cross_page import page_of
from training.data.readers import read_data
from training.data.resample import resample
from training.report.graphs import LatentGraphs
from training.report.scale_graphs import Frame, ScaleGraphs, content_of
from training.scales.statistics.energy import EnergyDistance, energy_distance

Array = np.ndarray[Any, np.dtype[Any]]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scales"
# Side of the scan in µm: its files.
FILES = {1: ("PTO_Funakubo0001.h5", "PTO_Funakubo0003.h5"), 3: ("PTO_Funakubo0004.h5",), 5: ("PTO_Funakubo0002.h5",)}
PAIRS = ((1, 3), (3, 5), (1, 5))
LEAST_PX, MOST_PX = 8.0, 64.0
LENGTHS = 5
# Of the baselines: side of a descriptor, share of variance that the components explain, windows of each scan and length they are made of.
DESCRIPTOR, EXPLAINED, FITTED_ON = 16, 0.98, 500


@dataclass(frozen=True)
class Scan:
    """One scan: `values` (h, w) of mean 0 and standard deviation 1."""

    name: str
    values: Array
    pixel_size_nm: float


class Encoder(Protocol):
    """Rotation-invariant latents of windows."""

    name: str

    def latents_of(self, scan: Scan, centres: Array, windows: Array, length_nm: float) -> Array:
        """(n, L) of windows (n,) px at centres (n, 2), by the weights that belong to a length, whatever the windows' own."""


class Components:
    """Whitened principal components of one rotation-averaged description of descriptors, the same for all lengths."""

    def __init__(self, name: str, describe: Callable[[Array], Array], scans: list[Scan]) -> None:
        self.name, self._describe = name, describe
        sides = np.geomspace(LEAST_PX, MOST_PX, 4)
        rows = np.concatenate([describe(_descriptors(scan, *drawn_windows(scan, side, FITTED_ON, 99))) for scan in scans for side in sides])
        self._mean = rows.mean(axis=0)
        _, singular, axes = np.linalg.svd(rows - self._mean, full_matrices=False)
        count = int((np.cumsum(singular**2) / (singular**2).sum() < EXPLAINED).sum()) + 1
        self._axes = axes[:count].T / (singular[:count] / np.sqrt(len(rows)))

    def latents_of(self, scan: Scan, centres: Array, windows: Array, length_nm: float) -> Array:
        """As the protocol says."""
        return (self._describe(_descriptors(scan, centres, windows)) - self._mean) @ self._axes


class Bundled:
    """A bundle's content, each length by the stage nearest to it."""

    def __init__(self, folder: Path) -> None:
        self._graphs = LatentGraphs(folder)
        self._over = lru_cache(maxsize=None)(self._made)
        self.name = f"{self._graphs.manifest.name} version {self._graphs.manifest.version}"
        latent = self._graphs.latent
        self._circles = tuple(index for index in range(latent.content_size) if latent.on_circle(index))

    def latents_of(self, scan: Scan, centres: Array, windows: Array, length_nm: float) -> Array:
        """As the protocol says; windows are all of one length."""
        over = self._over(scan.name, scan.values.tobytes(), scan.values.shape, scan.pixel_size_nm)
        stage = over.nearest_stage(length_nm / scan.pixel_size_nm)
        return content_of(over.encode(stage, centres, float(windows[0])), self._circles)

    def _made(self, name: str, values: bytes, shape: tuple[int, int], pixel_size_nm: float) -> ScaleGraphs:
        return ScaleGraphs(self._graphs, Frame(np.frombuffer(values).reshape(shape).astype(np.float32), name, pixel_size_nm))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, nargs="*", default=[], help="of several window lengths, beside the baselines")
    parser.add_argument("--channel", default="AmplitudeRetrace")
    parser.add_argument("--windows", type=int, default=1000, help="of each scan at each length (default: 1000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DICHROIC_DATA", ROOT.parent / "shared" / "data")))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scans = {side: [read_scan(arguments.data, file, arguments.channel) for file in files] for side, files in FILES.items()}
    every = [scan for each in scans.values() for scan in each]
    encoders: list[Encoder] = [Bundled(folder) for folder in arguments.bundle]
    encoders += [Components("components of the radial profile", radial_profile, every)]
    encoders += [Components("components of the radial spectrum", radial_spectrum, every)]
    for encoder in encoders:
        print(f"{encoder.name} ...", file=sys.stderr)
        rows = [
            row | {"seed": seed, "pair": f"{first} and {second} µm"}
            for first, second in (*PAIRS, (1, 1))
            for seed in arguments.seeds
            for row in compared(encoder, scans[first], scans[second], arguments.windows, seed)
        ]
        told = {"encoder": encoder.name, "channel": arguments.channel, "windows": arguments.windows}
        name = f"cross-{arguments.channel}-{encoder.name}".replace(" ", "_")
        (arguments.out / f"{name}.json").write_text(_written(told, rows), encoding="utf-8")
    page = page_of(arguments.out)
    (arguments.out / "cross.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def read_scan(folder: Path, file: str, channel: str) -> Scan:
    """One channel, by its own mean and standard deviation; files lie in the folder or in its dtmicroscope/."""
    data = read_data(next((path for path in (folder / file, folder / "dtmicroscope" / file) if path.exists()), folder / file), channel)
    values = data.arrays["images"][0].astype(np.float64)
    return Scan(file, (values - values.mean()) / values.std(), float(data.arrays["pixel_size_nm"]))


def compared(encoder: Encoder, first: list[Scan], second: list[Scan], count: int, seed: int) -> list[dict[str, Any]]:
    """A row for each two scans and length."""
    rows = []
    # Of one size: the two scans, once.
    couples = [(first[0], first[1])] if first is second else [(one, other) for one in first for other in second]
    for one, other in couples:
        sizes = (one.pixel_size_nm, other.pixel_size_nm)
        for length in np.geomspace(LEAST_PX * max(sizes), MOST_PX * min(sizes), LENGTHS):

            def distance(
                window_one: float, window_other: float, length: float = float(length), one: Scan = one, other: Scan = other
            ) -> EnergyDistance:
                sides = ((one, window_one, 2 * seed), (other, window_other, 2 * seed + 1))
                return energy_distance(*(_latents(encoder, scan, window, count, draw, length) for scan, window, draw in sides))

            small, large = sorted(length / size for size in sizes)
            physical = distance(length / one.pixel_size_nm, length / other.pixel_size_nm)
            pixels = [distance(window, window) for window in (small, large)]
            rows.append(
                {
                    "scans": [one.name, other.name],
                    "length_nm": float(length),
                    "windows_px": [float(small), float(large)],
                    "physical": physical.unbiased,
                    "pixel": [each.unbiased for each in pixels],
                    "ratio": ratio_of(physical.unbiased, [each.unbiased for each in pixels]),
                }
            )
    return rows


def ratio_of(physical: float, pixels: list[float]) -> float | None:
    """D² at equal length over the geometric mean of those at equal pixels; None where one of these is nought, up to chance."""
    return max(physical, 0.0) / float(np.sqrt(np.prod(pixels))) if min(pixels) > 0 else None


def drawn_windows(scan: Scan, window_px: float, count: int, seed: int) -> tuple[Array, Array]:
    """Centres (n, 2) a whole number of pixels apart, drawn without repetition, and windows (n,)."""
    rows, columns = (int(side - window_px + 1e-9) + 1 for side in scan.values.shape)
    if rows * columns < count:
        raise SystemExit(f"{scan.name} has {rows * columns} windows of {window_px:g} px, fewer than {count}")
    chosen = np.random.default_rng([seed, round(1000 * window_px)]).choice(rows * columns, count, replace=False)
    return np.stack(np.divmod(chosen, columns), axis=1) + window_px / 2, np.full(count, window_px)


def radial_profile(descriptors: Array) -> Array:
    """Descriptors (n, d, d) averaged over all rotations about their middle: (n, d/2) rings."""
    side = descriptors.shape[1]
    offset = np.arange(side) - (side - 1) / 2
    ring = np.hypot(offset[:, None], offset[None]).astype(int)
    return np.stack([descriptors[:, ring == each].mean(axis=1) for each in range(side // 2)], axis=1)


def radial_spectrum(descriptors: Array) -> Array:
    """Mean, and amplitude of the Fourier spectrum averaged over directions: (n, 1 + d/2), blind to rotations and nearly to shifts."""
    side = descriptors.shape[1]
    taper = np.hanning(side + 2)[1:-1]
    mean = descriptors.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2((descriptors - mean) * taper[:, None] * taper)) ** 2
    frequency = np.fft.fftfreq(side, 1 / side)
    ring = np.rint(np.hypot(frequency[:, None], frequency[None])).astype(int)
    spectrum = np.sqrt(np.stack([power[:, ring == each].mean(axis=1) for each in range(1, side // 2 + 1)], axis=1)) / side
    return np.concatenate((mean[:, 0], spectrum), axis=1)


def _written(told: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """JSON with a line for each row."""
    lines = ",\n".join(json.dumps(_rounded(row), ensure_ascii=False) for row in rows)
    return f'{json.dumps(told, ensure_ascii=False)[:-1]}, "rows": [\n{lines}\n]}}\n'


def _rounded(value: Any) -> Any:
    """Numbers to five digits: seeds differ in the second."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _descriptors(scan: Scan, centres: Array, windows: Array) -> Array:
    return resample(scan.values[..., None], centres, windows, DESCRIPTOR)[..., 0]


def _latents(encoder: Encoder, scan: Scan, window_px: float, count: int, seed: int, length_nm: float) -> Array:  # noqa: PLR0917
    return encoder.latents_of(scan, *drawn_windows(scan, window_px, count, seed), length_nm)


if __name__ == "__main__":
    raise SystemExit(main())
