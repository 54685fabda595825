"""The handout's tokens: Punkt's sentences, NLTK's words, lower case; and NLTK's stop words."""

import io
import re
import sys
import warnings
import zipfile
from itertools import chain, groupby
from pathlib import Path

import nltk
import nltk.downloader
from nltk import redos
from nltk.tabdata import PunktDecoder, TabEncoder
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer, PunktTrainer

from common.errors import InputError
from common.files import make_directory, new_file, unpacking

MOST_PIECES = 1 << 20  # remembered by a process: all of IMDB's are fewer, and no text makes it grow without end
MARK = "\0"  # stands between pieces; no rule of NLTK's knows it

_sentence_tokenizer = None  # set by load_punkt
_words_of_piece = {}


def tokenize(text):
    """The tokens of a review (str): a list of str without white space (handout, "Preprocessing the Data").

    The same as `nltk.word_tokenize` of the text without `<br />` and "\\x96", in lower case, with the Punkt
    parameters of `load_punkt`, which is to be called first in every process.
    """
    words = []
    for ordinary, sentences in groupby(_sentence_tokenizer.tokenize(_without_breaks(text)), _is_ordinary):
        if ordinary:
            words += _words_of_pieces(" ".join(map(_part_full_stop, sentences)).split(" "))
        else:
            words += chain.from_iterable(map(_nltk_words, sentences))
    return words


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
    redos.DEFAULT_TIMEOUT = None  # to limit a regex's time, NLTK asks the kernel for the time at every call
    _sentence_tokenizer = _SentenceTokenizer(parameters)


def load_stop_words(data_dir):
    """NLTK's English stop words (list of str), from the places where `load_punkt` looks; InputError without them."""
    words = _from_nltk(data_dir, "stopwords", _find_stop_words)
    if words is None:
        raise InputError(
            "NLTK's stop words are missing and cannot be downloaded here: on a machine with internet run "
            "`python -m nltk.downloader stopwords`, and set NLTK_DATA to its folder"
        )
    return words


class _SentenceTokenizer(PunktSentenceTokenizer):
    """Punkt, which is not asked about the end of a sentence where its answer is known.

    At a full stop that follows an ordinary word Punkt says yes, unless it knows the word as an abbreviation or as the
    first one of a collocation; its other rules are for dots, numbers and initials. At "?" and "!" it always says yes.
    """

    # a word of two letters or more, its end, and then something that is a token of its own: not a further dot
    _ORDINARY = re.compile(r"""([A-Za-z]{2,})[.?!](?: +[^\s.]|[)";}\]*:@'({\[?!])""")

    def __init__(self, parameters):
        super().__init__(parameters)
        self._unusual = parameters.abbrev_types | {first for first, _ in parameters.collocations}

    def text_contains_sentbreak(self, text):
        match = self._ORDINARY.match(text)
        if match and match[1].lower() not in self._unusual:
            return True
        return super().text_contains_sentbreak(text)


# The words of a sentence are remembered by its pieces, what stands between two spaces. That is exact, for nearly all of
# NLTK's rules (NLTKWordTokenizer) look at one piece, at whose ends they find a space or the end of the text:
# - The rules that begin with ^ or with a space or bracket before a quote treat a quote at the start of a sentence in
#   another way than one after a space: such sentences go to NLTK whole.
# - The rules that end with $ are for a full stop, with closing quotes and brackets behind it or not, and for a comma or
#   colon at the end of a sentence. A bare full stop is cut off here, as they do; what ends otherwise than in a full
#   stop, "?", "!", a letter or a digit goes to NLTK whole.
# - The other rules that take in a space only see that it is there: none needs what is behind it.


def _is_ordinary(sentence):
    """Whether the words of a sentence are those of its pieces, once its full stop is cut off."""
    return sentence[0] not in "\"'" and (sentence[-1] in ".?!" or sentence[-1].isalnum()) and MARK not in sentence


def _part_full_stop(sentence):
    # dots are one word
    return sentence[:-1] + " ." if sentence[-1] == "." and sentence[-2:-1] != "." else sentence


def _words_of_pieces(pieces):
    new = set(pieces).difference(_words_of_piece)
    if new:
        if len(_words_of_piece) > MOST_PIECES:
            _words_of_piece.clear()
            new = set(pieces)
        _learn(new)
    return chain.from_iterable(map(_words_of_piece.__getitem__, pieces))


def _learn(pieces):
    """Adds new pieces to `_words_of_piece`, from one call of NLTK for all of them."""
    words = _nltk_words(f" {MARK} ".join(["", *pieces, ""]))
    groups = " ".join(words).split(MARK)[1:-1]
    # interned: few words stand in many pieces
    _words_of_piece.update(
        (piece, tuple(map(sys.intern, group.split()))) for piece, group in zip(pieces, groups, strict=True)
    )


def _nltk_words(sentence):
    # word_tokenize's own step after Punkt: it cannot be told which Punkt to take
    return [word.lower() for word in nltk.word_tokenize(sentence, preserve_line=True)]


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


def _folders(category, package):
    """The places on NLTK's search path that may hold a package: its folder, or the .zip file that NLTK fetches."""
    for root in map(Path, nltk.data.path):
        yield root / category / package
        # NLTK reads the first of these two; a file fetched by hand may lie in the second
        for archive in (root / category / f"{package}.zip", root / f"{package}.zip"):
            if archive.is_file():
                try:
                    with unpacking(archive):
                        opened = zipfile.Path(archive, f"{package}/")
                except OSError:
                    continue
                yield opened


def _find_stop_words():
    for folder in _folders("corpora", "stopwords"):
        try:
            with unpacking(folder):
                return (folder / "english").read_text(encoding="utf-8").split()
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
    for folder in _folders("tokenizers", "punkt_tab"):
        parameters = PunktParameters()
        try:
            with unpacking(folder):
                parameters.abbrev_types = decoder.txt2set(_lines(folder / "english" / "abbrev_types.txt"))
                parameters.collocations = set(decoder.tab2tups(_lines(folder / "english" / "collocations.tab")))
                parameters.sent_starters = decoder.txt2set(_lines(folder / "english" / "sent_starters.txt"))
                parameters.ortho_context = decoder.tab2intdict(_lines(folder / "english" / "ortho_context.tab"))
        except OSError:
            continue
        return parameters
    return None


def _lines(path):
    text = path.read_text(encoding="utf-8")
    return text.split("\n") if text else []


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
