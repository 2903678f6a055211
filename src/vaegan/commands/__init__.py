"""One file a family of commands: a dataclass of options for each, and a function of its name. Heavy imports stand inside."""
