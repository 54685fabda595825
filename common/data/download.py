"""Fetches the Large Movie Review Dataset and Stanford's GloVe vectors."""

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from common.errors import InputError
from common.files import make_directory, writing

REVIEWS_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
REVIEWS_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
GLOVE_URL = "https://nlp.stanford.edu/data/glove.840B.300d.zip"
GLOVE_MD5 = "2ffafcc9f9ae46fc8c95f32372976137"
BLOCK = 1 << 20  # bytes read at once
ATTEMPTS = 5  # at a connection that breaks off
TIMEOUT = 30  # seconds without a byte


def fetch_reviews(directory):
    """Fetches the reviews into `directory`, unless `directory`/aclImdb is there; returns that path or the archive's."""
    folder = directory / "aclImdb"
    return folder if folder.is_dir() else download(REVIEWS_URL, directory, REVIEWS_MD5)


def fetch_glove(directory):
    """Fetches the GloVe vectors into `directory`; returns the path of the zip file."""
    return download(GLOVE_URL, directory, GLOVE_MD5)


def download(url, directory, md5):
    """Fetches the file `url`, which has the sum `md5` (hexadecimal digits), into `directory`, unless it is there.

    Returns its path. What has come lies in a file beside it, with .part at its name's end, until it is whole and its
    sum is right; a later call goes on from there. InputError when the server or the disk fails, or the sum is another.
    """
    path = directory / url.rpartition("/")[2]
    if path.exists():
        return path
    make_directory(directory)
    part = path.with_name(path.name + ".part")
    print(f"fetching {url}", file=sys.stderr)
    with writing(path):
        for _ in range(ATTEMPTS):
            if _fetch_rest(url, part):
                break
            time.sleep(1)
        else:
            raise InputError(
                f"{url} did not come whole in {ATTEMPTS} attempts; run this again, which goes on from there"
            )
        if _md5(part) != md5:
            part.unlink()
            raise InputError(f"what came from {url} has not the MD5 sum {md5} and was removed; try again")
        os.replace(part, path)
    return path


def _fetch_rest(url, part):
    """Adds to the file `part` what it lacks of `url`; False when the connection breaks off."""
    have = part.stat().st_size if part.exists() else 0
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing is lacking
        raise InputError(f"cannot fetch {url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"cannot reach {url}: {getattr(error, 'reason', error)}") from error
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        have = 0  # this server cannot go on where it stopped: all comes again
    total = have + int(response.headers["Content-Length"])
    with (
        response,
        open(part, "ab" if have else "wb") as file,
        tqdm(total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, disable=None) as bar,
    ):
        for block in _blocks(response):
            bar.update(file.write(block))
    return part.stat().st_size == total


def _blocks(response):
    """The bytes of a response, until its end or until the connection breaks off."""
    try:
        while block := response.read1(BLOCK):  # which gives what has come, also where the rest does not
            yield block
    except (OSError, http.client.HTTPException):
        return


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
