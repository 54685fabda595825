"""preprocess_data.py, run as a user runs it: its files, its figures, and its answer to bad input."""

import contextlib
import errno
import gzip
import io
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import nltk
import numpy as np
import pytest
from conftest import ENVIRONMENT, PROCESSES

import preprocess_data
from common.data import download, reviews
from common.data import imdb as imdb_module
from common.data.imdb import Review, find_reviews
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
    (tmp_path / "aclImdb/train/neg/notes.txt").write_text("Bad.")
    (tmp_path / "aclImdb/train/urls_pos.txt").write_text("http://")
    return tmp_path / "aclImdb"


@pytest.fixture
def glove(tmp_path):
    (tmp_path / "glove.txt").write_text("\n".join(GLOVE) + "\n")
    return tmp_path / "glove.txt"


def run(*arguments, code=None, env=None, **options):
    """Runs the script, or the Python `code` that runs it, as a user does."""
    command = ["-c", code] if code else [REPO / "preprocess_data.py"]
    environment = {**os.environ, **ENVIRONMENT, **(env or {})}
    command = [sys.executable, *command, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **options)


def succeed(*arguments, **options):
    """The finished run, in a process of its own where there are `options`, else in this one, which takes less time."""
    if options:
        done = run(*arguments, **options)
        assert done.returncode == 0, done.stderr
        return done
    with (
        mock.patch.object(sys, "argv", ["preprocess_data.py", *map(str, arguments)]),
        mock.patch.object(nltk.data, "path", []),
        mock.patch.dict(os.environ, ENVIRONMENT),
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        preprocess_data.main()
    return subprocess.CompletedProcess(arguments, 0, stdout.getvalue(), stderr.getvalue())


def fail(*arguments):
    """The message of the InputError with which the script ends, which is run in this process."""
    with pytest.raises(InputError) as error:
        succeed(*arguments)
    return str(error.value)


def contents(folder):
    """Every file below a folder, by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def words_of(path, words):
    """The lines of a file of ids as words, "?" for id 0."""
    return [
        " ".join(["?", *words][int(number)] for number in line.split(" ")) for line in path.read_text().splitlines()
    ]


def test_files_and_statistics(imdb, glove, tmp_path):
    output = tmp_path / "new" / "output"
    done = succeed("--imdb", imdb, "--glove", glove, "--output", output, "--workers", 2, cwd=tmp_path)

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


def test_glove_alone_gives_the_same_bytes(imdb, glove, tmp_path):
    # what ends a line elsewhere is white space here: it ends a word, and no line of the files
    write_reviews(imdb, [("test/neg/0_2.txt", "Dreadful\x85bad\u2028odd\x0codder\x1coddest\r\nactor\r!")])
    succeed("--imdb", imdb, "--glove", glove, "--output", tmp_path / "together")
    assert words_of(tmp_path / "together/imdb_test.txt", DICTIONARY)[1] == "? bad ? ? ? ? !"
    unknown = (tmp_path / "together/imdb_test_unknown.txt").read_bytes()
    assert unknown == b"actor\ndreadful\nodd\nodder\noddest\nactor\n"
    done = succeed("--imdb", imdb, "--output", tmp_path / "apart")
    assert f"preprocess_data.py --glove FILE --output {tmp_path / 'apart'}" in done.stderr
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
    words = ["the", "a", "film", "Mr.", "Dr.", "U.S.", "It", "bad", "was,", "don't", "été", *map(str, range(40))]
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
        succeed(*arguments, "--workers", workers, env={"PYTHONHASHSEED": seed, "HOME": str(tmp_path)})
    assert contents(tmp_path / "output one") == contents(tmp_path / "output two")


def test_the_order_that_the_directory_lists_does_not_matter(imdb, monkeypatch):
    listdir = os.listdir
    for order in (sorted, lambda names: sorted(names, reverse=True)):
        monkeypatch.setattr(os, "listdir", lambda path, order=order: order(listdir(path)))
        reviews, labels = find_reviews(imdb)["train"]
        assert reviews == [Review(str(imdb / name)) for name in TRAIN]
        assert labels.tolist() == [1, 1, 0, -1, -1]


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


def test_token_files_are_lines_of_ids(tmp_path):
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 6, 2500).astype(np.int32)
    for largest in (0, 9, 10, 123456):
        tokens = preprocess_data.Tokens(rng.integers(0, largest + 1, lengths.sum()).astype(np.int32), lengths)
        preprocess_data.write_tokens(new_file, tmp_path / "tokens.txt", tokens)
        lines = np.split(tokens.ids, np.cumsum(lengths)[:-1])
        text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
        assert (tmp_path / "tokens.txt").read_text() == text


def test_downloads_and_preprocesses(imdb, glove, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(data / "aclImdb_v1.tar.gz", "w:gz") as tar:
        tar.add(imdb, "aclImdb")
    with zipfile.ZipFile(data / "glove.840B.300d.zip", "w") as archive:
        archive.write(glove, "glove.840B.300d.txt")
    asked = []

    def fetch(url, directory, md5):
        asked.append((url, md5))
        return directory / url.rpartition("/")[2]

    monkeypatch.setattr(download, "download", fetch)

    succeed("--download", data, "--no-glove", "--output", tmp_path / "reviews")
    assert asked == [(download.REVIEWS_URL, download.REVIEWS_MD5)]
    succeed("--download", data, "--output", tmp_path / "both")
    assert asked[1:] == [asked[0], (download.GLOVE_URL, download.GLOVE_MD5)]
    succeed("--imdb", imdb, "--glove", glove, "--output", tmp_path / "expected")
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
        writing = PROCESSES.Process(target=write_until, args=(step, output))
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


def pack(imdb, archive):
    """Packs the reviews' folder, in an order that is not that of the lines written."""
    with tarfile.open(archive, "w:gz") as opened:
        for path in sorted(imdb.rglob("*"), reverse=True):
            opened.add(path, Path("aclImdb", path.relative_to(imdb)), recursive=False)
    return archive


def test_an_archive_gives_the_bytes_of_the_folder(imdb, tmp_path):
    archive = pack(imdb, tmp_path / "a.tar.gz")
    packed = succeed("--imdb", archive, "--output", tmp_path / "packed", "--workers", 2)
    open_ = succeed("--imdb", imdb, "--output", tmp_path / "open")
    assert contents(tmp_path / "packed") == contents(tmp_path / "open")
    assert packed.stdout == open_.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "aclImdb", "open", "packed"]


