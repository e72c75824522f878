"""From a fitted model to a bundle: graphs, one file of weights, parity with torch, golden answers, manifest and model card."""
