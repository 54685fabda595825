"""Where the reviews come from: the folder aclImdb, or the archive that it is published as."""

import os
import re
import sys
import tarfile
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from common.data.download import REVIEWS_URL
from common.errors import InputError
from common.files import reading

# the folders of each split, in the order of the lines written, and their label
SPLITS = {
    "train": {"train/pos": 1, "train/neg": 0, "train/unsup": -1},
    "test": {"test/pos": 1, "test/neg": 0},
}
PUBLISHED = {"train/pos": 12500, "train/neg": 12500, "train/unsup": 50000, "test/pos": 12500, "test/neg": 12500}
ADVICE = f"give --imdb the folder that holds train and test, or {REVIEWS_URL}, fetched again"
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
        content = self.content
        if content is None:
            with reading(self.path, ADVICE), open(self.path, "rb") as file:
                content = file.read()
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path} is not UTF-8: {error.reason} at byte {error.start}") from error


def find_reviews(imdb, warn=True):
    """The reviews of each split, each folder's by their number: {split: (list of Review, labels (reviews,) int8)}.

    imdb: the path of the folder that holds train and test, or of a tar file of that folder, packed or not, which is
    read once from its beginning to its end and not unpacked. The folder train/unsup may be missing. `warn` tells on
    standard error where the reviews are not as many as those published. InputError where another folder is missing, or
    holds no reviews (files named NUMBER_RATING.txt), and for a damaged archive.
    """
    folders = _list_folder(imdb) if imdb.is_dir() else _read_archive(imdb)
    splits = {}
    for split, labels in SPLITS.items():
        reviews, split_labels = [], []
        for folder, label in labels.items():
            found = {_number(review): review for review in folders[folder] if _number(review)}
            if not found and folder != "train/unsup":
                raise InputError(f"no reviews in {imdb / folder}; {ADVICE}")
            if warn and len(found) != PUBLISHED[folder]:
                advice = "" if found else "; without them 3a trains on the labelled reviews alone"
                message = f"warning: {imdb / folder} has {len(found)} reviews, of the published {PUBLISHED[folder]}"
                print(message + advice, file=sys.stderr)
            reviews += [found[number] for number in sorted(found)]
            split_labels += [label] * len(found)
        splits[split] = reviews, np.array(split_labels, np.int8)
    return splits


def _number(review):
    """(number, rating) in the name of a review's file; None where it is another file."""
    match = re.fullmatch(r"([0-9]+)_([0-9]+)\.txt", PurePath(review.path).name)
    return match and (int(match[1]), int(match[2]))


def _list_folder(imdb):
    """{folder: list of Review} of the folder that holds train and test; the files are not read yet."""
    folders = {folder: [] for folder in PUBLISHED}
    for folder in folders:
        if folder != "train/unsup" or (imdb / folder).exists():
            with reading(imdb / folder, ADVICE):
                folders[folder] = [Review(str(imdb / folder / name)) for name in os.listdir(imdb / folder)]
    return folders


def _read_archive(path):
    """{folder: list of Review} of a tar file, with the bytes of the files."""
    folders = {folder: [] for folder in PUBLISHED}
    with (
        reading(path, ADVICE),
        tarfile.open(path) as archive,
        tqdm(desc=f"reading {path.name}", unit=" files", disable=None) as bar,
    ):
        for entry in archive:
            bar.update()
            review = Review(str(path / entry.name))
            folder = "/".join(PurePath(entry.name).parts[-3:-1])
            if entry.isfile() and folder in folders and _number(review):
                folders[folder].append(review._replace(content=archive.extractfile(entry).read()))
        while archive.fileobj.read(BLOCK):
            pass  # a packed file's check sum stands at its end
    return folders