def test_bad_reviews_in_an_archive(imdb, tmp_path):
    (imdb / "train/neg/0_1.txt").write_bytes(b"Bad film\xe9.")
    archive = pack(imdb, tmp_path / "a.tar.gz")
    line = fail("--imdb", archive, "--output", tmp_path / "output")
    assert f"{archive}/aclImdb/train/neg/0_1.txt is not UTF-8" in line


def cut_off(content):
    return content[: len(content) * 2 // 3]


def wrong_sum(content):
    """The gzip file with another sum at its end, far from the end of the tar within."""
    content = gzip.compress(gzip.decompress(content) + bytes(3 << 20))
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


@pytest.mark.parametrize("damage", [cut_off, wrong_sum, lambda content: b"<html>"])
def test_a_damaged_archive_is_refused(imdb, tmp_path, damage):
    archive = pack(imdb, tmp_path / "a.tar.gz")
    archive.write_bytes(damage(archive.read_bytes()))
    line = fail("--imdb", archive, "--output", tmp_path / "output")
    assert f"cannot read {archive}: " in line
    assert f"give --imdb the folder that holds train and test, or {download.REVIEWS_URL}, fetched again" in line
    assert nothing_but_punkt(tmp_path / "output")


def test_what_differs_from_the_published_reviews_is_told(imdb, tmp_path, monkeypatch):
    shutil.rmtree(imdb / "train/unsup")
    done = succeed("--imdb", imdb, "--output", tmp_path / "output")
    found = {"train/pos": 2, "train/neg": 1, "train/unsup": 0, "test/pos": 1, "test/neg": 1}
    for folder, count in found.items():
        published = 50000 if folder == "train/unsup" else 12500
        assert f"warning: {imdb / folder} has {count} reviews, of the published {published}" in done.stderr
    assert done.stderr.count("; without them 3a trains on the labelled reviews alone") == 1
    assert np.load(tmp_path / "output/imdb_train_labels.npy").tolist() == [1, 1, 0]
    assert len((tmp_path / "output/imdb_train.txt").read_text().splitlines()) == 3

    monkeypatch.setattr(imdb_module, "PUBLISHED", found)
    assert "warning: " not in succeed("--imdb", imdb, "--output", tmp_path / "output").stderr


def test_the_sample_is_not_measured_by_the_published_reviews(imdb, glove, tmp_path, monkeypatch):
    monkeypatch.setattr(preprocess_data, "write_sample", lambda directory: (imdb, glove))
    assert "published" not in succeed("--sample", "--output", tmp_path / "output").stderr


# ---- other runs, and a lack of memory


RUN_IN_PARTS = """
import os, signal, sys, time
sys.path.insert(0, {repo!r})
import preprocess_data
from common.distributed.ending import run_script
{patch}
run_script(preprocess_data.main, "fewer --workers need less")
"""


@pytest.mark.parametrize("function", ["write_imdb", "tokenize_chunk"])
def test_one_run_at_a_time_holds_the_output_and_none_when_it_was_killed(imdb, tmp_path, function):
    output = tmp_path / "output"
    patch = f"""
def wait(*arguments):
    print("waiting", flush=True)
    time.sleep(600)
preprocess_data.{function} = wait
"""
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=patch)
    command = [sys.executable, "-c", code, "--imdb", imdb, "--output", output, "--workers", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True) as first:
        try:
            assert first.stdout.readline() == b"waiting\n"
            line = fail("--imdb", imdb, "--output", output)
            assert line == f"another run is using {output}; wait until it ends, or give another --output"
            first.kill()
            first.communicate(timeout=60)  # ends when a worker, which has these pipes too, has ended
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)
    succeed("--imdb", imdb, "--output", output)


