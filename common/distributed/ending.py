"""How a script ends: well, or with one line on standard error and an exit status that tells why.

Of several processes, all of which torchrun starts, the first tells it for all.
"""

import errno
import io
import json
import os
import re
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr

from common.errors import InputError, LostProcessError, RunInterruptedError
from common.output import LastingStream

# the words of PyTorch, of the C library, and of cuBLAS and cuDNN; known by them, preprocessing need not import PyTorch
OUT_OF_MEMORY = "out of memory|can't allocate memory|ALLOC(ATION)?_FAILED"

# the terminal, the room on the disk, or the file is
OUTPUT_GONE = (errno.EIO, errno.ENOSPC, errno.EBADF)

NO_CODE = (
    "this PyTorch has no code for this GPU: install one that was built for it, such as an older one or one for an "
    "older CUDA, or use --device cpu"
)

# what Gloo, NCCL and the store where processes meet say when one is gone
LOST = "[Gg]loo|NCCL|Dist(Store|Network|Backend)Error"

# what else starts several processes: the variables with a process's number, from 0, and how many there are
OTHER_LAUNCHERS = {
    "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "mpiexec": ("PMI_RANK", "PMI_SIZE"),
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    "aprun": ("ALPS_APP_PE", None),  # it tells no more than the number: those from 1 on know that there are several
}

TRAINING_ADVICE = (
    "a smaller --batch-size helps most, then shorter crops (--train-length, --test-length, --lengths), fewer "
    "--hidden-units or a smaller --vocab-size"
)


def run_script(main, memory_advice=TRAINING_ADVICE):
    """Calls `main()` and leaves the process with its status, without a traceback for what the user can mend.

    InputError and a lack of memory (told with `memory_advice`) end with status 2, a lost process with 1, Ctrl-C with
    130, a scheduler's signal to a training with 143, its --max-time with 0, a closed pipe (`script | head`) with 141,
    another standard output that cannot be written to with 2.
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
        if not is_one_of_several():
            _check_launcher()
        elif _rank() > 0:
            _be_silent()
        main()
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        end = _explanation(error, memory_advice)
        if end is not None:
            _end(*end)
        if not is_one_of_several():
            raise
        _end(traceback.format_exc().rstrip(), 1)


def is_one_of_several():
    """Whether torchrun started this process together with others."""
    return {"RANK", "LOCAL_RANK"} <= os.environ.keys() and int(os.environ["WORLD_SIZE"]) > 1


def _rank():
    return int(os.environ["RANK"])


def _check_launcher():
    """InputError in one of several processes that something else than torchrun started; the first prints it."""
    for launcher, (rank_name, count_name) in OTHER_LAUNCHERS.items():
        rank, first = int(os.environ.get(rank_name, 0)), 0 if count_name else 1
        count = int(os.environ.get(count_name, 1)) if count_name else rank + 1
        if count > 1:
            if rank != first:
                _be_silent()
            raise InputError(
                f"{launcher} started several processes of this script; several are started by torchrun alone: torchrun "
                f"--nproc_per_node=N {os.path.relpath(sys.argv[0])} …, on each node (jobs/README.md, Several GPUs)"
            )


def _be_silent():
    sys.stdout = sys.stderr = io.StringIO()


def _explanation(error, memory_advice):
    """What to tell of an error, and the exit status; None for a fault of the program's own."""
    match error:
        case InputError():
            return f"error: {' '.join(str(error).splitlines())}", 2  # what it quotes may have line ends
        case MemoryError() | RuntimeError() if isinstance(error, MemoryError) or re.search(OUT_OF_MEMORY, str(error)):
            return f"error: out of memory: {memory_advice}", 2
        case LostProcessError():
            return f"error: {error}", 1
        case RuntimeError() if is_one_of_several() and re.search(LOST, repr(error)):
            told = re.sub(r"^\[\S+\] ", "", str(error).splitlines()[0]).partition(". ")[0]
            advice = "start it again, a training with --resume: the state saved last is whole"
            return f"error: another process of this run has ended or cannot be reached ({told}); {advice}", 1
        case RuntimeError() if "no kernel image" in str(error):
            return f"error: {NO_CODE}", 2
        case RunInterruptedError():
            return str(error), error.status
        case KeyboardInterrupt():
            return "interrupted", 130
        case BrokenPipeError():
            _be_silent()  # the interpreter would flush standard output once more at exit
            return "standard output was closed", 141
        case OSError() if error.filename is None and error.errno in OUTPUT_GONE:
            sys.stdout = io.StringIO()
            return f"error: cannot write to standard output: {error.strerror}", 2
    return None


def _end(message, status):
    """Tells on standard error why the script ends, and ends it."""
    print(message, file=sys.stderr)
    if status == 0 or not is_one_of_several():
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # torchrun's report quotes it
        with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
            json.dump({"message": message, "timestamp": int(time.time())}, file)
    if _rank() > 0 and status == 2:
        # torchrun ends all when one has ended; the first, which mostly finds the same, is to tell it before
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(status))
        time.sleep(10)
    os._exit(status)  # past other threads, which may wait for processes that are gone
