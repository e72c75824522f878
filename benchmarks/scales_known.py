"""Issue 6's known answers across length scales, on drawn stripes and white noise. `python -m benchmarks.scales_known`.

Stripes of period L along one axis: the second axis's share of what the latent explains is (1 − |sinc(2w/L)|)/2 and first comes up to ½ at w = L/2,
where two units are active. White noise: a descriptor's pixel variance falls with a log-log slope of −2 for w ≥ 1.5 d, and no unit is active for
w ≥ d. Derived for a linear VAE, so the model here is nearly one: one hidden layer of tanh and a decoder's noise fixed at twice the images' own
standard deviation. The fits are those of recipes/scales_known_stripes.toml and recipes/scales_known_noise.toml, with seeds and periods of their own.
Needs the extra `training`. Resumable: what is done is read from the JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rows import read_rows, write_rows
from benchmarks.scales_known_page import page_of
from training.data.resample import resample
from training.data.stripes import draw_noise
from training.data.windows import grid_centres
from training.latent.pipeline import Request, settle_torch
from training.recipe import Recipe, read_recipe
from training.recipe_scales import Scales, StripesData
from training.scales.figures import StageFigures, stage_figures
from training.scales.fit import fit_legs, legs_of
from training.scales.prepare import Stage, prepare_scales, standardised
from training.scales.statistics.explained import second_axis_share, stripes_second_axis_share

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scales"
# By the kind of case.
RECIPES = {"stripes": "scales_known_stripes", "noise": "scales_known_noise"}
PERIODS, SEEDS = (12.0, 16.0, 24.0), (0, 1, 2)
# Windows whose variance is fitted by a line, over the descriptor's side.
SLOPE_FROM, SLOPE_TO, SLOPE_COUNT = 1.5, 6.0, 9
# Images and windows of a short fit, and its epochs.
QUICK_IMAGES, QUICK_WINDOWS, QUICK_EPOCHS = 8, 200, 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("stripes", "noise"), help="one kind of case")
    parser.add_argument("--period", type=float, nargs="+", help="stripes of these periods alone")
    parser.add_argument("--seed", type=int, nargs="+", help="these seeds alone")
    parser.add_argument("--quick", action="store_true", help="one period and one seed of each kind, short fits of few windows: shows that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    settle_torch(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / ("known_quick.json" if arguments.quick else "known.json")
    rows = read_rows(path)
    cases: list[tuple[str, float | None, int]] = [("stripes", period, seed) for period in PERIODS for seed in SEEDS]
    cases += [("noise", None, seed) for seed in SEEDS]
    for kind, period, seed in cases:
        if any((row["kind"], row["period_px"], row["seed"]) == (kind, period, seed) for row in rows):
            continue
        if (arguments.only and kind != arguments.only) or (arguments.seed and seed not in arguments.seed):
            continue
        if arguments.period and period not in arguments.period:
            continue
        if arguments.quick and (period not in (None, PERIODS[0]) or seed != SEEDS[0]):
            continue
        print(f"{kind}, period {period}, seed {seed} ...", file=sys.stderr, flush=True)
        began = time.process_time()
        found = stripes_case(period, seed, quick=arguments.quick) if period is not None else noise_case(seed, quick=arguments.quick)
        rows.append({"kind": kind, "period_px": period, "seed": seed, **found, "cpu_s": round(time.process_time() - began, 1)})
        write_rows(path, rows)
    recipe = recipe_of("noise", SEEDS[0])
    assert isinstance(recipe.model.noise_sd, float)  # noqa: S101 (fixed, and the same in both)
    page = page_of(rows, descriptor=scales_of(recipe).descriptor_px, noise_sd=recipe.model.noise_sd)
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def recipe_of(kind: str, seed: int, *, period: float | None = None, quick: bool = False) -> Recipe:
    """The recipe of a case: as the file says, but for the seed, of stripes the period with windows in proportion, and a short fit if `quick`.

    Args:
        kind: one of RECIPES.
        seed: of the fit and of the drawing.
        period: of stripes, pixels; None: the file's.
        quick: few images and windows, few epochs.
    """
    recipe = read_recipe(ROOT / "recipes" / f"{RECIPES[kind]}.toml")
    data, scales = recipe.data, scales_of(recipe)
    assert isinstance(data, StripesData)  # noqa: S101 (one of RECIPES)
    data = data.model_copy(update={"seed": seed})
    if period is not None:
        assert data.period_px is not None  # noqa: S101 (stripes have one)
        windows = tuple(window / data.period_px * period for window in scales.windows_px)
        data, scales = data.model_copy(update={"period_px": period}), scales.model_copy(update={"windows_px": windows})
    training = recipe.training
    if quick:
        data, scales = data.model_copy(update={"images": QUICK_IMAGES}), scales.model_copy(update={"patches_per_scale": QUICK_WINDOWS})
        training = training.model_copy(update={"epochs": QUICK_EPOCHS})
    return recipe.model_copy(update={"seed": seed, "data": data, "scales": scales, "training": training})


def scales_of(recipe: Recipe) -> Scales:
    """Its [scales]."""
    assert recipe.scales is not None  # noqa: S101 (one of RECIPES)
    return recipe.scales


def stripes_case(period: float, seed: int, *, quick: bool) -> dict[str, Any]:
    """One progressive fit on stripes along the rows."""
    fitted = _fitted(recipe_of("stripes", seed, period=period, quick=quick))
    return {
        "stages": [
            _stage(figures, stage) | {"share": second_axis_share(figures.axes), "known": float(stripes_second_axis_share(_window(stage), period))}
            for stage, figures in fitted
        ]
    }


def noise_case(seed: int, *, quick: bool) -> dict[str, Any]:
    """One progressive fit on white noise, and the slope of the descriptors' variance without any model."""
    recipe = recipe_of("noise", seed, quick=quick)
    fitted, size = _fitted(recipe), scales_of(recipe).descriptor_px
    windows, variances = descriptor_variance(seed, size)
    slope = float(np.polyfit(np.log(windows), np.log(variances), 1)[0])
    step = windows / size
    known = float(np.polyfit(np.log(windows), np.log(((step - 1 / 3) / step**2) ** 2), 1)[0])
    told = {"windows_px": windows.tolist(), "variance": variances.tolist(), "slope": slope, "slope_of_boxes": known}
    return {"stages": [_stage(figures, stage) for stage, figures in fitted]} | told


