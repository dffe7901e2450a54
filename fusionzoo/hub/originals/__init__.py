"""Official checkpoint formats -> ours: one file a family of weights."""
