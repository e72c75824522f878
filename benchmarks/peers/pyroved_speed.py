"""Training speed and held-out −ELBO beside pyroVED, turn by turn in one run. `python -m benchmarks.peers.pyroved_speed`.

Both train the same structure on the same drawn cards with Adam, the same learning rate, batch and weights of the KL, each from its own first
weights and with its own batches. In each round every trainer runs one epoch, the one that starts changes from round to round, and only the
epochs are timed, by the clock and by the processor time they used (which a busy machine changes less). After each the weights are measured by
one and the same code, all pixels and all classes, on cards that no trainer sees (pyroVED's are copied into our model for it:
pyroved_oracle.py shows that this changes nothing).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.pyroved_models import Case, build_pyroved, import_pyroved, ours_of
from training.data.cards import draw_cards
from training.latent.mixture import Pairs, mixture_bound
from training.latent.model import InvariantVAE
from training.latent.objective import bound
from training.latent.optimise import pieces_of

RESULT = Path(__file__).resolve().parents[1] / "results" / "peers_speed.json"
CASES = {"rvae": Case("rVAE", "r"), "joint_rvae": Case("joint rVAE, K = 4", "r", classes=4)}
BATCH = 64
LEARNING_RATE = 1e-3
# Draws of z per held-out image.
_SAMPLES = 4


@dataclass(frozen=True)
class Variant:
    """Ours: `pixels` drawn of each image in each step, 0: all; `pairs` of class and bin decoded, None: all."""

    name: str
    pixels: int = 0
    pairs: Pairs | None = None


@dataclass
class Trainer:
    """One trainer of a run: `epoch` trains one epoch, `model` gives its weights as our model."""

    name: str
    epoch: Callable[[], None]
    model: Callable[[], InvariantVAE]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    negative_elbo: list[float] = field(default_factory=list)


def variants(case: Case) -> list[Variant]:
    """What of ours is measured: everything drawn, a quarter, a ninth; for joint models also two of the classes in each step."""
    pixels = case.side_px**2
    found = [Variant("ours, all pixels"), *(Variant(f"ours, {pixels // part} pixels", pixels // part) for part in (4, 9))]
    if case.classes:
        found.append(Variant(f"ours, {pixels // 9} pixels, 2 classes", pixels // 9, Pairs(1, 1)))
    return found


def pyroved_trainer(case: Case, images: Tensor, seed: int) -> Trainer:
    """Its own trainer and loader, as its examples use them; joint models by enumeration."""
    pyroved = import_pyroved()
    model = build_pyroved(case, seed=seed)
    trainer = pyroved.trainers.SVItrainer(model, lr=LEARNING_RATE, enumerate_parallel=bool(case.classes), seed=seed, device="cpu")
    loader = pyroved.utils.init_dataloader(images, batch_size=BATCH)
    return Trainer("pyroVED", lambda: trainer.train(loader), lambda: ours_of(model, case))


def own_trainer(case: Case, variant: Variant, images: Tensor, seed: int) -> Trainer:
    """One step is that of training.latent.optimise: the bound, backward, Adam."""
    torch.manual_seed(seed)
    model = InvariantVAE(case.specification)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    values = images[..., None]
    pixels, pose_size = case.side_px**2, len(case.specification.pose_names)

    pairs = max(1, case.classes) if variant.pairs is None else variant.pairs.most_probable + variant.pairs.at_random
    pieces = pieces_of(BATCH, pairs * (variant.pixels or pixels) * max(case.specification.decoder_widths))

    def loss_of(rows: Tensor) -> Tensor:
        noise = torch.randn((len(rows), case.specification.latent_size), generator=generator)
        chosen = torch.randint(pixels, (len(rows), variant.pixels), generator=generator) if variant.pixels else None
        if case.classes:
            return mixture_bound(model, values[rows], noise, chosen=chosen, pairs=variant.pairs, generator=generator).loss(1.0, 1.0, 1.0)
        return bound(model, values[rows], noise, chosen).loss(1.0, 1.0, pose_size)

    def epoch() -> None:
        for rows in torch.randperm(len(values), generator=generator).split(BATCH):
            optimiser.zero_grad()
            for piece in rows.chunk(pieces):
                (len(piece) / len(rows) * loss_of(piece)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return Trainer(variant.name, epoch, lambda: model)


@torch.no_grad()
def held_out(model: InvariantVAE, images: Tensor) -> float:
    """−ELBO, nats per image, the same draws of z for every model."""
    generator = torch.Generator().manual_seed(0)
    estimate: Callable[..., Any] = mixture_bound if model.specification.is_mixture else bound
    totals = []
    for batch in images[..., None].split(BATCH):
        for _ in range(_SAMPLES):
            noise = torch.randn((len(batch), model.specification.latent_size), generator=generator)
            totals.append(estimate(model, batch, noise).total())
    return float(torch.cat(totals).mean())


def run(case: Case, train: Tensor, test: Tensor, *, epochs: int, seed: int) -> list[Trainer]:
    """All trainers, turn by turn; a line on the screen after each turn."""
    trainers = [pyroved_trainer(case, train, seed), *(own_trainer(case, variant, train, seed) for variant in variants(case))]
    for epoch in range(epochs):
        at = epoch % len(trainers)
        for trainer in trainers[at:] + trainers[:at]:
            start, cpu_start = time.perf_counter(), time.process_time()
            trainer.epoch()
            trainer.seconds.append(time.perf_counter() - start)
            trainer.cpu_seconds.append(time.process_time() - cpu_start)
            trainer.negative_elbo.append(held_out(trainer.model(), test))
            print(f"{case.name}, epoch {epoch + 1}, {trainer.name}: {trainer.seconds[-1]:.1f} s, {trainer.negative_elbo[-1]:.1f}", file=sys.stderr)
    return trainers


def figures(trainers: list[Trainer], images: int) -> list[dict[str, Any]]:
    """Medians; the ratio is the median over rounds of pyroVED's time over this one's in the same round."""
    reference = trainers[0]
    return [
        {
            "trainer": trainer.name,
            "images_per_s": round(images / statistics.median(trainer.seconds), 1),
            "ratio": _ratio(reference.seconds, trainer.seconds),
            "images_per_cpu_s": round(images / statistics.median(trainer.cpu_seconds), 1),
            "cpu_ratio": _ratio(reference.cpu_seconds, trainer.cpu_seconds),
            "negative_elbo": [round(value, 2) for value in trainer.negative_elbo],
            "epochs_not_worse": sum(own <= theirs for own, theirs in zip(trainer.negative_elbo, reference.negative_elbo, strict=True)),
            "seconds": [round(value, 3) for value in trainer.seconds],
            "cpu_seconds": [round(value, 3) for value in trainer.cpu_seconds],
        }
        for trainer in trainers
    ]


def _ratio(reference: list[float], own: list[float]) -> float:
    return round(statistics.median(theirs / ours for theirs, ours in zip(reference, own, strict=True)), 2)


def table(name: str, rows: list[dict[str, Any]]) -> str:
    """One line for each trainer; −ELBO after the first, the middle and the last epoch."""
    epochs = len(rows[0]["negative_elbo"])
    shown = sorted({1, (epochs + 1) // 2, epochs})
    head = [name, "images/s", "times pyroVED", "by processor time", *(f"held-out −ELBO, epoch {epoch}" for epoch in shown), "epochs not worse"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        values = [f"{row['negative_elbo'][epoch - 1]:.1f}" for epoch in shown]
        cells = [
            row["trainer"],
            f"{row['images_per_s']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['cpu_ratio']:.2f}",
            *values,
            f"{row['epochs_not_worse']} of {epochs}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Images per second and held-out −ELBO per epoch of rVAE and joint rVAE, beside pyroVED.")
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=list(CASES), help="models (default: all)")
    parser.add_argument("--epochs", type=int, default=10, help="rounds (default: 10)")
    parser.add_argument("--train-per-suit", type=int, default=256, help="training cards of each suit (default: 256)")
    parser.add_argument("--test-per-suit", type=int, default=64, help="held-out cards of each suit (default: 64)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every trainer (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT, help="JSON file (default: benchmarks/results/peers_speed.json)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    drawn = {"angle_deg": 60.0, "shear_deg": 1.0, "shift": 0.0, "seed": arguments.seed}
    train = torch.from_numpy(draw_cards(arguments.train_per_suit, **drawn).arrays["images"])
    test = torch.from_numpy(draw_cards(arguments.test_per_suit, **drawn, stream="test").arrays["images"])
    results = {}
    for key in arguments.cases:
        case = CASES[key]
        results[key] = figures(run(case, train, test, epochs=arguments.epochs, seed=arguments.seed), len(train))
        print(table(case.name, results[key]) + "\n")
    facts = {
        "images": {"train": len(train), "held_out": len(test), "side_px": 48, **drawn},
        "hidden": [128, 128],
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "epochs": arguments.epochs,
        "threads": arguments.threads,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("pyroved", "pyro-ppl", "torch")},
        "cases": results,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
