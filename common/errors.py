"""How a script ends when its input is wrong: one line on standard error and exit status 2."""

import re
import sys


class InputError(Exception):
    """Bad usage or bad input: the message says what is wrong, where, and what to do."""


class RunInterruptedError(Exception):
    """A signal ended the run; the message says how to go on, `status` is the exit status that tells of the signal."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


def run_script(main):
    """Calls `main()` and leaves the process with its status, without a traceback for what the user can mend.

    InputError and a lack of memory end with status 2, Ctrl-C with 130, a scheduler's signal to a training with 143 and
    a closed pipe (`script | head`) with 141.
    """
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        # PyTorch's own exceptions for it, told apart by their words so that preprocessing need not import PyTorch
        if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
            raise
        print(
            "error: out of memory: a smaller --batch-size helps most, then shorter crops (--train-length, "
            "--test-length, --lengths), fewer --hidden-units or a smaller --vocab-size",
            file=sys.stderr,
        )
        sys.exit(2)
    except RunInterruptedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # the interpreter would flush standard output once more at exit
        sys.stdout = None
        sys.exit(141)
