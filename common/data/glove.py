"""Reads the word vectors of a GloVe text file, or of one that word2vec or fastText wrote."""

import gzip
import io
import re
import zipfile
from itertools import chain, islice

import numpy as np

from common.errors import InputError
from common.files import reading

NO_OF_TOKENS = 100000  # kept of the file's tokens, the most frequent first (handout, "GloVe Features")
LINES_AT_ONCE = 4096
GZIP, ZIP = b"\x1f\x8b", b"PK"  # how such files begin, whatever their names
ADVICE = "give --glove a text file of vectors, plain, as .gz or as .zip, fetched again if it is damaged"


def read_glove(path):
    """The first 100,000 tokens of a GloVe file and their vectors.

    path: text, plain, as a .gz or as the only .txt or .vec file of a .zip; a line is a token and its numbers, with
    single spaces between them. A first line may tell how many tokens and numbers there are, as word2vec and fastText
    write it. A token may hold spaces itself, but not the first one; of a token that comes twice, the first counts.

    Returns the tokens (list of V str) and the embeddings ((V + 1, d) float32; row 0, of unknown words, is zeros).
    InputError names the line that does not hold as many numbers as the first one.
    """
    token_to_row = {}
    blocks = []
    with reading(path, ADVICE), _open_glove(path) as file:
        # "\n" alone ends a line: tokens may hold other characters that end lines elsewhere, such as "\x85"; before it
        # Windows writes "\r", and word2vec and fastText write a space after each number
        lines = (line.rstrip(b" \r\n") for line in file)
        first, line_number = next(lines, b""), 1
        if re.fullmatch(rb"[0-9]+ [0-9]+", first):  # the counts
            first, line_number = next(lines, b""), 2
        dimension = first.count(b" ")
        if not dimension:
            raise InputError(f"{path}, line {line_number}: expected a token and its numbers; {ADVICE}")
        lines = chain([first], lines)
        while block := list(islice(lines, min(LINES_AT_ONCE, NO_OF_TOKENS - len(token_to_row)))):
            tokens, embeddings = _parse_block(block, dimension, path, line_number)
            new = []
            for row, token in enumerate(tokens):
                if token not in token_to_row:
                    token_to_row[token] = len(token_to_row) + 1
                    new.append(row)
            blocks.append(embeddings[new])
            line_number += len(block)
    return list(token_to_row), np.concatenate([np.zeros((1, dimension), np.float32), *blocks])


def _open_glove(path):
    file = open(path, "rb")  # noqa: SIM115, read_glove closes it
    start = file.peek(2)[:2]
    if start == GZIP:
        return gzip.GzipFile(fileobj=file)
    if start != ZIP:
        return file
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if name.endswith((".txt", ".vec"))]
    if len(names) != 1:
        raise InputError(f"{path} holds {len(names)} .txt or .vec files; unpack it and give one of them to --glove")
    return io.BufferedReader(archive.open(names[0]), 1 << 20)


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
