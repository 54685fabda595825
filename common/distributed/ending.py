"""How a script ends: well, or with one line on standard error and an exit status that tells why.

When torchrun has started several processes, the first one speaks for all of them.
"""

import errno
import io
import os
import re
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr

from common.errors import InputError, RunInterruptedError

# words of PyTorch, the C library, cuBLAS and cuDNN: preprocessing imports no PyTorch, so it cannot ask for its classes
OUT_OF_MEMORY = "out of memory|can't allocate memory|ALLOC(ATION)?_FAILED"
NO_CODE = "no kernel image"

# what Gloo, NCCL and the store where processes meet say when a process is gone
LOST = "[Gg]loo|NCCL|Dist(Store|Network|Backend)Error"

TRAINING_ADVICE = (
    "a smaller --batch-size helps most, then shorter crops (--train-length, --test-length, --lengths), fewer "
    "--hidden-units or a smaller --vocab-size"
)


def run_script(main, memory_advice=TRAINING_ADVICE):
    """Calls `main()` and ends the process with its status, without a traceback for what the user can mend.

    InputError and a lack of memory (explained with `memory_advice`) end with status 2, a lost process with 1, Ctrl-C
    with 130, a scheduler's signal to a training with 143, its --max-time with 0, a closed pipe (`script | head`) with
    141, another standard output that cannot be written to with 2.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by >&-: its number must not go to a file that is written
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    with redirect_stderr(LastingStream(sys.stderr)):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows ? for other characters
        if is_one_of_several() and _rank() > 0:
            _be_silent()
        try:
            main()
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt, RunInterruptedError) as error:
            explained = _explain(error, memory_advice)
            if explained is None and not is_one_of_several():
                raise
            _end(*(explained or (traceback.format_exc().rstrip(), 1)))


def is_one_of_several():
    """Whether torchrun started this process together with others."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def _rank():
    return int(os.environ["RANK"])


def _be_silent():
    sys.stdout = sys.stderr = io.StringIO()


def _explain(error, memory_advice):
    """The message for an error and the exit status; None for a fault of the program itself."""
    match error:
        case InputError():
            return f"error: {' '.join(str(error).splitlines())}", 2  # it may quote text of several lines
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or re.search(OUT_OF_MEMORY, str(error)):
            return f"error: out of memory: {memory_advice}", 2
        case RuntimeError() if is_one_of_several() and re.search(LOST, repr(error)):
            reason = re.sub(r"^\[\S+\] ", "", str(error).splitlines()[0]).partition(". ")[0]
            advice = "start it again, a training with --resume: the state saved last is whole"
            return f"error: another process of this run has ended or cannot be reached ({reason}); {advice}", 1
        case RuntimeError() if NO_CODE in str(error):
            return "error: this PyTorch has no code for this GPU: install one that has, or use --device cpu", 2
        case RunInterruptedError():
            return str(error), error.status
        case KeyboardInterrupt():
            return "interrupted", 130
        case BrokenPipeError():
            _be_silent()  # Python would flush standard output once more at exit
            return "standard output was closed", 141
        case OSError() if error.filename is None and error.errno in (errno.EIO, errno.ENOSPC):
            sys.stdout = io.StringIO()
            return f"error: cannot write to standard output: {error.strerror}", 2
    return None


def _end(message, status):
    """Prints on standard error why the script ends, and ends it."""
    print(message, file=sys.stderr)
    if status == 0 or not is_one_of_several():
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    if _rank() > 0 and status == 2:
        # torchrun ends all processes when one has ended; the first, which usually finds the same fault, is to print it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(status))
        time.sleep(30)
    os._exit(status)  # without waiting for other threads, which may wait for processes that are gone


class LastingStream:
    """The text stream `stream`, which may go away: a closed terminal or pipe, a full disk.

    What it cannot write is dropped, with all that follows, and nothing is raised.
    """

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        """As a stream's, flushed at once: a buffer would find out later."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what the buffer holds goes there, too
            os.close(nowhere)
            if self is not sys.stderr:
                print(f"standard output cannot be written to ({error.strerror}): going on without it", file=sys.stderr)
        return len(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)
