"""Which of several processes this is, known before anything is launched."""

import os

from vaegan.errors import RequestError

# A rank counts only beside a number of processes: another program may have left it alone in the environment.
_RANKS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"), ("LOCAL_RANK", "WORLD_SIZE"))


def is_first_process() -> bool:
    """Whether this process is the one that writes to the screen, by the launchers' variables before anything is launched."""
    for rank, size in _RANKS:
        count = os.environ.get(size, "")
        if rank in os.environ and count.isdecimal() and int(count) > 1:
            return os.environ[rank] == "0"
    return True


def is_launched() -> bool:
    """Whether something that starts processes on several machines (torchrun, SLURM, MPI, a user's script) left its variables."""
    names = ("RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LSB_JOBID")
    return any(name in os.environ for name in names)


def number_of_processes(variable: str, otherwise: int) -> int:
    """What a launcher left in a variable; `otherwise` where it is not set."""
    value = os.environ.get(variable, str(otherwise))
    if not value.isdecimal() or int(value) < 1:
        raise RequestError(
            f"The variable {variable} is {value!r}; it is for launchers like torchrun: unset it, or give 1 or more."
        )
    return int(value)