def descriptor_variance(seed: int, size: int) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Windows (m,), pixels, and the pixel variance (m,) of white noise's descriptors, size × size px, each image by its own standard deviation."""
    images = [standardised(image[..., None]) for image in draw_noise(4, side=256, seed=1000 + seed).arrays["images"]]
    windows = np.geomspace(SLOPE_FROM * size, SLOPE_TO * size, SLOPE_COUNT)
    variances = []
    for window in windows:
        centres = grid_centres(images[0].shape, float(window), float(window) / 4)
        variances.append(np.mean([np.mean(resample(image, centres, np.full(len(centres), window), size) ** 2) for image in images]))
    return windows, np.asarray(variances)


def _fitted(recipe: Recipe) -> list[tuple[Stage, StageFigures]]:
    stages = prepare_scales(Request(recipe, (), None, Path(), "cpu", resume=False))
    with tempfile.TemporaryDirectory() as folder:
        legs = legs_of(scales_of(recipe).order, len(stages), recipe.training.epochs)
        fitted = fit_legs(recipe, stages, legs, folder=Path(folder), fingerprint="known", device=torch.device("cpu"), resume=False)
    return [(stage, stage_figures(model, stage, recipe.seed)) for stage, model in zip(stages, fitted.models, strict=True)]


def _stage(figures: StageFigures, stage: Stage) -> dict[str, Any]:
    variance = sorted((float(value) for value in figures.use.variance), reverse=True)
    return {
        "window_px": _window(stage),
        "active": figures.use.active_count,
        "variance": variance,
        "explained": figures.explained,
        "held_out": len(stage.prepared.held_out.images),
    }


def _window(stage: Stage) -> float:
    assert stage.window_px is not None  # noqa: S101 (lengths were given in pixels)
    return stage.window_px


if __name__ == "__main__":
    sys.exit(main())
