"""One model for many length scales: progressive training over window lengths (Raghavan et al., arXiv 2408.00229), and what is told of each."""
