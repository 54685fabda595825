"""GloVe files: tokens and numbers read right, and every damaged line named."""

import gzip
import zipfile

import numpy as np
import pytest
from odd_archives import DEFLATE64, PASSWORD, ZSTANDARD, packed_as

from common.data import glove
from common.errors import InputError


def write(path, *lines):
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def test_tokens_with_spaces_and_odd_characters(tmp_path):
    names = [
        "the",
        ". . .",
        "at name@domain.com",
        "1\N{NO-BREAK SPACE}1/2",
        "a\x85b",
        "a\N{LINE SEPARATOR}b\x0cc\x1cd",
        "\N{NO-BREAK SPACE}",
        "5",
        "x\ry",
    ]
    path = write(tmp_path / "glove.txt", *(f"{name} {row}.5 -{row}e-1" for row, name in enumerate(names, 1)))
    tokens, embeddings = glove.read_glove(path)
    assert tokens == names
    assert embeddings.dtype == np.float32
    expected = [[0, 0]] + [[row + 0.5, -row / 10] for row in range(1, len(names) + 1)]
    np.testing.assert_array_equal(embeddings, np.array(expected, np.float32))


def test_of_a_token_that_comes_twice_the_first_counts(tmp_path):
    path = write(tmp_path / "glove.txt", "a 1 2", "b 3 4", "a 5 6", "c 7 8")
    tokens, embeddings = glove.read_glove(path)
    assert tokens == ["a", "b", "c"]
    assert embeddings.tolist() == [[0, 0], [1, 2], [3, 4], [7, 8]]


def test_reads_only_the_lines_it_keeps(tmp_path, monkeypatch):
    monkeypatch.setattr(glove, "NO_OF_TOKENS", 3)
    monkeypatch.setattr(glove, "LINES_AT_ONCE", 2)
    path = write(tmp_path / "glove.txt", "a 1 2", "a 1 2", "b 3 4", "c 5 6", "d is damaged")
    tokens, embeddings = glove.read_glove(path)
    assert tokens == ["a", "b", "c"]
    assert embeddings.tolist() == [[0, 0], [1, 2], [3, 4], [5, 6]]


