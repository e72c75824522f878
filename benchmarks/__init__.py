"""Measurements, each one command. See README.md here."""
