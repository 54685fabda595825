"""Where the collection lies, and files that appear under their name only when they are whole."""

import codecs
import fcntl
import io
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

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
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        try:
            with open(part, "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def npy_bytes(array):
    """The bytes of a .npy file: `np.save` straight into a file would not notice a full disk."""
    content = io.BytesIO()
    np.save(content, array)
    return content.getbuffer()
