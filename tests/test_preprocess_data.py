"""preprocess_data.py, run as a user runs it: its files, its figures, and its answer to bad input."""

import errno
import gzip
import io
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from odd_archives import DEFLATE64, PASSWORD, ZSTANDARD, packed_as

import preprocess_data
from common.data import download, reviews
from common.data.imdb import Review, find_reviews, warn_of_differences
from common.data.reviews import Vocabulary, load_glove_embeddings, load_reviews
from common.errors import InputError
from common.files import new_file

REPO = Path(__file__).resolve().parent.parent

# file: review, the tokens that the handout makes of it
TRAIN = {
    "train/pos/2_9.txt": ("A fine film.<br /><br />It's fine, fine!", "a fine film . it 's fine , fine !"),
    "train/pos/10_8.txt": ("Zoë can't be bad \x96 ever.", "zoë ca n't be bad ever ."),
    "train/neg/0_1.txt": ("Bad film. Bad!", "bad film . bad !"),
    "train/unsup/0_0.txt": ("\ufeffA\n\nfilm.\r\n", "a film ."),
    "train/unsup/7_0.txt": ("It's a film?", "it 's a film ?"),
}
TEST = {
    "test/pos/0_10.txt": ("A FINE actor, it's Zoë.", "a fine actor , it 's zoë ."),
    "test/neg/0_2.txt": ("Dreadful; a bad actor.", "dreadful ; a bad actor ."),
}
# by decreasing count in TRAIN, ties by the alphabet
DICTIONARY = [".", "film", "a", "bad", "fine", "!", "'s", "it", ",", "?", "be", "ca", "ever", "n't", "zoë"]
GLOVE = ["the 0.5 1", "a 1.5 -2", "actor 2.5 3", "film 3.5 4", "a 9 9", ". . . 4.5 5", ". 5.5 6", "dreadful 6.5 7"]


def write_reviews(folder, reviews):
    for name, text in reviews:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")


@pytest.fixture
def imdb(tmp_path):
    write_reviews(tmp_path / "aclImdb", [(name, text) for name, (text, _) in {**TRAIN, **TEST}.items()])
    (tmp_path / "aclImdb/train/pos/.DS_Store").write_bytes(b"\xff\x00")
    (tmp_path / "aclImdb/train/pos/._2_9.txt").write_bytes(b"\xff\x00")
    # editors leave copies, of a file and of a folder
    for folder in ("train/pos/.ipynb_checkpoints", ".backup/aclImdb/train/pos"):
        write_reviews(tmp_path / "aclImdb" / folder, [("3_9.txt", "A copy.")])
    (tmp_path / "aclImdb/train/urls_pos.txt").write_text("http://")
    return tmp_path / "aclImdb"


@pytest.fixture
def glove(tmp_path):
    (tmp_path / "glove.txt").write_text("\n".join(GLOVE) + "\n")
    return tmp_path / "glove.txt"


def run(*arguments, code=None, **options):
    """Runs the script, or the Python `code` that runs it; NLTK is kept from the network by a proxy it refuses."""
    environment = {**os.environ, "https_proxy": "http://127.0.0.1:9", **options.pop("env", {})}
    command = ["-c", code] if code else [REPO / "preprocess_data.py"]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        **options,
    )


