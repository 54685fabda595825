"""How a script ends: well, or with one line on standard error and an exit status that tells why."""

import errno
import io
import os
import re
import sys
from contextlib import redirect_stderr

from common.distributed.launcher import find_launch
from common.errors import InputError, LostProcessError, RunInterruptedError
from common.output import LastingStream

# the words of PyTorch, of the C library, and of cuBLAS and cuDNN; known by them, preprocessing need not import PyTorch
OUT_OF_MEMORY = "out of memory|can't allocate memory|ALLOC(ATION)?_FAILED"

# the pipe, the terminal, the room on the disk, or the file is
OUTPUT_GONE = (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EBADF)


class Ending:
    """How a script ends that runs alone; where several processes meet, `processes.meet` puts another in its place."""

    def well(self):
        """The script has done its work."""

    def badly(self, message, status):
        """Tells on standard error why the script ends, and ends it."""
        # of several processes that have not met yet, all find the same, and the first tells
        if not _is_one_of_others():
            print(message, file=sys.stderr)
        sys.exit(status)


def _is_one_of_others():
    try:
        return find_launch().rank > 0
    except InputError:
        return False


ending = Ending()


TRAINING_ADVICE = (
    "a smaller --batch-size helps most, then shorter crops (--train-length, --test-length, --lengths), fewer "
    "--hidden-units or a smaller --vocab-size"
)


def run_script(main, memory_advice=TRAINING_ADVICE):
    """Calls `main()` and leaves the process with its status, without a traceback for what the user can mend.

    InputError and a lack of memory (told with `memory_advice`) end with status 2, a lost process with 1, Ctrl-C with
    130, a scheduler's signal to a training with 143, a closed pipe (`script | head`) with 141 and another standard
    output that cannot be written to with 2.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by >&-: its number must not go to a file that is written
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    with redirect_stderr(LastingStream(sys.stderr)):
        _run(main, memory_advice)


def _run(main, memory_advice):
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows ? for what it cannot
    try:
        main()
        sys.stdout.flush()
        ending.well()
    except InputError as error:
        # what it quotes may have line ends
        ending.badly(f"error: {' '.join(str(error).splitlines())}", 2)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search(OUT_OF_MEMORY, str(error)):
            raise
        ending.badly(f"error: out of memory: {memory_advice}", 2)
    except LostProcessError as error:
        ending.badly(f"error: {error}", 1)
    except RunInterruptedError as error:
        ending.badly(str(error), error.status)
    except KeyboardInterrupt:
        ending.badly("interrupted", 130)
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_GONE:
            raise
        # the interpreter would flush standard output once more at exit
        sys.stdout = None
        if error.errno == errno.EPIPE:
            sys.exit(141)
        ending.badly(f"error: cannot write to standard output: {error.strerror}", 2)
