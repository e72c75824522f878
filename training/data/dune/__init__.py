"""A silicon atom in graphene under an electron beam (science 4): rates, simulators and what is true of them; numpy alone."""

from training.data.dune.environment import DuneEnvironment
from training.data.dune.episodes import Agent, AgentObservation, Episodes, Outcomes
from training.data.dune.families import draw_dune
from training.data.dune.greedy import PRIOR_PEAK_POSITION, greedy_at, greedy_on_neighbour, random_beam
from training.data.dune.lattice import Lattice
from training.data.dune.microscope import Imperfections, Microscope, Observation
from training.data.dune.rates import BOND_LENGTH, BeyondCarbon, Component, ContextScaling, GaussianMixture, HumanPrior, RateModel, Simple
from training.data.dune.simulator import Simulator, run_agents, run_episodes
from training.data.dune.stem import draw_stem, find_atoms
from training.data.dune.streams import STREAMS
from training.data.dune.transitions import draw_transitions
from training.data.dune.truth import first_hop_probabilities, occupancy_probabilities, outcome_probabilities

__all__ = [
    "BOND_LENGTH",
    "PRIOR_PEAK_POSITION",
    "STREAMS",
    "Agent",
    "AgentObservation",
    "BeyondCarbon",
    "Component",
    "ContextScaling",
    "DuneEnvironment",
    "Episodes",
    "GaussianMixture",
    "HumanPrior",
    "Imperfections",
    "Lattice",
    "Microscope",
    "Observation",
    "Outcomes",
    "RateModel",
    "Simple",
    "Simulator",
    "draw_dune",
    "draw_stem",
    "draw_transitions",
    "find_atoms",
    "first_hop_probabilities",
    "greedy_at",
    "greedy_on_neighbour",
    "occupancy_probabilities",
    "outcome_probabilities",
    "random_beam",
    "run_agents",
    "run_episodes",
]
