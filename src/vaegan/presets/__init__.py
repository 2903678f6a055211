"""TOML files with settings, each stamped with what it reached, at what cost, on what."""
