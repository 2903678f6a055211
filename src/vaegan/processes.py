"""Which of several processes this is, known before anything is launched."""

import os

from vaegan.errors import RequestError

# A rank means something beside the number of processes that it is one of; some other program may have left it alone.
RANKS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"), ("LOCAL_RANK", "WORLD_SIZE"))


def is_first_process() -> bool:
    """Whether this process is the one that talks, told by the launchers' variables before anything is launched."""
    ranks = (os.environ[rank] for rank, size in RANKS if rank in os.environ and _is_several(os.environ.get(size, "")))
    return next(ranks, "0") == "0"


def _is_several(number: str) -> bool:
    return number.isdecimal() and int(number) > 1


def is_launched() -> bool:
    """Whether something that starts processes on several machines (torchrun, SLURM, MPI, a user's script) left its variables."""
    names = ("RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LSB_JOBID")
    return any(name in os.environ for name in names)


def number_of_processes(variable: str, otherwise: int) -> int:
    """What a launcher left in a variable; `otherwise` where it is not set.

    Raises:
        RequestError: if it is no number of processes.
    """
    value = os.environ.get(variable, str(otherwise))
    if not value.isdecimal() or int(value) < 1:
        raise RequestError(
            f"The variable {variable} is {value!r}; it is for launchers like torchrun: unset it, or give 1 or more."
        )
    return int(value)
