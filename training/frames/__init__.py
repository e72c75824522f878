"""Whole images: their windows as descriptors, in graphs that take a frame."""
