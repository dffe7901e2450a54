"""Bundled checkpoints, one folder each, laid out like a Hub repository; installed as the package `fusionzoo.weights`."""
