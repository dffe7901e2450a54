"""Losses, loop, resume, recipes."""
