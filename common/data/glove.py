"""Reads the word vectors of a GloVe text file, or of one that word2vec or fastText wrote."""

import codecs
import gzip
import io
import math
import re
import zipfile
from collections import Counter
from itertools import islice

import numpy as np

from common.errors import InputError
from common.files import GZIP, UTF_16, ZIP, is_hidden, unpacking

NO_OF_TOKENS = 100000  # kept of the file's tokens, the most frequent first (handout, "GloVe Features")
LINES_AT_ONCE = 4096


def read_glove(path):
    """The first 100,000 tokens of a GloVe file and their vectors.

    path: text, plain, as a .gz or as the only .txt or .vec file of a .zip; a line is a token and its numbers, with
    single spaces between them. A first line may tell how many tokens and numbers there are, as word2vec and fastText
    write it. A token may hold spaces itself and end in a number; of a token that comes twice, the first counts.

    Returns the tokens (list of V str) and the embeddings ((V + 1, d) float32; row 0, of unknown words, is zeros).
    InputError names the line that does not hold as many numbers as the first line says, or else most of the first
    lines hold.
    """
    token_to_row = {}
    blocks = []
    dimension = None
    line_number = 1
    with _open_glove(path) as file:
        while lines := _next_lines(file, path, min(LINES_AT_ONCE, NO_OF_TOKENS - len(token_to_row))):
            if dimension is None:
                dimension, is_told = _dimension(lines, path)
                if is_told:
                    del lines[0]
                    line_number += 1
            if not lines:
                break  # the counts are all there is
            tokens, embeddings = _parse_block(lines, dimension, path, line_number)
            new = []
            for row, token in enumerate(tokens):
                if token not in token_to_row:
                    token_to_row[token] = len(token_to_row) + 1
                    new.append(row)
            blocks.append(embeddings[new])
            line_number += len(lines)
        _next_lines(file, path, 1)  # where that was the last line, a packed file's sum is only now looked at
    if not token_to_row:
        raise InputError(f"{path} is empty, or holds no vectors")
    return list(token_to_row), np.concatenate([np.zeros((1, dimension), np.float32), *blocks])


def _open_glove(path):
    try:
        file = open(path, "rb")  # noqa: SIM115, read_glove closes it
        start = file.peek(2)[:2]
        if start in UTF_16:
            raise InputError(f"{path} is UTF-16: convert it with  iconv -f UTF-16 -t UTF-8")
        if start == GZIP:
            return gzip.GzipFile(fileobj=file)
        if start != ZIP:
            return file
        with unpacking(path):
            archive = zipfile.ZipFile(file)
            names = [name for name in archive.namelist() if name.endswith((".txt", ".vec")) and not is_hidden(name)]
            if len(names) != 1:
                raise InputError(
                    f"{path} holds {len(names)} .txt or .vec files; unpack it and give one of them to --glove"
                )
            return io.BufferedReader(archive.open(names[0]), 1 << 20)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _next_lines(file, path, count):
    try:
        with unpacking(path):
            # "\n" alone ends a line: tokens may hold other characters that end lines elsewhere, such as "\x85"; before
            # it Windows writes "\r", and word2vec and fastText write a space behind each number
            return [line.rstrip(b" \r\n") for line in islice(file, count)]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _dimension(lines, path):
    """How many numbers follow each token, by the file's first lines, and whether their first line tells it."""
    lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    told = re.fullmatch(rb"[0-9]+ ([1-9][0-9]*)", lines[0])
    # or else a number has a vector of one dimension
    if told and not (len(lines) > 1 and _no_of_numbers(lines[1]) == 1 != int(told[1])):
        return int(told[1]), True
    # of most lines: a token may end in a number
    dimension = Counter(map(_no_of_numbers, lines[:100])).most_common(1)[0][0]
    if dimension == 0:
        raise InputError(f"{path}, line 1: expected a token and its numbers, with spaces between them")
    return dimension, False


def _no_of_numbers(line):
    """How many numbers stand at the end of a line, after a token of at least one field."""
    fields = line.split(b" ")[1:]
    number = 0
    while number < len(fields) and _is_number(fields[-1 - number]):
        number += 1
    return number


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
                    f"{path}, line {number}: expected a token and {dimension} numbers: {reason}"
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
        tokens.append(token.decode())
        numbers.append(row)
    embeddings = np.loadtxt(numbers, dtype=np.float32, delimiter=" ", comments=None, ndmin=2)
    if embeddings.shape != (len(lines), dimension) or not np.isfinite(embeddings).all():
        raise ValueError("one is missing or not finite")
    return tokens, embeddings
