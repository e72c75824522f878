"""The demo's second half: drawn cards told apart with few labels and without any, and a patch whose hysteresis loop is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dichroic import Client
from training.data.cards import SUITS, draw_cards
from training.data.patch_spectra import draw_patch_spectra

NDArray = np.ndarray[Any, np.dtype[Any]]
MODELS = {"cards_joint", "cards_semi", "patch_spectrum"}
_PER_SUIT, _PATCHES, _SEED = 25, 4, 2024


def ask_family(address: str, out: Path) -> bool:
    """Asks the models of cards and of patches about fresh drawings, prints what they answer, and draws it.

    Returns:
        Whether the server has these models; else nothing is asked.
    """
    with Client(address) as client:
        if not {line.model.name for line in client.models() if line.state == "ready"} >= MODELS:
            return False
    cards = draw_cards(_PER_SUIT, angle_deg=120, shear_deg=1, shift=0, seed=_SEED, stream="test").arrays
    patches = draw_patch_spectra(_PATCHES, seed=_SEED, stream="test").arrays
    with Client(address) as client:
        taught = client.classify("cards_semi", cards["images"])
        found = client.encode("cards_joint", cards["images"])
        content = client.encode("patch_spectrum", patches["images"]).content
        loops = client.decode("patch_spectrum", content=content).spectra
        upright = client.decode("cards_joint", class_index=np.arange(4), angle_rad=0.0).images
    if found.class_index is None or loops is None or upright is None:
        raise RuntimeError("the committed bundles cards_joint and patch_spectrum have classes, spectra and images")
    right = np.mean(taught.class_index == cards["labels"])
    print(f"\n{len(cards['images'])} freshly drawn cards at ±120°")
    print(f"  cards_semi, taught with 200 labelled cards of each suit within ±12°: {right:.0%} named rightly")
    print("  cards_joint, without labels: which of its classes each suit went to")
    for suit, name in enumerate(SUITS):
        counts = np.bincount(found.class_index[cards["labels"] == suit], minlength=4)
        print(f"    {name:<8}" + "  ".join(f"class {k}: {count}" for k, count in enumerate(counts) if count))
    error = np.sqrt(np.mean((loops - patches["spectra"]) ** 2))
    print(f"{_PATCHES} patches with a domain wall, patch_spectrum: predicted loops are {error:.2f} pm (rms) from those drawn, noise included")
    _draw(out, upright, patches, loops)
    return True


def _draw(out: Path, upright: NDArray, patches: dict[str, NDArray], loops: NDArray) -> None:
    made = Figure(figsize=(9, 5.2), layout="constrained", dpi=120)
    made.suptitle("What the other demo models answer")
    above, below = made.subfigures(2, 1, height_ratios=(1, 1.4))
    above.suptitle("cards_joint: its four classes, found without labels, at angle 0", fontsize=9)
    for index, axes in enumerate(above.subplots(1, 4)):
        axes.imshow(upright[index], cmap="cividis")
        axes.set_title(f"class {index}", fontsize=8)
        axes.set_axis_off()
    below.suptitle("patch_spectrum: a patch's hysteresis loop from its image alone", fontsize=9)
    for index, (top, bottom) in enumerate(below.subplots(2, len(loops), height_ratios=(1, 1.2)).T):
        top.imshow(patches["images"][index], cmap="cividis")
        top.set_axis_off()
        volts = patches["truth_voltage_v"]
        bottom.plot(volts, patches["spectra"][index], ".", markersize=3, color="#0072B2", label="drawn")
        bottom.plot(volts, loops[index], color="#D55E00", label="predicted")
        bottom.tick_params(labelsize=7)
        if index == 0:
            bottom.set_ylabel("piezoresponse (pm)", fontsize=8)
            bottom.legend(fontsize=6, frameon=False, loc="lower right")
        bottom.set_xlabel("voltage (V)", fontsize=8)
    made.savefig(out)
