"""The handout's tokens: Punkt's sentences, NLTK's words, lower case; and NLTK's stop words."""

import io
import re
import sys
import warnings
from itertools import chain, groupby
from pathlib import Path

import nltk
import nltk.downloader
from nltk import redos
from nltk.tabdata import PunktDecoder, TabEncoder
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer, PunktTrainer

from common.errors import InputError
from common.files import make_directory, new_set

PUNKT = "tokenizers/punkt_tab/english"  # in NLTK's data
STOP_WORDS = "corpora/stopwords/english"
MISSING = (
    "NLTK's data {0} is missing and cannot be downloaded here: on a machine with internet run "
    "`python -m nltk.downloader {0}`, and set NLTK_DATA to its folder"
)
MARK = "\0"  # stands between pieces; no rule of NLTK's knows it

_sentence_tokenizer = None  # set by load_punkt
_words_of_piece = {}  # grows with the text: IMDB has fewer than a million pieces


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
    folder = Path(data_dir) / "nltk_data" / PUNKT
    found = _find(f"{PUNKT}/ortho_context.tab", data_dir)  # the last one that `_save_punkt` writes
    if found:
        folder = found.parent
    elif reviews is None:
        raise InputError(MISSING.format("punkt_tab"))
    else:
        print(
            "warning: NLTK's punkt_tab is missing and cannot be downloaded here, so Punkt is trained on the "
            "reviews; about one token in a thousand may differ",
            file=sys.stderr,
        )
        _save_punkt(_train_punkt(reviews), folder)
    redos.DEFAULT_TIMEOUT = None  # to limit a regex's time, NLTK asks the kernel for the time at every call
    _sentence_tokenizer = _SentenceTokenizer(_read_punkt(folder))


def load_stop_words(data_dir):
    """NLTK's English stop words (list of str), from the places where `load_punkt` looks; InputError without them."""
    path = _find(STOP_WORDS, data_dir)
    if path is None:
        raise InputError(MISSING.format("stopwords"))
    return path.read_text(encoding="utf-8").split()


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
# - The rules that end with $ are for a full stop, with closing quotes and brackets after it or not, and for a comma or
#   colon at the end of a sentence. A bare full stop is cut off here, as they do; what ends otherwise than in a full
#   stop, "?", "!", a letter or a digit goes to NLTK whole.
# - The other rules that take in a space only see that it is there: none needs what comes after it.


def _is_ordinary(sentence):
    """Whether the words of a sentence are those of its pieces, once its full stop is cut off."""
    return sentence[0] not in "\"'" and (sentence[-1] in ".?!" or sentence[-1].isalnum()) and MARK not in sentence


def _part_full_stop(sentence):
    # dots are one word
    return sentence[:-1] + " ." if sentence[-1] == "." and sentence[-2:-1] != "." else sentence


def _words_of_pieces(pieces):
    new = set(pieces).difference(_words_of_piece)
    if new:  # one call of NLTK for all of them
        words = _nltk_words(f" {MARK} ".join(["", *new, ""]))
        groups = " ".join(words).split(MARK)[1:-1]
        for piece, group in zip(new, groups, strict=True):
            _words_of_piece[piece] = [*map(sys.intern, group.split())]  # few words stand in many pieces
    return chain.from_iterable(map(_words_of_piece.__getitem__, pieces))


def _nltk_words(sentence):
    # word_tokenize's own step after Punkt: it cannot be told which Punkt to take
    return [word.lower() for word in nltk.word_tokenize(sentence, preserve_line=True)]


def _find(name, data_dir):
    """The path of the file `name` of NLTK's data, on its search path or in `data_dir`/nltk_data, if need be after a
    download, or None."""

    def find():
        places = (Path(root, name) for root in [*nltk.data.path, Path(data_dir, "nltk_data")])
        return next((path for path in places if path.is_file()), None)

    if find() is None:
        nltk.downloader.NETWORK_TIMEOUT = 5  # seconds; NLTK waits two minutes for every address of the server
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nltk.download(name.split("/")[1], quiet=True, print_error_to=io.StringIO())
    return find()


def _without_breaks(text):
    return text.replace("<br />", " ").replace("\x96", " ")


def _read_punkt(folder):
    """The PunktParameters in a folder.

    NLTK's own reader refuses a folder that belongs to somebody else or that a group may write to, as the shared
    folder of a course may be.
    """

    def lines(name):
        text = (folder / name).read_text(encoding="utf-8")
        return text.split("\n") if text else []

    decoder, parameters = PunktDecoder(), PunktParameters()
    parameters.abbrev_types = decoder.txt2set(lines("abbrev_types.txt"))
    parameters.collocations = set(decoder.tab2tups(lines("collocations.tab")))
    parameters.sent_starters = decoder.txt2set(lines("sent_starters.txt"))
    parameters.ortho_context = decoder.tab2intdict(lines("ortho_context.tab"))
    return parameters


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
    with new_set() as new_file:
        for name, text in texts.items():
            with new_file(folder / name) as file:
                file.write(text.encode())
