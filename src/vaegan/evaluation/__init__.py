"""Evaluation: what a finished run is worth, with floors and intervals. Only `evaluate` reads the test side."""

from vaegan.evaluation.evaluate import DEFAULT_COUNT, EVALUATION_FILE, FULL_COUNT, evaluate

__all__ = ["DEFAULT_COUNT", "EVALUATION_FILE", "FULL_COUNT", "evaluate"]
