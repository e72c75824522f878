"""Data for training: readers, patches, spatial splits, and data sets drawn here. Imports no torch (extra `readers`)."""
