"""Training speed and held-out −ELBO on a GPU, float32 beside bfloat16, turn by turn. `python -m benchmarks.gpu_training`.

A joint rVAE of drawn cards, 48 × 48, K = 4, decoder [128, 128], as issue 3 asks for. Each round trains one epoch in each precision, the one that
starts changes from round to round; after each the weights are measured in float32, all pixels and classes, on cards never seen. Needs the extra
`training` with a CUDA build of torch. Where there is no usable GPU it says so, exits 0 and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.data.cards import draw_cards
from training.latent.checkpoint import CheckpointStore
from training.latent.evaluate import held_out_bound
from training.latent.optimise import Fit
from training.latent.specification import ModelSpecification
from training.recipe import Training

RESULT = Path(__file__).resolve().parent / "results" / "gpu_training.json"
PRECISIONS = ("float32", "bfloat16")
SPECIFICATION = ModelSpecification(
    48,
    48,
    invariances=("rotation",),
    class_source="joint",
    class_names=("0", "1", "2", "3"),
    encoder_channels=(),
    encoder_widths=(128, 128),
    decoder_widths=(128, 128),
)


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--per-suit", type=int, default=1000)
    parser.add_argument("--pixels", type=int, nargs="+", default=[0, 256], help="of 2304 in each step; 0: all")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU that torch can use, nothing measured")
        return
    found = {
        "device": torch.cuda.get_device_name(),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "batch": arguments.batch,
        "rows": [
            row
            for pixels in arguments.pixels
            for row in side_by_side(pixels, arguments.batch, arguments.per_suit, arguments.rounds, torch.device("cuda"))
        ],
    }
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{found['device']}, {found['date']}, torch {found['torch']}, batch {found['batch']}")
    print(f"{'pixels':>8}{'precision':>12}{'images/s':>12}{'held-out -ELBO':>18}")
    for row in found["rows"]:
        print(f"{row['pixels'] or 'all':>8}{row['precision']:>12}{row['images_per_s']:>12.0f}{row['negative_elbo'][-1]:>18.1f}")


def side_by_side(pixels: int, batch: int, per_suit: int, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """One row for each precision: median images/s over the rounds, and the bound after each."""
    options = {"angle_deg": 120.0, "shear_deg": 1.0, "shift": 0.0, "seed": 0}
    images = draw_cards(n_per_suit=per_suit, stream="train", **options).arrays["images"][..., None]
    held_out = draw_cards(n_per_suit=50, stream="test", **options).arrays["images"][..., None]
    with tempfile.TemporaryDirectory() as folder:
        fits = {}
        for precision in PRECISIONS:
            recipe = {"epochs": rounds, "batch_size": batch, "pixels_per_step": pixels, "gpu_precision": precision}
            store = CheckpointStore(Path(folder) / precision, "benchmark")
            fits[precision] = Fit(SPECIFICATION, Training.model_validate(recipe), images, held_out[:0], seed=0, store=store, device=device)
        seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        bounds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        unseen: tqdm[None] = tqdm(disable=True)
        for turn in tqdm(range(rounds), desc="rounds", disable=None):
            for precision in PRECISIONS if turn % 2 == 0 else reversed(PRECISIONS):
                started = time.perf_counter()
                fits[precision].one_epoch(unseen)  # ends by reading the loss: the device has finished
                seconds[precision].append(time.perf_counter() - started)
                bounds[precision].append(float(held_out_bound(fits[precision].model, held_out, seed=0).total.mean()))
    rates = {precision: len(images) / statistics.median(seconds[precision][1:] or seconds[precision]) for precision in PRECISIONS}
    return [{"pixels": pixels, "precision": p, "images_per_s": rates[p], "negative_elbo": bounds[p]} for p in PRECISIONS]


if __name__ == "__main__":
    main()
