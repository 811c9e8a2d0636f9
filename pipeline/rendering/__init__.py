"""Scenes in, noisy renders out."""
