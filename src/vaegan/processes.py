"""Which of several processes this is, known before anything is launched; and the start of the others on this machine."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from vaegan.errors import RequestError

# A rank counts only beside a number of processes: another program may have left it alone in the environment.
_RANKS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"), ("LOCAL_RANK", "WORLD_SIZE"))
_STARTER = "VAEGAN_STARTED_BY"  # which process started this one


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


def check_can_start_others() -> None:
    """Refuses several processes where there is no file to start them from, as in a notebook: RequestError."""
    if not Path(getattr(sys.modules["__main__"], "__file__", None) or "").is_file():
        raise RequestError(
            "Several processes run the same program, and a notebook or standard input is no file that can be run again: "
            "put the call into a script of its own, or use vaegan train --devices."
        )


def start_others(count: int, port: int) -> list[subprocess.Popen[bytes]]:
    """Starts this program again for each of `count` processes but this one, which is the first.

    They find each other by the variables that torchrun would set; `port` is where the first one listens.
    """
    check_can_start_others()
    main = sys.modules["__main__"]
    again = ["-m", main.__spec__.name] if main.__spec__ is not None else [str(Path(str(main.__file__)).absolute())]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(count), NODE_RANK="0", LOCAL_RANK="0")
    variables = dict(os.environ) | {_STARTER: str(os.getpid())}
    return [
        subprocess.Popen([sys.executable, *again, *sys.argv[1:]], env=variables | {"LOCAL_RANK": str(rank)})
        for rank in range(1, count)
    ]


def was_started_by_first() -> bool:
    """Whether `start_others` started this process."""
    return _STARTER in os.environ


def end_with_starter() -> None:
    """Ends this process within a second after the one that started it: alone it would wait for the first for hours."""
    starter = int(os.environ[_STARTER])

    def watch() -> None:
        while os.getppid() == starter:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
