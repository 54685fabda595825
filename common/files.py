"""Where the collection lies, and files that appear under their name only when they are whole."""

import fcntl
import io
import os
import re
import sys
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent


def make_directory(path):
    """Makes the folder `path` and its parents. InputError where it cannot be made, or not be written into."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"cannot write into {path}: {error.strerror}") from error


@contextmanager
def reading(path, advice="fetch it again"):
    """InputError, with the `advice`, where the block cannot read the file `path`, or it is damaged."""
    try:
        yield
    except (OSError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        # gzip's own OSError has no strerror; tarfile names all that it has tried
        reason = getattr(error, "strerror", None) or str(error).partition(":\n")[0]
        raise InputError(f"cannot read {path}: {reason}; {advice}") from error


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
def new_file(path):
    """Opens a binary file that takes the name `path` when the block ends well, and vanishes when it does not.

    The bytes are on the disk before the name is given. InputError on a full disk or a folder without permission.
    """
    with new_set() as new_member, new_member(path) as file:
        yield file


@contextmanager
def new_set(outdated=()):
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
        with writing(path), open(part, "wb") as file:
            parts[path] = part
            yield file
            file.flush()
            os.fsync(file.fileno())

    try:
        yield new_member
        mark = list(parts)[-1:] if len(parts) > 1 else []  # a file alone can take the old one's place at once
        for path in [*outdated, *mark]:
            with writing(path):
                path.unlink(missing_ok=True)
        for path, part in parts.items():
            with writing(path):
                os.replace(part, path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path):
    """InputError where the block cannot write the file `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def no_formula(cell):
    """The text of a table's cell as text to a spreadsheet, which computes what begins with one of four signs."""
    return f"'{cell}" if re.match(r"[=+@-](?![\d.]+$)", cell) else cell


def npy_bytes(array):
    """The bytes of a .npy file: `np.save` straight into a file would not notice a full disk."""
    content = io.BytesIO()
    np.save(content, array)
    return content.getbuffer()
