"""Reads the word vectors of a GloVe text file."""

import io
import math
import zipfile
import zlib
from itertools import islice

import numpy as np

from common.errors import InputError

NO_OF_TOKENS = 100000  # kept of the file's tokens, the most frequent first (handout, "GloVe Features")
LINES_AT_ONCE = 4096


def read_glove(path):
    """The first 100,000 tokens of a GloVe file and their vectors.

    path: text, plain or as the only .txt file of a .zip; a line is a token and its numbers, with single spaces
    between them. A token may hold spaces itself; of a token that comes twice, the first counts.

    Returns the tokens (list of V str) and the embeddings ((V + 1, d) float32; row 0, of unknown words, is zeros).
    InputError names the line that does not hold as many numbers as the first.
    """
    token_to_row = {}
    blocks = []
    dimension = None
    line_number = 1
    with _open_glove(path) as file:
        while lines := _next_lines(file, path, min(LINES_AT_ONCE, NO_OF_TOKENS - len(token_to_row))):
            dimension = dimension or _dimension(lines[0], path)
            tokens, embeddings = _parse_block(lines, dimension, path, line_number)
            new = []
            for row, token in enumerate(tokens):
                if token not in token_to_row:
                    token_to_row[token] = len(token_to_row) + 1
                    new.append(row)
            blocks.append(embeddings[new])
            line_number += len(lines)
    if not blocks:
        raise InputError(f"{path} is empty")
    return list(token_to_row), np.concatenate([np.zeros((1, dimension), np.float32), *blocks])


def _open_glove(path):
    try:
        if path.suffix != ".zip":
            return open(path, "rb")
        archive = zipfile.ZipFile(path)
        names = [name for name in archive.namelist() if name.endswith(".txt")]
        if len(names) != 1:
            raise InputError(f"{path} holds {len(names)} .txt files; unpack it and give one of them to --glove")
        return io.BufferedReader(archive.open(names[0]), 1 << 20)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is no whole zip file ({error}); fetch it again") from error


def _next_lines(file, path, count):
    try:
        # "\n" alone ends a line: tokens may hold other characters that end lines elsewhere, such as "\x85"
        return [line.removesuffix(b"\n") for line in islice(file, count)]
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}); fetch it again") from error


def _dimension(line, path):
    """How many numbers stand at the end of the file's first line, after a token of at least one field."""
    fields = line.split(b" ")[1:]
    dimension = 0
    while dimension < len(fields) and _is_number(fields[-1 - dimension]):
        dimension += 1
    if dimension == 0:
        raise InputError(f"{path}, line 1: expected a token and its numbers, with spaces between them")
    return dimension


def _is_number(field):
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _parse_block(lines, dimension, path, line_number):
    try:
        return _parse(lines, dimension)
    except ValueError:
        for number, line in enumerate(lines, line_number):
            try:
                _parse([line], dimension)
            except ValueError as error:
                reason = str(error).partition(" at row 0")[0]
                raise InputError(
                    f"{path}, line {number}: expected a token and {dimension} numbers, as in line 1: {reason}"
                ) from error
        raise


def _parse(lines, dimension):
    """The tokens (list of str) and embeddings ((lines, dimension) float32) of some lines (bytes); ValueError."""
    tokens, numbers = [], []
    for line in lines:
        surplus = line.count(b" ") - dimension
        if surplus < 0:
            raise ValueError(f"found only {surplus + dimension}")
        token, _, row = line.partition(b" ")
        if surplus:
            token = line.rsplit(b" ", dimension)[0]
            row = line[len(token) + 1 :]
            if _is_number(token.rpartition(b" ")[2]):
                raise ValueError("found more")
        tokens.append(token.decode())
        numbers.append(row)
    embeddings = np.loadtxt(numbers, dtype=np.float32, delimiter=" ", comments=None, ndmin=2)
    if embeddings.shape != (len(lines), dimension) or not np.isfinite(embeddings).all():
        raise ValueError("one is missing or not finite")
    return tokens, embeddings