def succeed(*arguments, **options):
    done = run(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done


def contents(folder):
    """Every file below a folder, by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def words_of(path, words):
    """The lines of a file of ids as words, "?" for id 0."""
    return [
        " ".join(["?", *words][int(number)] for number in line.split(" ")) for line in path.read_text().splitlines()
    ]


def fail(*arguments, **options):
    """The one line that a failing run prints, after the messages of what went well before."""
    done = run(*arguments, **options)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    *messages, line = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not any("Traceback" in message or "error" in message for message in messages)
    return line


def test_files_and_statistics(imdb, glove, tmp_path):
    output = tmp_path / "new" / "output"
    done = succeed("--imdb", imdb, "--glove", glove, "--output", output, "--workers", 2)

    assert np.load(output / "imdb_dictionary.npy").tolist() == DICTIONARY
    expected = [tokens for _, tokens in TRAIN.values()]
    assert words_of(output / "imdb_train.txt", DICTIONARY) == expected
    assert words_of(output / "imdb_test.txt", DICTIONARY) == ["a fine ? , it 's zoë .", "? ? a bad ? ."]
    assert (output / "imdb_test_unknown.txt").read_text() == "actor\ndreadful\n;\nactor\n"
    assert (output / "imdb_test_names.txt").read_text().splitlines() == list(TEST)
    for split, labels in (("train", [1, 1, 0, -1, -1]), ("test", [1, 0])):
        found = np.load(output / f"imdb_{split}_labels.npy")
        assert found.dtype == np.int8
        assert found.tolist() == labels

    words = ["the", "a", "actor", "film", ". . .", ".", "dreadful"]
    assert np.load(output / "glove_dictionary.npy").tolist() == words
    assert (output / "glove_name.txt").read_text() == "glove.txt\n"
    embeddings = np.load(output / "glove_embeddings.npy")
    assert embeddings.dtype == np.float32
    assert embeddings.tolist() == [[0, 0], [0.5, 1], [1.5, -2], [2.5, 3], [3.5, 4], [4.5, 5], [5.5, 6], [6.5, 7]]
    assert words_of(output / "imdb_train_glove.txt", words)[0] == "a ? film . ? ? ? ? ? ?"
    assert words_of(output / "imdb_test_glove.txt", words) == ["a ? actor ? ? ? ? .", "dreadful ? a ? actor ."]

    lengths = [len(line.split()) for line in expected]
    assert done.stdout.splitlines() == [
        f"Total: 30 Min: 3 Max: 10 Mean: 6.0 Std: {np.std(lengths)}",
        "Distinct tokens: 15",
        "(array([15,  0,  0,  0]), array([    1,    10,   100,  1000, 10000]))",
        *[". 4", "film 4", "a 3", "bad 3", "fine 3", "! 2", "'s 2", "it 2", ", 1", "? 1"],
        "The 100 most common: 100.00% of all tokens",
        "The 8000 most common: 100.00% of all tokens",
    ]


def test_without_glove_it_says_what_to_run_later(imdb, tmp_path):
    output = tmp_path / "output"
    done = succeed("--imdb", imdb, "--output", output)
    assert f"preprocess_data.py --glove FILE --output {output}" in done.stderr
    assert not list(output.glob("*glove*"))


def test_glove_alone_gives_the_same_bytes(imdb, glove, tmp_path):
    # what ends a line elsewhere is white space here: it ends a word, and no line of the files
    write_reviews(imdb, [("test/neg/0_2.txt", "Dreadful\x85bad\u2028odd\x0codder\x1coddest\r\nactor\r!")])
    succeed("--imdb", imdb, "--glove", glove, "--output", tmp_path / "together")
    assert words_of(tmp_path / "together/imdb_test.txt", DICTIONARY)[1] == "? bad ? ? ? ? !"
    unknown = (tmp_path / "together/imdb_test_unknown.txt").read_bytes()
    assert unknown == b"actor\ndreadful\nodd\nodder\noddest\nactor\n"
    succeed("--imdb", imdb, "--output", tmp_path / "apart")
    shutil.rmtree(imdb)
    done = succeed("--glove", glove, "--output", tmp_path / "apart")
    assert done.stdout == ""
    assert contents(tmp_path / "apart") == contents(tmp_path / "together")


def test_a_later_run_takes_away_the_glove_files_of_other_reviews(imdb, glove, tmp_path):
    succeed("--imdb", imdb, "--glove", glove, "--output", tmp_path / "output")
    (imdb / "train/pos/2_9.txt").write_text("Another.")
    succeed("--imdb", imdb, "--output", tmp_path / "output")
    assert not list((tmp_path / "output").glob("*glove*"))


@pytest.fixture
def many_reviews():
    """Enough reviews for several chunks, with capitals, abbreviations and full stops for Punkt."""
    rng = random.Random(1)
    words = [
        "the",
        "a",
        "film",
        "Mr.",
        "Dr.",
        "U.S.",
        "It",
        "bad",
        "was,",
        "don't",
        "etc.",
        "été",
        *map(str, range(40)),
    ]
    names = [
        f"{folder}/{number}_1.txt"
        for folders in preprocess_data.SPLITS.values()
        for folder in folders
        for number in range(120)
    ]
    return [(name, " ".join(rng.choices(words, k=rng.randint(3, 60))) + ". The End.") for name in names]


def test_same_bytes_whatever_the_workers_the_directory_order_and_the_hash_seed(many_reviews, glove, tmp_path):
    write_reviews(tmp_path / "one", many_reviews)
    write_reviews(tmp_path / "two", many_reviews[::-1])
    # without NLTK's data, so that a trained Punkt is compared as well
    for name, workers, seed in (("one", 1, "0"), ("two", 3, "1")):
        arguments = ["--imdb", tmp_path / name, "--glove", glove, "--output", tmp_path / f"output {name}"]
        succeed(*arguments, "--workers", workers, env={"PYTHONHASHSEED": seed, "NLTK_DATA": "", "HOME": str(tmp_path)})
    assert contents(tmp_path / "output one") == contents(tmp_path / "output two")


def test_the_order_that_the_directory_lists_does_not_matter(imdb, monkeypatch):
    splits = find_reviews(imdb)
    listdir = os.listdir
    for order in (sorted, lambda names: sorted(names, reverse=True)):
        monkeypatch.setattr(os, "listdir", lambda path, order=order: order(listdir(path)))
        again = find_reviews(imdb)
        assert again["train"][0] == splits["train"][0] == [Review(str(imdb / name)) for name in TRAIN]
        assert again["train"][1].tolist() == splits["train"][1].tolist()


def test_runs_with_any_start_method_and_without_torch(imdb, tmp_path):
    code = """
import multiprocessing, sys
sys.path.insert(0, {repo!r})
import preprocess_data
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    preprocess_data.main()
    assert "torch" not in sys.modules
"""
    succeed("--imdb", imdb, "--output", tmp_path / "spawn", code=code.format(repo=str(REPO)))
    succeed("--imdb", imdb, "--output", tmp_path / "output")
    assert contents(tmp_path / "spawn") == contents(tmp_path / "output")


def test_token_files_are_read_back_as_written(tmp_path):
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 6, 2500).astype(np.int32)
    for largest in (0, 9, 10, 123456):
        tokens = preprocess_data.Tokens(rng.integers(0, largest + 1, lengths.sum()).astype(np.int32), lengths)
        preprocess_data.write_tokens(new_file, tmp_path / "tokens.txt", tokens)
        lines = np.split(tokens.ids, np.cumsum(lengths)[:-1])
        text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
        assert (tmp_path / "tokens.txt").read_text() == text
        ids, found = preprocess_data.read_tokens(tmp_path / "tokens.txt")
        assert ids.tolist() == tokens.ids.tolist()
        assert found.tolist() == lengths.tolist()


def test_downloads_and_preprocesses(imdb, glove, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(data / "aclImdb_v1.tar.gz", "w:gz") as tar:
        tar.add(imdb, "aclImdb")
    with zipfile.ZipFile(data / "glove.840B.300d.zip", "w") as archive:
        archive.write(glove, "glove.840B.300d.txt")
    asked = []
    monkeypatch.setattr(download, "download", lambda url, path, md5: asked.append((url, path.name, md5)))

    def preprocess(*arguments):
        monkeypatch.setattr(sys, "argv", ["preprocess_data.py", *map(str, arguments)])
        preprocess_data.main()

    preprocess("--download", data, "--no-glove", "--output", tmp_path / "reviews")
    assert asked == [(download.REVIEWS_URL, "aclImdb_v1.tar.gz", download.REVIEWS_MD5)]
    preprocess("--download", data, "--output", tmp_path / "both")
    assert asked[1:] == [asked[0], (download.GLOVE_URL, "glove.840B.300d.zip", download.GLOVE_MD5)]
    preprocess("--imdb", imdb, "--glove", glove, "--output", tmp_path / "expected")
    both, expected = contents(tmp_path / "both"), contents(tmp_path / "expected")
    assert (both.pop("glove_name.txt"), expected.pop("glove_name.txt")) == (b"glove.840B.300d.zip\n", b"glove.txt\n")
    assert both == expected


# ---- all of the files or none, wherever the writing ends


def made(words, labels, value):
    """A `Corpus` of reviews, its labels, and GloVe vectors; another one differs in all files, but in no shape."""
    train = preprocess_data.Tokens(np.array([1, 2, 3, 1, 2, 1], np.int32), np.array([3, 2, 1], np.int32))
    test = preprocess_data.Tokens(np.array([2, 4], np.int32), np.array([1, 1], np.int32))
    vectors = [words[3], *words[:2]], np.full((4, 2), value, np.float32)
    return preprocess_data.Corpus(words, 3, train, test), {"train": labels, "test": labels[:2]}, vectors


OLD = made(["the", "a", "film", "dreadful"], np.array([1, 0, 0], np.int8), 0.5)
NEW = made(["bad", "was", "it", "fine"], np.array([1, 1, 0], np.int8), 1.5)
NEW[0].train.ids[:] = NEW[0].train.ids[::-1]
NEW[0].test.ids[:] = NEW[0].test.ids[::-1]


def write_imdb(output, made):
    names = [f"test/pos/{word}.txt" for word in made[0].words[:2]]
    preprocess_data.write_imdb(output, *made[:2], names)


def write_glove(output, made):
    preprocess_data.write_glove(output, made[0], f"{made[0].words[0]}.txt", *made[2])


def write_all(output, made):
    write_imdb(output, made)
    write_glove(output, made)


def found_by(output, glove):
    """All that the parts read of the reviews, in IMDB's or in GloVe's ids; None where they refuse."""
    try:
        vocabulary = Vocabulary(output, glove=glove)
        found = [vocabulary.words.tolist()]
        for split in preprocess_data.SPLITS:
            reviews = load_reviews(output, split, vocabulary, "cpu", labelled=False)
            found += [reviews.ids.tolist(), reviews.lengths.tolist(), reviews.labels.tolist()]
        if glove:
            found.append(load_glove_embeddings(output, vocabulary.size, "cpu").tolist())
    except InputError:
        return None
    return found


def found_again(output):
    """What a later run with --glove alone reads; None where it refuses."""
    try:
        corpus = preprocess_data.read_corpus(output)
    except InputError:
        return None
    return corpus.words, *(tokens.ids.tolist() for tokens in (corpus.train, corpus.test))


READERS = [lambda output: found_by(output, False), lambda output: found_by(output, True), found_again]


def write_until(step, output):
    """Writes NEW, and is killed when it has taken away files or given them their names `step` times."""
    steps = itertools.count(1)

    def killed_after(change):
        def changed(*arguments, **options):
            change(*arguments, **options)
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        return changed

    os.replace, os.unlink = killed_after(os.replace), killed_after(os.unlink)
    write_all(output, NEW)


@pytest.mark.parametrize("handout", [False, True])
def test_a_run_killed_between_two_files_leaves_no_mixture(handout, tmp_path, monkeypatch):
    monkeypatch.setattr(reviews, "HANDOUT_COUNTS", {"train": (1, 2, 0), "test": (1, 1, 0)})
    for name, made in (("old", OLD), ("new", NEW)):
        (tmp_path / name).mkdir()
        write_all(tmp_path / name, made)
    if handout:
        # the handout's own script writes no labels
        for split in preprocess_data.SPLITS:
            (tmp_path / f"old/imdb_{split}_labels.npy").unlink()
    old, new = ([read(tmp_path / name) for read in READERS] for name in ("old", "new"))
    assert None not in old + new
    assert all(one != other for one, other in zip(old, new, strict=True))

    seen = []
    for step in itertools.count(1):
        output = tmp_path / str(step)
        shutil.copytree(tmp_path / "old", output)
        writing = multiprocessing.get_context("fork").Process(target=write_until, args=(step, output))
        writing.start()
        writing.join()
        found = [read(output) for read in READERS]
        if writing.exitcode == 0:
            break
        assert writing.exitcode == -signal.SIGKILL
        for one, before, after in zip(found, old, new, strict=True):
            assert one in (None, before, after)
        # the jobs look whether these two are there
        assert (output / "imdb_dictionary.npy").exists() == (found[0] is not None)
        assert (output / "glove_dictionary.npy").exists() == (found[1] is not None)
        seen.append([("old" if one == before else one and "new") for one, before in zip(found, old, strict=True)])
    assert found == new
    assert contents(output) == contents(tmp_path / "new")
    # before IMDB's files, those of GloVe go; they come back last
    assert [key for key, _ in itertools.groupby(seen)] == [
        ["old", None, "old"],
        [None, None, None],
        ["new", None, "new"],
        ["new", "new", "new"],
    ]


@pytest.mark.parametrize(("write", "no_of_files"), [(write_imdb, 7), (write_glove, 5)])
def test_a_disk_that_is_full_when_a_file_goes_to_it(write, no_of_files, tmp_path, monkeypatch):
    write_all(tmp_path, OLD)
    before = contents(tmp_path)
    fsync = os.fsync
    for full_at in range(no_of_files):
        calls = itertools.count()

        def full(descriptor, calls=calls, full_at=full_at):
            if next(calls) == full_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
            write(tmp_path, NEW)
        assert contents(tmp_path) == before


# ---- what the reviews come in


def pack(imdb, archive, root="aclImdb"):
    """Packs the reviews' folder as the name of `archive` says, in an order that is not that of the lines written."""
    names = sorted((path for path in imdb.rglob("*") if path.is_file()), reverse=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr(f"__MACOSX/{root}/train/pos/._2_9.txt", b"\xff\x00")
            for path in names:
                opened.write(path, Path(root, path.relative_to(imdb)))
    else:
        with tarfile.open(archive, "w:" if archive.suffix == ".tar" else "w:gz") as opened:
            opened.add(imdb, root, recursive=False)
            for path in names:
                opened.add(path, Path(root, path.relative_to(imdb)))
    return archive


@pytest.mark.parametrize(
    ("name", "root"),
    [("aclImdb_v1.tar.gz", "aclImdb"), ("a.tgz", "."), ("a.tar", "my/aclImdb"), ("a.zip", "aclImdb"), ("b.zip", "")],
)
def test_an_archive_gives_the_bytes_of_the_folder(imdb, tmp_path, name, root):
    (imdb / "README").write_text("read me")
    archive = pack(imdb, tmp_path / name, root)
    packed = succeed("--imdb", archive, "--output", tmp_path / "packed", "--workers", 2)
    open_ = succeed("--imdb", imdb, "--output", tmp_path / "open")
    assert contents(tmp_path / "packed") == contents(tmp_path / "open")
    assert packed.stdout == open_.stdout
    assert archive.parent == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["aclImdb", name, "open", "packed"])


def test_hard_links_in_an_archive_are_read(imdb, tmp_path):
    for name in ("train/pos/11_8.txt", "train/unsup/11_0.txt", "test/pos/11_8.txt"):
        os.link(imdb / "train/pos/2_9.txt", imdb / name)
    archive = pack(imdb, tmp_path / "a.tar.gz")
    with tarfile.open(archive) as opened:
        assert sum(entry.islnk() for entry in opened) == 3
    succeed("--imdb", archive, "--output", tmp_path / "packed")
    succeed("--imdb", imdb, "--output", tmp_path / "open")
    assert contents(tmp_path / "packed") == contents(tmp_path / "open")


def link_to_a_review(imdb):
    (imdb / "train/pos/11_8.txt").symlink_to("2_9.txt")
    return "train/pos/11_8.txt"


def link_to_a_folder(imdb):
    (imdb / "train/unsup").rename(imdb / "train/other")
    (imdb / "train/unsup").symlink_to("other")
    return "train/unsup"


def hard_link_to_what_is_no_review(imdb):
    (imdb / "zzz").write_text("A fine film.")  # packed first
    os.link(imdb / "zzz", imdb / "test/pos/11_8.txt")
    return "test/pos/11_8.txt"


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("a.tar.gz", link_to_a_review),
        ("a.tar", link_to_a_folder),
        ("a.tar", hard_link_to_what_is_no_review),
        ("a.zip", link_to_a_review),
        ("a.zip", link_to_a_folder),
    ],
)
def test_other_links_in_an_archive_are_refused(imdb, tmp_path, name, link):
    linked = link(imdb)
    archive = tmp_path / name
    paths = dict.fromkeys([*imdb.glob("z*"), *sorted(imdb.glob("t*/*/*.txt")), imdb / linked])
    if name == "a.zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for path in paths:
                entry = zipfile.ZipInfo(f"aclImdb/{path.relative_to(imdb)}")
                entry.external_attr = path.lstat().st_mode << 16
                opened.writestr(entry, os.readlink(path) if path.is_symlink() else path.read_bytes())
    else:
        with tarfile.open(archive, "w:gz" if name == "a.tar.gz" else "w") as opened:
            for path in paths:
                opened.add(path, f"aclImdb/{path.relative_to(imdb)}", recursive=False)
    line = fail("--imdb", archive, "--output", tmp_path / "output")
    assert f"{archive}/aclImdb/{linked} is a link; pack the files themselves" in line


