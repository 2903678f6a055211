"""Distances between sets of images: pure functions on tensors."""
