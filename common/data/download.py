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
from common.files import make_directory

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
    if folder.is_dir():
        return folder
    archive = directory / "aclImdb_v1.tar.gz"
    download(REVIEWS_URL, archive, REVIEWS_MD5)
    return archive


def fetch_glove(directory):
    """Fetches the GloVe vectors into `directory`; returns the path of the zip file."""
    archive = directory / "glove.840B.300d.zip"
    download(GLOVE_URL, archive, GLOVE_MD5)
    return archive


def download(url, path, md5):
    """Fetches `url` to the file `path`, which has the sum `md5` (hexadecimal digits), unless it is there already.

    What has come lies in `path`.part until it is whole and its sum is right; a later call goes on from there.
    InputError when the server or the disk fails, or the sum is another.
    """
    if path.exists():
        if _md5(path) != md5:
            raise InputError(f"{path} is not the file of {url} (its MD5 sum is not {md5}); remove it and try again")
        return
    make_directory(path.parent)
    part = path.with_name(path.name + ".part")
    print(f"fetching {url}", file=sys.stderr)
    try:
        for _ in range(ATTEMPTS):
            if _fetch_rest(url, part, md5):
                break
            time.sleep(1)
        else:
            raise InputError(
                f"{url} did not come whole in {ATTEMPTS} attempts; run this again, which goes on from there if the "
                "server can"
            )
        if _md5(part) != md5:
            part.unlink()
            raise InputError(f"what came from {url} has not the MD5 sum {md5} and was removed; try again")
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _fetch_rest(url, part, md5):
    """Adds to the file `part` what it lacks of `url`; False when the connection breaks off.

    Where the server does not tell the length, all has come when the sum is `md5`.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # nothing is lacking
        raise InputError(f"cannot fetch {url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"cannot reach {url}: {getattr(error, 'reason', error)}") from error
    with response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise InputError(f"{url} leads to {response.url}, which is not encrypted")
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            print("this server cannot go on where it stopped: all comes again", file=sys.stderr)
            have = 0
        length = response.headers["Content-Length"]
        total = have + int(length) if length else None
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in _blocks(response):
                file.write(block)
                bar.update(len(block))
    return part.stat().st_size == total if total else _md5(part) == md5


def _blocks(response):
    """The bytes of a response, until its end or until the connection breaks off."""
    try:
        while block := response.read1(BLOCK):  # which gives what has come, also where the rest does not
            yield block
    except (OSError, http.client.HTTPException):
        return


def _md5(path):
    md5 = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            md5.update(block)
    return md5.hexdigest()