def test_bad_reviews_in_an_archive(imdb, tmp_path):
    (imdb / "train/neg/0_1.txt").write_bytes(b"Bad film\xe9.")
    archive = pack(imdb, tmp_path / "a.tar.gz")
    line = fail("--imdb", archive, "--output", tmp_path / "output")
    assert f"{archive}/aclImdb/train/neg/0_1.txt is not UTF-8" in line
    (imdb / "train/neg/0_1.txt").unlink()
    assert f"no reviews in {archive}/train/neg" in fail("--imdb", pack(imdb, archive), "--output", tmp_path / "output")


def cut_off(content):
    return content[: len(content) * 2 // 3]


def changed(content):
    """The archive with a letter of a review that is not compressed changed."""
    assert b"Dreadful" in content
    return content.replace(b"Dreadful", b"Gruesome")


def wrong_sum(content):
    """The gzip file with another sum behind its last byte, which is so far behind the end of the tar within."""
    content = gzip.compress(gzip.decompress(content) + bytes(3 << 20))
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def damaged_lzma(content):
    """The zip file packed anew with LZMA, and a review damaged."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    review = new.getinfo("aclImdb/train/pos/2_9.txt")
    start = review.header_offset + 30 + len(review.filename)
    content = packed.getvalue()
    return content[: start + 9] + b"\xff" * 9 + content[start + 18 :]


@pytest.mark.parametrize(
    ("name", "level", "damage"),
    [
        ("a.tar.gz", 9, cut_off),
        ("a.tar.gz", 0, changed),
        ("a.tar.gz", 9, wrong_sum),
        ("a.zip", 9, damaged_lzma),
        ("a.zip", 9, lambda content: packed_as(content, flags=PASSWORD)),
        ("a.zip", 9, lambda content: packed_as(content, DEFLATE64)),
        ("a.zip", 9, lambda content: packed_as(content, ZSTANDARD)),
        ("a.zip", 9, cut_off),
        ("a.zip", 0, changed),
        ("a.tar", 0, cut_off),
        ("a.tar", 0, lambda content: b""),
        ("a.tar.gz", 0, lambda content: b"<html>not found</html>"),
    ],
)
def test_a_damaged_archive_is_refused(imdb, tmp_path, name, level, damage):
    archive = pack(imdb, tmp_path / name)
    if name == "a.tar.gz":
        archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()), level))
    elif name == "a.zip" and not level:
        with zipfile.ZipFile(archive, "w") as opened:
            opened.write(imdb / "test/neg/0_2.txt", "test/neg/0_2.txt")
    archive.write_bytes(damage(archive.read_bytes()))
    line = fail("--imdb", archive, "--output", tmp_path / "output")
    assert f"{archive} is damaged, or no archive that Python can unpack" in line
    assert "aclImdb_v1.tar.gz" in line
    assert nothing_but_punkt(tmp_path / "output")


def test_an_archive_of_two_copies_is_refused(imdb, tmp_path):
    shutil.copytree(imdb, imdb / "aclImdb (copy)")
    archive = pack(imdb, tmp_path / "a.zip")
    line = fail("--imdb", archive, "--output", tmp_path / "output")
    assert f"{archive} holds the reviews 2 times: in aclImdb, aclImdb/aclImdb (copy)" in line


@pytest.mark.parametrize("name", ["IMDB Dataset.csv", "archive.zip"])
def test_kaggles_table_is_refused_in_words(tmp_path, name):
    table = tmp_path / "IMDB Dataset.csv"
    table.write_text('review,sentiment\n"A fine film.",positive\n')
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(table, table.name)
    line = fail("--imdb", tmp_path / name, "--output", tmp_path / "output")
    assert "it lacks the split into training and test reviews and the 50,000 unlabelled reviews" in line
    assert download.REVIEWS_URL in line


def test_without_the_unlabelled_reviews(imdb, tmp_path):
    shutil.rmtree(imdb / "train/unsup")
    done = succeed("--imdb", imdb, "--output", tmp_path / "output")
    assert f"warning: {imdb} has no train/unsup: 3a will train on the labelled reviews alone" in done.stderr
    assert download.REVIEWS_URL in done.stderr
    assert np.load(tmp_path / "output/imdb_train_labels.npy").tolist() == [1, 1, 0]
    assert len((tmp_path / "output/imdb_train.txt").read_text().splitlines()) == 3


def test_what_differs_from_the_published_reviews_is_told(imdb, tmp_path, capsys):
    shutil.copy(imdb / "train/pos/2_9.txt", imdb / "train/pos/2_9 (1).txt")
    done = succeed("--imdb", imdb, "--output", tmp_path / "output")
    counts = "train/pos 3, train/neg 1, train/unsup 2, test/pos 1, test/neg 1"
    assert f"than the published [12500, 12500, 50000, 12500, 12500]: {counts}" in done.stderr
    assert "1 names are not NUMBER_RATING.txt, but are read as reviews: " in done.stderr
    assert f"{imdb / 'train/pos/2_9 (1).txt'}" in done.stderr

    labels = np.repeat([1, 0, -1], [12500, 12500, 50000])
    reviews = [Review("aclImdb/17_8.txt")]
    warn_of_differences(imdb, {"train": (reviews, labels), "test": (reviews, labels[:25000])})
    assert capsys.readouterr().err == ""


def test_the_sample_is_not_measured_by_the_published_reviews(imdb, glove, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preprocess_data, "write_sample", lambda directory: (imdb, glove))
    monkeypatch.setattr(sys, "argv", ["preprocess_data.py", "--sample", "--output", str(tmp_path / "output")])
    preprocess_data.main()
    assert "published" not in capsys.readouterr().err


# ---- other runs, and a lack of memory


RUN_IN_PARTS = """
import os, signal, sys
sys.path.insert(0, {repo!r})
import preprocess_data
from common.distributed.ending import run_script
{patch}
run_script(preprocess_data.main, "fewer --workers need less")
"""


def test_one_run_at_a_time_holds_the_output(imdb, tmp_path):
    output = tmp_path / "output"
    patch = """
def wait(*arguments):
    print("waiting", flush=True)
    sys.stdin.read()
preprocess_data.write_imdb = wait
"""
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=patch)
    command = [sys.executable, "-c", code, "--imdb", imdb, "--output", output, "--workers", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"waiting\n"
        line = fail("--imdb", imdb, "--output", output)
        assert line == f"error: another run is using {output}; wait until it ends, or give another --output"
        first.kill()
    # nor do the workers of a killed run hold it
    succeed("--imdb", imdb, "--output", output)


def test_workers_end_with_a_killed_run(imdb, tmp_path):
    output = tmp_path / "output"
    patch = """
def wait(*arguments):
    print("waiting", flush=True)
    sys.stdin.read()
preprocess_data.tokenize_chunk = wait
"""
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=patch)
    command = [sys.executable, "-c", code, "--imdb", imdb, "--output", output, "--workers", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"waiting\n"
        first.kill()
        assert first.stdout.read() == b""  # ends when the worker, which has this end too, has ended
    succeed("--imdb", imdb, "--output", output)


def test_a_killed_worker(imdb, tmp_path):
    patch = "preprocess_data.tokenize = lambda text: os.kill(os.getpid(), signal.SIGKILL)"
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=patch)
    done = run("--imdb", imdb, "--output", tmp_path / "output", "--workers", 2, code=code)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: a process that tokenizes was killed, as the system does when memory runs out; fewer --workers than 2 "
        "need less"
    )
    assert nothing_but_punkt(tmp_path / "output")


# why worker processes cannot be started
NO_SEMAPHORES = """
import _multiprocessing, multiprocessing.synchronize
def fail(*arguments):
    raise OSError(38, "Function not implemented")
_multiprocessing.SemLock = fail
"""
ONE_PROCESS_MORE = """
import multiprocessing
multiprocessing.set_start_method("fork")
fork, processes = os.fork, iter([1])
def fork_once():
    if next(processes, None) is None:
        raise OSError(11, "Resource temporarily unavailable")
    return fork()
os.fork = fork_once
"""
LONG_PATH_OF_A_SOCKET = """
import multiprocessing
multiprocessing.set_start_method("forkserver")
"""


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (NO_SEMAPHORES, "Function not implemented"),
        (ONE_PROCESS_MORE, "Resource temporarily unavailable"),
        (LONG_PATH_OF_A_SOCKET, ""),  # newer Pythons find a shorter one
    ],
)
def test_where_no_workers_can_be_started_one_process_does_it_all(imdb, tmp_path, patch, reason):
    temporary = tmp_path / ("t" * 130)
    temporary.mkdir()
    patch += "preprocess_data.REVIEWS_PER_CHUNK = 2"
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=patch)
    options = {"code": code, "env": {"TMPDIR": str(temporary)}}
    done = succeed("--imdb", imdb, "--output", tmp_path / "alone", "--workers", 3, **options)
    assert not reason or f"{reason}): this one tokenizes alone" in done.stderr
    succeed("--imdb", imdb, "--output", tmp_path / "output")
    assert contents(tmp_path / "alone") == contents(tmp_path / "output")


def test_a_lack_of_memory(imdb, tmp_path):
    patch = "preprocess_data.tokenize = lambda text: [None] * (1 << 60)"
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=patch)
    line = fail("--imdb", imdb, "--output", tmp_path / "output", code=code)
    assert line == "error: out of memory: fewer --workers need less"


def nothing_but_punkt(output):
    return not output.exists() or {path.name for path in output.iterdir()} <= {"nltk_data"}


def remove_folder(imdb):
    shutil.rmtree(imdb / "test/neg")
    return f"cannot read {imdb / 'test/neg'}: No such file or directory"


def remove_reviews(imdb):
    (imdb / "train/neg/0_1.txt").unlink()
    return f"no reviews in {imdb / 'train/neg'}"


def empty_review(imdb):
    (imdb / "train/unsup/7_0.txt").write_text("")
    return f"{imdb / 'train/unsup/7_0.txt'} is empty"


def blank_review(imdb):
    (imdb / "test/pos/0_10.txt").write_bytes(b"\xef\xbb\xbf \n<br />\n")
    return f"{imdb / 'test/pos/0_10.txt'} is empty"


def breaks_only(imdb):
    (imdb / "test/pos/0_10.txt").write_text("<br /><br />")
    return f"{imdb / 'test/pos/0_10.txt'} is empty"


def not_utf_8(imdb):
    (imdb / "train/neg/0_1.txt").write_bytes(b"Bad film\xe9.")
    return f"{imdb / 'train/neg/0_1.txt'} is not UTF-8: invalid continuation byte at byte 8"


def utf_16(imdb):
    (imdb / "train/neg/0_1.txt").write_text("Bad film.", encoding="utf-16")
    return f"{imdb / 'train/neg/0_1.txt'} is UTF-16, or no text: convert it"


def utf_16_without_its_mark(imdb):
    (imdb / "train/neg/0_1.txt").write_text("Bad film.", encoding="utf-16-le")
    return f"{imdb / 'train/neg/0_1.txt'} is UTF-16, or no text: convert it"


def endless_word(imdb):
    (imdb / "test/neg/0_2.txt").write_text("A bad f" + "i" * 200_000 + "lm.")
    return f"{imdb / 'test/neg/0_2.txt'} has a word of 200003 characters, fiiiiiiiiiiiiiiiiiii…"


def no_number(imdb):
    (imdb / "train/neg/notes.txt").write_text("Bad.")
    return f"{imdb / 'train/neg/notes.txt'}: a review's name starts with its number"


def folder_for_a_review(imdb):
    (imdb / "train/neg/5_1.txt").mkdir()
    return f"cannot read {imdb / 'train/neg/5_1.txt'}: Is a directory"


@pytest.mark.parametrize(
    "damage",
    [
        remove_folder,
        remove_reviews,
        empty_review,
        blank_review,
        breaks_only,
        not_utf_8,
        utf_16,
        utf_16_without_its_mark,
        endless_word,
        no_number,
        folder_for_a_review,
    ],
)
def test_bad_reviews(imdb, tmp_path, damage):
    message = damage(imdb)
    assert message in fail("--imdb", imdb, "--output", tmp_path / "output")
    assert nothing_but_punkt(tmp_path / "output")


def test_no_such_folder(tmp_path):
    line = fail("--imdb", tmp_path / "missing", "--output", tmp_path / "output")
    assert "No such file or directory; give --imdb the folder that holds train and test" in line


def test_a_bad_glove_file_leaves_nothing_behind(imdb, glove, tmp_path):
    glove.write_text("a 1 2\nb 1\n")
    line = fail("--imdb", imdb, "--glove", glove, "--output", tmp_path / "output")
    assert line == f"error: {glove}, line 2: expected a token and 2 numbers: found only 1"
    assert nothing_but_punkt(tmp_path / "output")


def test_a_file_in_the_place_of_the_output_folder(imdb, tmp_path):
    (tmp_path / "output").write_text("mine")
    line = fail("--imdb", imdb, "--output", tmp_path / "output")
    assert f"cannot make the folder {tmp_path / 'output'}: File exists" in line
    line = fail("--imdb", imdb, "--output", tmp_path / "output" / "below")
    assert f"cannot make the folder {tmp_path / 'output' / 'below'}: Not a directory" in line


def test_an_output_folder_that_cannot_be_written(imdb):
    # nobody may make a file in Linux's list of processes, the superuser included
    assert "cannot write into /proc/self:" in fail("--imdb", imdb, "--output", "/proc/self")


def test_a_full_disk(imdb, glove, tmp_path):
    output = tmp_path / "output"
    succeed("--imdb", imdb, "--output", output)
    before = contents(output)

    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["imdb_dictionary.npy"]) - 1,) * 2)

    line = fail("--imdb", imdb, "--output", output, preexec_fn=limit_file_size)
    assert line.startswith(f"error: cannot write {output / 'imdb_dictionary.npy'}: ")
    assert contents(output) == before


def test_glove_alone_needs_the_files_of_an_earlier_run(imdb, glove, tmp_path):
    output = tmp_path / "output"
    assert "No such file or directory; give --imdb DIR too" in fail("--glove", glove, "--output", output)
    succeed("--imdb", imdb, "--output", output)
    # as a folder that the handout's own script made
    (output / "imdb_test_unknown.txt").rename(tmp_path / "kept")
    assert "imdb_test_unknown.txt: No such file" in fail("--glove", glove, "--output", output)
    (output / "imdb_test_unknown.txt").write_text("one\nword\n")
    assert "do not fit each other; give --imdb DIR too" in fail("--glove", glove, "--output", output)
    (output / "imdb_train.txt").write_text("1 2\n3 x\n")
    assert "are damaged" in fail("--glove", glove, "--output", output)
    assert not list(output.glob("*glove*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --imdb DIR, --download DIR, --sample or --glove FILE"),
        (["--imdb", "a", "--sample"], "not allowed with"),
        (["--sample", "--glove", "a"], "takes no --glove"),
        (["--imdb", "a", "--no-glove"], "--no-glove goes with --download"),
        (["--imdb", "a", "--workers", "0"], "--workers"),
    ],
)
def test_bad_usage(arguments, message):
    assert message in fail(*arguments)
