"""Where the collection lies, and files that appear under their name only when they are whole."""

import codecs
import fcntl
import io
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePath

import numpy as np

from common.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent

GZIP, ZIP = b"\x1f\x8b", b"PK"  # how such files begin, whatever their names
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # and such texts, most of them


def make_directory(path):
    """Makes the folder `path` and its parents. InputError where that cannot be done, or nothing be written into it."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path}: {error.strerror}") from error
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"cannot write into {path}: {error.strerror}") from error


def is_hidden(path):
    """Whether a name in the relative `path` begins with a dot: what editors and systems leave, and no data."""
    return any(name.startswith(".") and name != ".." for name in PurePath(path).parts)


@contextmanager
def unpacking(path, advice="fetch it again, or unpack it with another program"):
    """InputError, with the `advice`, for what is no archive, is damaged, has a password or an unknown compression."""
    try:
        yield
    except (InputError, MemoryError, FileNotFoundError):
        raise
    # at such files Python's libraries raise whatever comes, from LZMAError to IndexError
    except Exception as error:
        if getattr(error, "errno", None):
            raise  # it is the system's
        raise InputError(f"{path} is damaged, or no archive that Python can unpack ({error}); {advice}") from error


@contextmanager
def sole_use(directory, options="--trial or --output"):
    """Keeps other runs out of `directory` while the block runs, by a lock on the file `.lock` in it.

    InputError where another living run is in it; `options` are those that choose another directory. Says so on standard
    error where the file system knows no locks.
    """
    path = Path(directory) / ".lock"
    try:
        file = open(path, "w")  # noqa: SIM115 # NFS locks only what is open for writing
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    with file:  # when it is closed, the lock goes
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # a run that has just ended may have removed it
            is_ours = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        except OSError as error:
            print(f"{path} cannot be locked ({error.strerror}): nothing keeps other runs out of it", file=sys.stderr)
            is_ours = True
        if not is_ours:
            raise InputError(f"another run is using {directory}; wait until it ends, or give another {options}")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def new_file(path, durable=True):
    """Opens a binary file that takes the name `path` when the block ends well, and vanishes when it does not.

    The bytes are on the disk before the name is given, but for `durable=False`: thousands of small files that
    can be made again need not wait for the disk one by one. InputError on a full disk or a folder without
    permission.
    """
    with new_set(durable=durable) as new_member, new_member(path) as file:
        yield file


@contextmanager
def new_set(outdated=(), durable=True):
    """Gives a function to use as `new_file`, whose files take their names together when the block ends well.

    The last one of several is their mark: a reader that opens it first never finds a set that is partly old and partly
    new, wherever this was cut off. When all bytes are on the disk, the files `outdated` go, then the old mark; then
    the files get their names, the mark last.
    """
    parts = {}  # path: where its bytes are

    @contextmanager
    def new_member(path):
        path = Path(path)
        part = path.with_name(path.name + ".part")
        with _telling(path), open(part, "wb") as file:
            parts[path] = part
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())

    try:
        yield new_member
        mark = list(parts)[-1:] if len(parts) > 1 else []  # a file alone can take the old one's place at once
        for path in [*outdated, *mark]:
            with _telling(path):
                path.unlink(missing_ok=True)
        for path, part in parts.items():
            with _telling(path):
                os.replace(part, path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise


@contextmanager
def _telling(path):
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def npy_bytes(array):
    """The bytes of a .npy file: `np.save` straight into a file would not notice a full disk."""
    content = io.BytesIO()
    np.save(content, array)
    return content.getbuffer()
