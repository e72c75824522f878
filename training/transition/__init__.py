"""Where a dopant atom hops under the beam: rates learned from transitions, and the Markov chain that they make over the sites around."""
