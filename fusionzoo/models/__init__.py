"""Encoders, decoders, the two-stream model and the named models."""
