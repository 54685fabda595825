"""The handout's tokens: Punkt's sentences, NLTK's words, lower case; and NLTK's stop words."""

import io
import sys
import warnings
from pathlib import Path

import nltk
import nltk.downloader
from nltk.tabdata import PunktDecoder, TabEncoder
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer, PunktTrainer

from common.errors import InputError
from common.files import make_directory, new_file

_sentence_tokenizer = None  # set by load_punkt


def tokenize(text):
    """The tokens of a review (str): a list of str without white space (handout, "Preprocessing the Data").

    The same as `nltk.word_tokenize` of the text without `<br />` and "\\x96", in lower case, with the Punkt
    parameters of `load_punkt`, which is to be called first in every process.
    """
    # word_tokenize's own two steps: it cannot be told which Punkt to take for the first
    sentences = _sentence_tokenizer.tokenize(_without_breaks(text))
    return [word.lower() for line in sentences for word in nltk.word_tokenize(line, preserve_line=True)]


def load_punkt(data_dir, reviews=None):
    """Finds the English parameters of Punkt, which cut a text into sentences before its words are taken.

    They come from NLTK's own search path (NLTK_DATA), from `data_dir`/nltk_data, or from `nltk.download`. Where
    none of these has them, Punkt is trained on `reviews` (an iterable of str), with a warning, and saved in
    `data_dir`/nltk_data; InputError without `reviews`.
    """
    global _sentence_tokenizer
    parameters = _from_nltk(data_dir, "punkt_tab", _find_punkt)
    if parameters is None:
        if reviews is None:
            raise InputError(
                "NLTK's punkt_tab is missing and cannot be downloaded here: on a machine with internet run "
                "`python -m nltk.downloader punkt_tab`, and set NLTK_DATA to its folder"
            )
        print(
            "warning: NLTK's punkt_tab is missing and cannot be downloaded here, so Punkt is trained on the "
            "reviews; about one token in a thousand may differ",
            file=sys.stderr,
        )
        parameters = _train_punkt(reviews)
        _save_punkt(parameters, _punkt_folder(Path(data_dir) / "nltk_data"))
    _sentence_tokenizer = PunktSentenceTokenizer(parameters)


def load_stop_words(data_dir):
    """NLTK's English stop words (list of str), from the places where `load_punkt` looks; InputError without them."""
    words = _from_nltk(data_dir, "stopwords", _find_stop_words)
    if words is None:
        raise InputError(
            "NLTK's stop words are missing and cannot be downloaded here: on a machine with internet run "
            "`python -m nltk.downloader stopwords`, and set NLTK_DATA to its folder"
        )
    return words


def _from_nltk(data_dir, package, find):
    """What `find` finds on NLTK's search path or in `data_dir`/nltk_data, if need be after a download, or None."""
    path = str(Path(data_dir).absolute() / "nltk_data")
    if path not in nltk.data.path:
        nltk.data.path.append(path)
    found = find()
    if found is None:
        nltk.downloader.NETWORK_TIMEOUT = 5  # seconds; NLTK waits two minutes for every address of the server
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nltk.download(package, quiet=True, print_error_to=io.StringIO())
        found = find()
    return found


def _find_stop_words():
    for path in nltk.data.path:
        try:
            return (Path(path) / "corpora" / "stopwords" / "english").read_text(encoding="utf-8").split()
        except OSError:
            continue
    return None


def _without_breaks(text):
    return text.replace("<br />", " ").replace("\x96", " ")


def _punkt_folder(nltk_data):
    return Path(nltk_data) / "tokenizers" / "punkt_tab" / "english"


def _find_punkt():
    """The first PunktParameters on NLTK's search path, or None.

    NLTK's own reader refuses a folder that belongs to somebody else or that a group may write to, as the shared
    folder of a course may be.
    """
    decoder = PunktDecoder()
    for path in nltk.data.path:
        folder = _punkt_folder(path)
        parameters = PunktParameters()
        try:
            parameters.abbrev_types = decoder.txt2set(_lines(folder / "abbrev_types.txt"))
            parameters.collocations = set(decoder.tab2tups(_lines(folder / "collocations.tab")))
            parameters.sent_starters = decoder.txt2set(_lines(folder / "sent_starters.txt"))
            parameters.ortho_context = decoder.tab2intdict(_lines(folder / "ortho_context.tab"))
        except OSError:
            continue
        return parameters
    return None


def _lines(path):
    return path.read_text(encoding="utf-8").split("\n") if path.stat().st_size else []


class _Trainer(PunktTrainer):
    def _unique_types(self, tokens):
        # a set is walked in the order of the hash seed, and the abbreviations found can depend on the order
        return sorted(super()._unique_types(tokens))


def _train_punkt(reviews):
    return _Trainer("\n\n".join(map(_without_breaks, reviews))).get_params()


def _save_punkt(parameters, folder):
    """Writes the four files of NLTK's punkt_tab, sorted, so that the same reviews give the same bytes."""
    encoder = TabEncoder()
    texts = {
        "abbrev_types.txt": encoder.list2txt(sorted(parameters.abbrev_types)),
        "collocations.tab": encoder.tups2tab(sorted(parameters.collocations)),
        "sent_starters.txt": encoder.list2txt(sorted(parameters.sent_starters)),
        "ortho_context.tab": encoder.ivdict2tab(dict(sorted(parameters.ortho_context.items()))),
    }
    make_directory(folder)
    for name, text in texts.items():
        with new_file(folder / name) as file:
            file.write(text.encode())
