"""Which random stream of a seed serves which purpose: what is drawn for one shares nothing with what is drawn for another."""

from __future__ import annotations

# Of transitions: their number is the first word of a key, a part of the drawing the second.
STREAMS = ("train", "validation", "test")
# First words of all other keys.
MIXTURE, LATTICE, EPISODES, RUN, MICROSCOPE, AGENT = range(len(STREAMS), len(STREAMS) + 6)
