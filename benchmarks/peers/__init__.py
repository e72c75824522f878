"""Dichroic beside the packages that people use today, in an environment of their own (README.md here)."""
