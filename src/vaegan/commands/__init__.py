"""One file a command: its options as a dataclass `Options`, and a function `run`. Heavy imports stand inside functions."""