@pytest.mark.parametrize(
    ("patch", "status", "words"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            1,
            "a process that tokenizes was killed, as the system does when memory",
        ),
        ("[None] * (1 << 60)", 2, "out of memory: fewer --workers need less"),
    ],
)
def test_a_lack_of_memory(imdb, tmp_path, patch, status, words):
    code = RUN_IN_PARTS.format(repo=str(REPO), patch=f"preprocess_data.tokenize = lambda text: {patch}")
    done = run("--imdb", imdb, "--output", tmp_path / "output", "--workers", 2, code=code)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {words}")
    assert nothing_but_punkt(tmp_path / "output")


def nothing_but_punkt(output):
    return not output.exists() or {path.name for path in output.iterdir()} <= {"nltk_data"}


def no_such_folder(imdb):
    imdb.rename(imdb.with_name("other"))
    return f"cannot read {imdb}: No such file or directory; give --imdb the folder that holds train and test"


def remove_reviews(imdb):
    (imdb / "train/neg/0_1.txt").unlink()
    return f"no reviews in {imdb / 'train/neg'}"


def breaks_only(imdb):
    (imdb / "test/pos/0_10.txt").write_bytes(b"\xef\xbb\xbf \n<br />\n")
    return f"{imdb / 'test/pos/0_10.txt'} is empty"


def not_utf_8(imdb):
    (imdb / "train/neg/0_1.txt").write_bytes(b"Bad film\xe9.")
    return f"{imdb / 'train/neg/0_1.txt'} is not UTF-8: invalid continuation byte at byte 8"


@pytest.mark.parametrize("damage", [no_such_folder, remove_reviews, breaks_only, not_utf_8])
def test_bad_reviews(imdb, tmp_path, damage):
    message = damage(imdb)
    assert message in fail("--imdb", imdb, "--output", tmp_path / "output")
    assert nothing_but_punkt(tmp_path / "output")


def test_a_bad_glove_file_leaves_nothing_behind(imdb, glove, tmp_path):
    glove.write_text("a 1 2\nb 1\n")
    line = fail("--imdb", imdb, "--glove", glove, "--output", tmp_path / "output")
    assert line == f"{glove}, line 2: expected a token and 2 numbers: found only 1"
    assert nothing_but_punkt(tmp_path / "output")


def test_an_output_folder_that_cannot_be_written(imdb, tmp_path):
    (tmp_path / "output").write_text("mine")
    line = fail("--imdb", imdb, "--output", tmp_path / "output")
    assert f"cannot write into {tmp_path / 'output'}: File exists" in line
    # nobody may make a file in Linux's list of processes, the superuser included
    assert "cannot write into /proc/self:" in fail("--imdb", imdb, "--output", "/proc/self")


def test_glove_alone_needs_the_files_of_an_earlier_run(imdb, glove, tmp_path):
    output = tmp_path / "the output"
    assert f"{output} holds no reviews yet: give --imdb PATH too" in fail("--glove", glove, "--output", output)
    done = succeed("--imdb", imdb, "--output", output)
    assert done.stderr.endswith(f"run later  python preprocess_data.py --glove FILE --output '{output}'\n")
    # as a folder that the handout's own script made
    (output / "imdb_test_unknown.txt").rename(tmp_path / "kept")
    assert "imdb_test_unknown.txt: No such file" in fail("--glove", glove, "--output", output)
    (output / "imdb_test_unknown.txt").write_text("one\nword\n")
    assert "do not fit; give --imdb DIR too" in fail("--glove", glove, "--output", output)
    (output / "imdb_train.txt").write_text("1 2\n3 x\n1\n2\n3\n")
    assert "imdb_train.txt, line 2" in fail("--glove", glove, "--output", output)
    assert not list(output.glob("*glove*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--imdb", "a", "--sample"], "not allowed with"),
        (["--sample", "--glove", "a"], "takes no --glove"),
        (["--imdb", "a", "--no-glove"], "--no-glove goes with --download"),
        (["--imdb", "a", "--workers", "0"], "--workers"),
    ],
)
def test_bad_usage(arguments, message):
    assert message in fail(*arguments)


def test_how_a_failing_run_ends():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: give --imdb DIR, --download DIR, --sample or --glove FILE (see --help)\n"
