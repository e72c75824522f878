"""DIVIDE: mechanisms' encoders and a structured Gaussian process, who caused what, with calibrated uncertainty. float64 throughout."""
