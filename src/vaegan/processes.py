"""Which of several processes this is, known before anything is launched."""

import os


def is_first_process() -> bool:
    """Whether this process is the one that talks, told by the launchers' variables before anything is launched."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((os.environ[name] for name in names if name in os.environ), "0") == "0"


def is_launched() -> bool:
    """Whether something that starts processes on several machines (torchrun, SLURM, MPI, a user's script) left its variables."""
    names = ("RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LSB_JOBID")
    return any(name in os.environ for name in names)
