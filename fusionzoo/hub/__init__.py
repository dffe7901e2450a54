"""Records, load, save, verify, convert."""
