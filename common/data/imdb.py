"""Where the reviews come from: the folder aclImdb, or the archive that it is published as."""

import gzip
import os
import re
import stat
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import PurePath, PurePosixPath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from common.data.download import REVIEWS_URL
from common.errors import InputError
from common.files import GZIP, UTF_16, ZIP, is_hidden, unpacking

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

    def name(self):
        """The name of its file with the two folders above it: "test/pos/17_8.txt"."""
        return "/".join(PurePath(self.path).parts[-3:])

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
        names = [name for name in names if name.endswith(".txt") and not is_hidden(name)]
        folders[folder] = {name: Review(str(imdb / folder / name)) for name in names}
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
    advice = f"give --imdb the folder that holds train and test, or {REVIEWS_URL}, fetched again"
    try:
        with (
            unpacking(archive, advice),
            tqdm(desc=f"reading {archive.name}", unit=" files", disable=None) as bar,
        ):
            for name, read in _entries(archive):
                bar.update()
                path = PurePosixPath(name)
                folder = "/".join(path.parts[-3:-1])
                if is_hidden(path):
                    continue
                if folder in folders and path.suffix == ".txt":
                    roots.add("/".join(path.parts[:-3]))
                    folders[folder][path.name] = Review(str(archive / name), read())
                elif "/".join(path.parts[-2:]) in folders:
                    read()  # a link in the place of the folder, which this refuses
                else:
                    others.add(path.suffix)
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
    """The name of each file or link in an archive, in its order, and a function that reads it before the next one."""
    if archive.suffix.lower() == ".csv":
        raise _table(archive)
    with open(archive, "rb") as file:
        start = file.peek(2)[:2]
        if start == ZIP:
            with zipfile.ZipFile(file) as opened:
                for entry in opened.infolist():
                    if stat.S_ISLNK(entry.external_attr >> 16):
                        yield entry.filename, partial(_refuse_link, archive, entry.filename)
                    elif not entry.is_dir():
                        yield entry.filename, partial(opened.read, entry)
            return
        # tarfile's own gzip stream would not notice bytes that changed
        stream = gzip.GzipFile(fileobj=file) if start == GZIP else file
        contents = {}  # of the files that were read: a hard link stands behind its file

        def read(entry):
            if entry.isfile():
                contents[entry.name] = opened.extractfile(entry).read()
            elif entry.islnk() and entry.linkname in contents:
                contents[entry.name] = contents[entry.linkname]
            else:
                _refuse_link(archive, entry.name)
            return contents[entry.name]

        with tarfile.open(fileobj=stream, mode="r|*", bufsize=BLOCK) as opened:
            for entry in opened:
                if entry.isfile() or entry.islnk() or entry.issym():
                    yield entry.name, partial(read, entry)
        while stream.read(BLOCK):  # the sum stands at the end
            pass


def _refuse_link(archive, name):
    raise InputError(
        f"{archive / name} is a link; pack the files themselves, with tar's options --dereference --hard-dereference"
    )
