"""Pure functions and mergeable accumulators over tensors."""
