"""Images from anywhere to batches in [-1, 1]."""
