"""FerroSIM: a lattice of polarisation with disorder, driven by a field (science 3.4, [ours]); batches of simulations at once, numpy alone."""

from training.data.ferrosim.draws import STREAMS, TARGETS, draw_ferrosim, triangle
from training.data.ferrosim.integrate import Run, simulate, stable_step
from training.data.ferrosim.landau import MODES, Landau, landau
from training.data.ferrosim.lattice import Lattices, force, free_energy, uniform_lattices

__all__ = [
    "MODES",
    "STREAMS",
    "TARGETS",
    "Landau",
    "Lattices",
    "Run",
    "draw_ferrosim",
    "force",
    "free_energy",
    "landau",
    "simulate",
    "stable_step",
    "triangle",
    "uniform_lattices",
]
