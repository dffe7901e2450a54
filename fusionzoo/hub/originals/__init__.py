"""Official checkpoint keys -> ours, one file a family."""
