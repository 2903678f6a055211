"""The machinery around a recipe: devices, loop, checkpoints, journal. Knows no algorithm."""
