"""Bundled checkpoints, a folder each, laid out like a Hub repository; installed as the package `fusionzoo.weights`."""
