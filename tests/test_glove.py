"""GloVe files: tokens and numbers read right, and every damaged line named."""

import gzip
import zipfile

import numpy as np
import pytest

from common.data import glove
from common.errors import InputError


def write(path, *lines):
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def test_tokens_with_spaces_and_odd_characters(tmp_path):
    names = ["the", ". . .", "at name@domain.com", "1\N{NO-BREAK SPACE}1/2", "a\x85b", "5", "x\ry"]
    names += ["a\N{LINE SEPARATOR}b\x0cc\x1cd", "in 19 84"]
    path = write(tmp_path / "glove.txt", *(f"{name} {row}.5 -{row}e-1" for row, name in enumerate(names, 1)))
    tokens, embeddings = glove.read_glove(path)
    assert tokens == names
    assert embeddings.dtype == np.float32
    expected = [[0, 0]] + [[row + 0.5, -row / 10] for row in range(1, len(names) + 1)]
    np.testing.assert_array_equal(embeddings, np.array(expected, np.float32))


def test_reads_only_the_lines_it_keeps_and_of_a_token_that_comes_twice_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(glove, "NO_OF_TOKENS", 3)
    monkeypatch.setattr(glove, "LINES_AT_ONCE", 2)
    path = write(tmp_path / "glove.txt", "a 1 2", "a 3 4", "b 3 4", "a 7 8", "c 5 6", "d is damaged")
    tokens, embeddings = glove.read_glove(path)
    assert tokens == ["a", "b", "c"]
    assert embeddings.tolist() == [[0, 0], [1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("b 3", "found only 1"),
        ("", "found only 0"),
        ("b 3 x", "could not convert string 'x'"),
        ("b 3  4", "could not convert string ''"),
        ("b 3 nan", "not finite"),
        ("\udcff 3 4", "can't decode"),
    ],
)
@pytest.mark.parametrize("counts", ["", "5 2\n"])
def test_a_damaged_line_is_named(tmp_path, monkeypatch, counts, line, reason):
    monkeypatch.setattr(glove, "LINES_AT_ONCE", 2)
    path = tmp_path / "glove.txt"
    path.write_bytes(f"{counts}a 1 2\nc 1 2\nd 1 2\n{line}\ne 1 2\n".encode(errors="surrogateescape"))
    with pytest.raises(InputError) as error:
        glove.read_glove(path)
    assert str(error.value).startswith(f"{path}, line {5 if counts else 4}: expected a token and 2 numbers: ")
    assert reason in str(error.value)


@pytest.mark.parametrize("content", ["", "the\n", "the cat sat\n", "400000 300\n"])
def test_a_file_that_is_no_glove_file(tmp_path, content):
    path = tmp_path / "glove.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=r"line [12]: expected a token and "):
        glove.read_glove(path)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", " \n"])
def test_files_as_other_programs_write_them(tmp_path, line_end):
    """word2vec and fastText tell the counts first and end lines with a space, Windows adds its own."""
    lines = ["4 3", "the 4 5 6", "ano 2000 1 2 3", "2000 7 8 9"]
    path = tmp_path / "vectors.vec"
    path.write_bytes(line_end.join(lines).encode())
    tokens, embeddings = glove.read_glove(path)
    assert tokens == ["the", "ano 2000", "2000"]
    assert embeddings.tolist()[1:] == [[4, 5, 6], [1, 2, 3], [7, 8, 9]]


LINES = "".join(f"w{row} {row * 0.37:.5f} {row * 0.73:.5f}\n" for row in range(20000)).encode()


@pytest.mark.parametrize("name", ["glove.txt.zip", "glove.txt.gz", "glove.txt"])
def test_packed_files_whatever_their_names(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/wiki.vec", LINES)
            archive.writestr("README", "not this one")
    else:
        path.write_bytes(gzip.compress(LINES))
    tokens, embeddings = glove.read_glove(path)
    assert tokens == [f"w{row}" for row in range(20000)]
    np.testing.assert_allclose(embeddings[1:, 0], np.arange(20000) * 0.37, atol=1e-5, rtol=1e-6)
    whole = bytearray(path.read_bytes())
    for damaged in (whole[:-1000], whole[:5000] + bytes(100) + whole[5100:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"cannot read {path}: .*; give --glove a text file of vectors"):
            glove.read_glove(path)


def test_a_zip_of_several_texts_is_refused(tmp_path):
    """As Stanford's glove.6B.zip."""
    with zipfile.ZipFile(tmp_path / "glove.6B.zip", "w") as archive:
        for dimensions in (50, 100):
            archive.writestr(f"glove.6B.{dimensions}d.txt", "a 1 2\n")
    with pytest.raises(InputError, match=r"holds 2 \.txt or \.vec files"):
        glove.read_glove(tmp_path / "glove.6B.zip")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*missing\.txt: No such file"):
        glove.read_glove(tmp_path / "missing.txt")
