"""Frames of the journey: the lattice with the atom, its way so far, the way planned and the beam; and how the expectation changed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from PIL import Image as Picture

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection

from dichroic.client import Plan

if TYPE_CHECKING:
    from examples.atom_home import Image, Journey, NDArray

BOND = 1.42  # Å
_MILLISECONDS = 700
_LAST_MILLISECONDS = 3000


class Film:
    """Draws one frame after another; `save` writes them."""

    def __init__(self, path: Path) -> None:
        self.path, self.frames = path, list[Picture.Image]()

    @property
    def last(self) -> Path:
        """Where the last frame is written."""
        return self.path.with_suffix(".png")

    def take(self, seen: Image, home: NDArray, plan: Plan, journey: Journey) -> None:
        """A frame of what is seen and planned now."""
        figure, (view, ahead) = plt.subplots(1, 2, figsize=(10.4, 5.0), layout="constrained", gridspec_kw={"width_ratios": [1, 0.9]})
        atoms = seen.atoms_xy_angstrom
        apart = np.linalg.norm(atoms[:, None] - atoms, axis=2)
        pairs = np.argwhere(np.triu(apart < 1.25 * BOND, 1))
        view.add_collection(LineCollection(list(atoms[pairs]), colors="0.8", linewidths=1, zorder=0))
        view.plot(*atoms.T, "o", ms=3, color="0.55", zorder=1, label="carbon")
        way = np.array(journey.places)
        view.plot(*way.T, "-", color="tab:orange", lw=1.5, alpha=0.8, zorder=2, label="the way so far")
        if not plan.done:
            view.plot(*atoms[plan.path_index].T, ":", color="tab:blue", lw=2, zorder=2, label="the way planned")
            view.plot(*plan.beam_xy_angstrom, "P", ms=11, color="tab:green", mec="white", zorder=5, label=f"beam, {plan.dwell_s:g} s")
        view.plot(*home, "s", ms=13, mfc="none", mec="tab:blue", mew=2, zorder=3, label="home")
        view.plot(*way[-1], "o", ms=9, color="tab:red", mec="white", zorder=4, label="silicon")
        view.set(xlabel="x (Å)", ylabel="y (Å), downwards", aspect="equal")
        view.invert_yaxis()
        view.legend(loc="upper left", fontsize=8, framealpha=0.9)
        times = np.array(journey.times_s) - journey.times_s[0]
        view.set_title(f"{times[-1]:.0f} s: " + ("home" if plan.done else f"{len(plan.path_index) - 1} steps to go"))
        expected = [each.expected_s for each in (*journey.plans, plan)]
        ahead.plot(times, times + np.array(expected), "o-", ms=4, color="tab:blue", label="arrival as expected then")
        ahead.plot(times, times, color="0.6", lw=1, label="now")
        ahead.plot(times[-1], times[-1], "o", ms=7, color="tab:red")
        ahead.set(xlabel="time since the first image (s)", ylabel="time of arrival (s)", xlim=(0, None), ylim=(0, None))
        chance = plan.success_probability
        ahead.set_title("arrived" if plan.done else f"home within the deadline with probability {chance:.3f}")
        ahead.grid(alpha=0.3)
        ahead.legend(loc="lower right", fontsize=8)
        drawn = BytesIO()
        figure.savefig(drawn, dpi=80, format="png")
        plt.close(figure)
        self.frames.append(Picture.open(drawn).convert("RGB"))

    def save(self) -> None:
        """Writes the animation and its last frame, each whole or not at all."""
        durations = [_MILLISECONDS] * (len(self.frames) - 1) + [_LAST_MILLISECONDS]
        frames = [frame.quantize(64) for frame in self.frames]
        draft = self.path.with_name(f".{self.path.name}.part")
        frames[0].save(draft, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
        draft.replace(self.path)
        draft = self.last.with_name(f".{self.last.name}.part")
        self.frames[-1].save(draft, format="PNG")
        draft.replace(self.last)