def test_line_ends_of_windows_and_no_last_line_end(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_bytes(b"a 1 2\r\nb 3 4")
    tokens, embeddings = glove.read_glove(path)
    assert tokens == ["a", "b"]
    assert embeddings.tolist() == [[0, 0], [1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("b 3", "found only 1"),
        ("b", "found only 0"),
        ("", "found only 0"),
        ("b 3 x", "could not convert string 'x'"),
        ("b 3  4", "could not convert string ''"),
        ("b 3 ", "found only 1"),
        ("b  3", "could not convert string ''"),
        ("b 3 nan", "not finite"),
        ("b 1e999 4", "not finite"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, monkeypatch, line, reason):
    monkeypatch.setattr(glove, "LINES_AT_ONCE", 2)
    path = write(tmp_path / "glove.txt", "a 1 2", "c 1 2", "d 1 2", line, "e 1 2")
    with pytest.raises(InputError) as error:
        glove.read_glove(path)
    assert str(error.value).startswith(f"{path}, line 4: expected a token and 2 numbers: ")
    assert reason in str(error.value)


def test_a_line_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_bytes(b"a 1 2\n\xff 3 4\n")
    with pytest.raises(InputError, match=r"line 2: .*'utf-8'"):
        glove.read_glove(path)


@pytest.mark.parametrize(("content", "message"), [("", "is empty"), ("the\n", "line 1"), ("the cat sat\n", "line 1")])
def test_a_file_that_is_no_glove_file(tmp_path, content, message):
    path = tmp_path / "glove.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        glove.read_glove(path)


@pytest.mark.parametrize("header", ["4 3", "2000000 3", None])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", " \n", " \r\n"])
def test_files_as_other_programs_write_them(tmp_path, header, mark, line_end):
    """word2vec and fastText tell the counts first and end lines with a space, Windows adds its own."""
    lines = [*([header] if header else []), "ano 2000 1 2 3", "the 4 5 6", "2000 7 8 9", "in 19 84 1 2 3"]
    path = tmp_path / "vectors.vec"
    path.write_bytes((mark + "".join(line + line_end for line in lines)).encode())
    tokens, embeddings = glove.read_glove(path)
    assert tokens == ["ano 2000", "the", "2000", "in 19 84"]
    assert embeddings.tolist()[1:] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]]


def test_lines_after_a_first_line_of_counts_are_numbered_right(tmp_path):
    path = write(tmp_path / "a.vec", "3 2", "a 1 2", "b 1", "c 1 2")
    with pytest.raises(InputError, match=r"line 3: expected a token and 2 numbers: found only 1"):
        glove.read_glove(path)


def test_numbers_as_tokens_of_one_dimension(tmp_path):
    tokens, embeddings = glove.read_glove(write(tmp_path / "glove.txt", "12 5", "a 6", "b 7"))
    assert tokens == ["12", "a", "b"]
    assert embeddings.tolist() == [[0], [5], [6], [7]]


def test_counts_and_nothing_else(tmp_path):
    with pytest.raises(InputError, match="is empty, or holds no vectors"):
        glove.read_glove(write(tmp_path / "a.vec", "400000 300"))


def test_utf_16(tmp_path):
    (tmp_path / "glove.txt").write_text("a 1 2\n", encoding="utf-16")
    with pytest.raises(InputError, match="is UTF-16: convert it"):
        glove.read_glove(tmp_path / "glove.txt")


@pytest.fixture
def zipped(tmp_path):
    path = tmp_path / "glove.zip"
    lines = "".join(f"w{row} {row * 0.37:.5f} {row * 0.73:.5f}\n" for row in range(20000))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.txt", lines)
        archive.writestr("README", "not this one")
    return path


def test_zip(zipped):
    tokens, embeddings = glove.read_glove(zipped)
    assert tokens == [f"w{row}" for row in range(20000)]
    np.testing.assert_allclose(embeddings[1:, 0], np.arange(20000) * 0.37, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("name", ["wiki.vec", "data/wiki.vec"])
def test_zip_of_fasttext(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "wiki.vec.zip", "w") as archive:
        archive.writestr(f"__MACOSX/{name.replace('wiki', '._wiki')}", b"\xff\x00")
        archive.writestr(".ipynb_checkpoints/wiki.vec", "a copy")
        archive.writestr(name, "2 3\nthe 1 2 3 \nof 4 5 6 \n")
    tokens, embeddings = glove.read_glove(tmp_path / "wiki.vec.zip")
    assert tokens == ["the", "of"]
    assert embeddings.tolist()[1:] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("name", ["glove.txt.gz", "glove.txt"])
def test_gzip_whatever_the_name(tmp_path, name):
    lines = "".join(f"w{row} {row * 0.37:.5f} 1\n" for row in range(20000))
    path = tmp_path / name
    path.write_bytes(gzip.compress(lines.encode()))
    tokens, embeddings = glove.read_glove(path)
    assert tokens == [f"w{row}" for row in range(20000)]
    assert embeddings.shape == (20001, 2)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="is damaged"):
        glove.read_glove(path)


@pytest.mark.parametrize("no_of_tokens", [3, 100_000])
def test_a_gzip_with_a_wrong_sum_is_refused(tmp_path, monkeypatch, no_of_tokens):
    monkeypatch.setattr(glove, "NO_OF_TOKENS", no_of_tokens)
    path = tmp_path / "glove.txt.gz"
    content = gzip.compress(b"a 1 2\nb 3 4\nc 5 6\n")
    path.write_bytes(content)
    assert glove.read_glove(path)[0] == ["a", "b", "c"]
    path.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])
    with pytest.raises(InputError, match=r"is damaged.*CRC check failed"):
        glove.read_glove(path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"flags": PASSWORD}, "password required"),
        ({"method": DEFLATE64}, "compression"),
        ({"method": ZSTANDARD}, ""),  # newer Pythons know it
    ],
)
def test_a_zip_that_python_cannot_unpack_is_refused(zipped, options, reason):
    zipped.write_bytes(packed_as(zipped.read_bytes(), **options))
    with pytest.raises(
        InputError,
        match=rf"no archive that Python can unpack \(.*{reason}.*\); fetch it again, or unpack it with another",
    ):
        glove.read_glove(zipped)


def test_a_truncated_zip_is_refused(zipped):
    zipped.write_bytes(zipped.read_bytes()[:-1000])
    with pytest.raises(InputError, match="is damaged"):
        glove.read_glove(zipped)


def test_a_damaged_zip_is_refused(zipped):
    content = bytearray(zipped.read_bytes())
    content[5000:5100] = bytes(100)
    zipped.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        glove.read_glove(zipped)


def test_a_zip_of_several_texts_is_refused(zipped):
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("glove.2.txt", "a 1 2\n")
    with pytest.raises(InputError, match=r"holds 2 \.txt or \.vec files"):
        glove.read_glove(zipped)


def test_a_missing_file(tmp_path):
    for name in ("missing.txt", "missing.zip"):
        with pytest.raises(InputError, match="No such file"):
            glove.read_glove(tmp_path / name)
