"""Which of several processes this is, known before anything is launched."""

import os


def is_first_process() -> bool:
    """Whether this process is the one that talks, told by the launchers' variables before anything is launched."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"
