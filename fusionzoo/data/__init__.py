"""Datasets, transforms and the embedded planted set."""
