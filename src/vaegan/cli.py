"""The command line: the table of commands, and exit codes. Only what a command needs is imported, and only when it is called."""

import errno
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from importlib import import_module
from types import FrameType

from vaegan.errors import RequestError, VaeganError, did_you_mean, one_line
from vaegan.processes import is_first_process

OUT_OF_MEMORY = "Out of memory. Try a smaller --size, --vae.batch-size, --vae.samples, --gan.batch-size or --joint.batch-size."
WITHOUT_MEMORY = ("memory", "could not create a primitive", "failed to map segment")  # what such errors of torch say

COMMANDS = {
    "preview": ("DATA", "see what training will see; nothing is trained", "", "preview"),
    "train": ("DATA", "train a VAE and let it grow into a GAN", "[--minutes 4]", "train"),
    "train --resume": ("RUN", "go on with a run, or train it longer", "[--minutes 10]", "train"),
    "sample": ("RUN", "new images", "[-n 64 --out samples.png]", "images"),
    "reconstruct": ("RUN IMAGE..", "what the model keeps of your images", "[--out reconstructions.png]", "images"),
    "vary": ("RUN IMAGE..", "images that resemble yours", "[-n 9 --strength 0.5]", "images"),
    "interpolate": ("RUN A B", "the way between two images or seeds", "[--out way.gif]", "walks"),
    "morph": ("RUN IMAGE..", "an endless loop through several", "[--out morph.gif]", "walks"),
    "similar": ("RUN IMAGE", "the most similar images of a folder", "--in DATA", "search"),
    "direction": ("RUN", 'learn what "smile" is, and save it', "--name smile --positive DIR --negative DIR", "directions"),
    "edit": ("RUN IMAGE..", "more or less of what was learned", "--direction smile=1.5", "directions"),
    "restore": ("RUN IMAGE..", "fill holes, enlarge, colour, denoise", "--mask FILE|--scale 2|--grey|--noise 0.2", "restore"),
    "outliers": ("RUN DATA", "what the model explains worst", "", "search"),
    "duplicates": ("RUN DATA", "images that show the same", "", "search"),
    "encode": ("RUN DATA", "latents for other tools", "[--out latents.npz]", "images"),
    "decode": ("RUN LATENTS", "and back", '[--text "0.3,-1.2,..."]', "images"),
    "evaluate": ("RUN [DATA]", "how good it is, against images nobody trained on", "", "evaluate"),
    "explore": ("RUN", "its latent space in your browser", "[--data DATA --port 8484]", "export"),
    "export": ("RUN", "networks that run without this package", "[--to onnx|html|export]", "export"),
    "report": ("RUN", "one page about a run, for any browser", "[--out report.html]", "evaluate"),
    "compare": ("RUN RUN..", "several runs on one page, and which differences exceed the noise", "", "evaluate"),
    "info": ("RUN", "what a run is and how it went", "", "evaluate"),
    "study": ("NAME DATA", "an experiment of the sources, side by side and in words", "[--list]", "train"),
    "cache": ("", "what is kept of your images, and how much", "[--clear]", "cache"),
    "doctor": ("", "is this machine ready, and how fast is it", "", "preview"),
}
"""What every command is given, what it does, an option or two, and its module in vaegan.commands."""

HELP = """\
usage: vaegan COMMAND [options]     a folder of images becomes a VAE, then a GAN

{commands}

DATA is a folder, a zip or tar, MNIST's IDX files, an .npy/.npz, or the word faces (8,300 drawn ones, nothing needed).
RUN is a folder made by train; runs/last is the newest.
vaegan COMMAND --help lists a command's options; vaegan --version the version.
"""


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits: 0 well, 2 for a wrong request, 1 for a failure, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text that can be written
    arguments = sys.argv[1:] if arguments is None else arguments
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    # Threads that wait for each other spin for a moment and then sleep. Without spinning each of a step's many short waits costs
    # a sleep (186 images/s instead of 284); spinning for long starves them as soon as anything else runs.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        _end_like_ctrl_c()
        _run(name, rest)
    except VaeganError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped.", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left; nobody reads on
        sys.exit(1)
    except OSError as error:
        _fail(*_in_words(error))
    except MemoryError:
        _fail(OUT_OF_MEMORY, 1)
    except (RuntimeError, ImportError) as error:
        # Torch has no common type for it: "CUDA out of memory", "DefaultCPUAllocator: can't allocate memory", ...
        if not any(words in str(error).lower() for words in WITHOUT_MEMORY):
            raise
        _fail(OUT_OF_MEMORY, 1)


def _end_like_ctrl_c() -> None:
    """Lets SIGTERM and a closed window end a command as Ctrl-C does: in words, and with nothing half-written left behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # The other processes of a training write nothing: they end at once, wherever they wait for the first.
    if is_first_process() and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) == signal.SIG_DFL:  # else the user has said not to mind it (nohup)
                signal.signal(number, stop)


def _run(name: str, rest: list[str]) -> None:
    if name in ("-h", "--help", "help"):
        rows = (
            f"{f'{called} {given}':23} {does:40} {options}".rstrip() for called, (given, does, options, _) in COMMANDS.items()
        )
        print(HELP.format(commands="\n".join(f"  {row}" for row in rows)), end="", flush=True)
        return
    if name in ("-V", "--version"):
        import vaegan

        print(f"vaegan {vaegan.__version__}", flush=True)
        return
    names = [called for called in COMMANDS if " " not in called]
    if name not in names:
        meant = did_you_mean(name, names) or f" The commands: {', '.join(names)}."
        raise RequestError(f"There is no command {name!r}.{meant} See vaegan --help.")
    from vaegan.commands.options import parse

    module = import_module(f"vaegan.commands.{COMMANDS[name][-1]}")
    try:
        getattr(module, name)(parse(getattr(module, f"{name.capitalize()}Options"), f"vaegan {name}", rest))
    finally:
        if "vaegan.console" in sys.modules:  # what no command has imported has shown nothing
            sys.modules["vaegan.console"].end_live_line()


def _in_words(error: OSError) -> tuple[str, int]:
    """What the system refused, and the exit code: 2 where the name is at fault."""
    from vaegan.files import FULL

    place, reason = str(error.filename or "The system"), error.strerror or str(error)
    if error.errno == errno.ENAMETOOLONG:
        return f"{place[:40]}...: the name is longer than this file system takes; give a shorter one.", 2
    if error.errno == errno.ELOOP:
        return f"{place}: this link leads back to itself; give the place that it should lead to.", 2
    return f"{place}: {reason}" + (". Make room there, or give another place." if error.errno in FULL else ""), 1


def _fail(message: str, code: int) -> None:
    if is_first_process():
        with suppress(OSError):  # nobody may read it
            print(f"vaegan: {one_line(message)}", file=sys.stderr)
    sys.exit(code)
