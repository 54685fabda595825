"""Where the reviews come from: the folder aclImdb, or the archive that it is published as."""

import gzip
import os
import re
import sys
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from common.data.download import REVIEWS_URL
from common.errors import InputError
from common.files import GZIP, UTF_16, ZIP

# the folders of each split, in the order of the lines written, and their label
SPLITS = {
    "train": {"train/pos": 1, "train/neg": 0, "train/unsup": -1},
    "test": {"test/pos": 1, "test/neg": 0},
}
PUBLISHED = {"train/pos": 12500, "train/neg": 12500, "train/unsup": 50000, "test/pos": 12500, "test/neg": 12500}
BLOCK = 1 << 20  # bytes read at once


class Review(NamedTuple):
    """A review's path, or its place in an archive, and the bytes of its file (None: they are in the file `path`)."""

    path: str
    content: bytes | None = None

    def text(self):
        """The review (str), all lines of its file; InputError where that cannot be read, or is not UTF-8."""
        try:
            content = self.content
            if content is None:
                with open(self.path, "rb") as file:
                    content = file.read()
            # UTF-16 without its mark is UTF-8 with a zero beside every letter
            if content.startswith(UTF_16) or b"\0" in content:
                raise InputError(f"{self.path} is UTF-16, or no text: convert it with  iconv -f UTF-16 -t UTF-8")
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path} is not UTF-8: {error.reason} at byte {error.start}") from error
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from error


def find_reviews(imdb):
    """The reviews of each split, each folder's by their number: {split: (list of Review, labels (reviews,) int8)}.

    imdb: the path of the folder that holds train and test, or of a .tar, .tar.gz, .tgz or .zip file of that folder,
    which is read once from its beginning to its end and not unpacked. The folder train/unsup may be missing.
    InputError where another folder is, or holds no reviews, and for what is no archive of the reviews.
    """
    folders = _list_folder(imdb) if imdb.is_dir() else _read_archive(imdb)
    splits = {}
    for split, labels in SPLITS.items():
        reviews, split_labels = [], []
        for folder, label in labels.items():
            names = sorted(folders[folder], key=lambda name: (_number(imdb, folder, name), name))
            if not names and folder != "train/unsup":
                raise InputError(f"no reviews in {imdb / folder}")
            reviews += [folders[folder][name] for name in names]
            split_labels += [label] * len(names)
        splits[split] = reviews, np.array(split_labels, np.int8)
    return splits


def warn_of_differences(imdb, splits):
    """Says on standard error where what `find_reviews` found is not the published data set."""
    found = {
        folder: np.count_nonzero(splits[split][1] == label)
        for split, labels in SPLITS.items()
        for folder, label in labels.items()
    }
    if not found["train/unsup"]:
        _warn(
            f"{imdb} has no train/unsup: 3a will train on the labelled reviews alone, and the dictionary has their "
            f"words alone; it is in {REVIEWS_URL}"
        )
    if found != PUBLISHED:
        counts = ", ".join(f"{folder} {count}" for folder, count in found.items())
        _warn(f"{imdb} holds other numbers of reviews than the published {list(PUBLISHED.values())}: {counts}")
    odd = [
        review.path
        for reviews, _ in splits.values()
        for review in reviews
        if not re.fullmatch(r"[0-9]+_[0-9]+\.txt", os.path.basename(review.path))
    ]
    if odd:
        _warn(f"{len(odd)} names are not NUMBER_RATING.txt, but are read as reviews: {', '.join(odd[:3])}")


def _warn(message):
    print(f"warning: {message}", file=sys.stderr)


def _is_review(name):
    return name.endswith(".txt") and not name.startswith(".")


def _number(imdb, folder, name):
    number = re.match("[0-9]+", name)
    if not number:
        raise InputError(f"{imdb / folder / name}: a review's name starts with its number, as in 17_8.txt")
    return int(number[0])


def _list_folder(imdb):
    """{folder: {name: Review}} of the folder that holds train and test; the files are not read yet."""
    folders = {}
    for folder in PUBLISHED:
        try:
            names = os.listdir(imdb / folder)
        except FileNotFoundError as error:
            if folder != "train/unsup":
                raise _unreadable(imdb / folder, error) from error
            names = []
        except OSError as error:
            raise _unreadable(imdb / folder, error) from error
        folders[folder] = {name: Review(str(imdb / folder / name)) for name in names if _is_review(name)}
    return folders


def _unreadable(path, error):
    return InputError(
        f"cannot read {path}: {error.strerror}; give --imdb the folder that holds train and test, or the file "
        "aclImdb_v1.tar.gz"
    )


def _read_archive(archive):
    """{folder: {name: Review}} of an archive, with the bytes of the files."""
    folders = {folder: {} for folder in PUBLISHED}
    roots = set()
    others = set()  # how the names of other files end
    try:
        with tqdm(desc=f"reading {archive.name}", unit=" files", disable=None) as bar:
            for name, read in _entries(archive):
                bar.update()
                path = PurePosixPath(name)
                folder = "/".join(path.parts[-3:-1])
                # a Mac adds __MACOSX/…/._17_8.txt
                if folder in folders and _is_review(path.name):
                    roots.add("/".join(path.parts[:-3]))
                    folders[folder][path.name] = Review(str(archive / name), read())
                else:
                    others.add(path.suffix)
    # RuntimeError: a password, or a compression that Python does not know
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile, RuntimeError) as error:
        raise InputError(
            f"{archive} is no whole tar or zip file ({error}); give --imdb the folder that holds train and test, or "
            f"{REVIEWS_URL}, fetched again"
        ) from error
    except OSError as error:
        raise _unreadable(archive, error) from error
    if not roots and ".csv" in others:
        raise _table(archive)
    if len(roots) > 1:
        raise InputError(f"{archive} holds the reviews {len(roots)} times: in {', '.join(sorted(roots))}")
    return folders


def _table(path):
    return InputError(
        f"{path} is a table, as Kaggle's IMDB Dataset.csv: it lacks the split into training and test reviews and the "
        f"50,000 unlabelled reviews of 3a; give --imdb the published file, {REVIEWS_URL}"
    )


def _entries(archive):
    """The name of each file in an archive, in its order, and a function that reads it before the next one."""
    if archive.suffix.lower() == ".csv":
        raise _table(archive)
    with open(archive, "rb") as file:
        start = file.peek(2)[:2]
        if start == ZIP:
            with zipfile.ZipFile(file) as opened:
                for entry in opened.infolist():
                    if not entry.is_dir():
                        yield entry.filename, lambda entry=entry: opened.read(entry)
            return
        # tarfile's own gzip stream would not notice bytes that changed
        stream = gzip.GzipFile(fileobj=file) if start == GZIP else file
        with tarfile.open(fileobj=stream, mode="r|*", bufsize=BLOCK) as opened:
            for entry in opened:
                if entry.isfile():
                    yield entry.name, lambda entry=entry: opened.extractfile(entry).read()
        while stream.read(BLOCK):  # the sum stands at the end
            pass
