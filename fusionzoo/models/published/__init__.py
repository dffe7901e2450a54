"""Published architectures ported whole, one file each."""
