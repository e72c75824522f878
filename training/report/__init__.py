"""Figures of a bundle: drawn from its graphs with onnxruntime and matplotlib, as anyone who has the bundle can. No torch."""
