"""Tokens equal those of nltk.word_tokenize, and Punkt is found, or trained where it cannot be had."""

import ast
import hashlib
import random
import shutil
import time
from pathlib import Path

import nltk
import pytest
from nltk.tokenize import punkt
from nltk.tokenize.destructive import MacIntyreContractions, NLTKWordTokenizer
from odd_archives import DEFLATE64, PASSWORD, packed_as
from odd_texts import Oracle, odd_text

from common.data import tokenizing
from common.errors import InputError

TEXTS = [
    "Mr. Smith's film wasn't good.<br /><br />\"Why?\" I hear you ask... It cost $3.88 (or 3,50 euros)!",
    "I'd say 8/10 \x96 it's Dr. Who's best; gonna watch it vs. the others, e.g. Nr. 5. And the rest, well--",
    "'Twas “grand” – the U.S. version isn't. No. 2 was ok.Then nothing.",
    "no sentence end here",
    "...",
]
REVIEWS = ["I saw Mr. Brown and Mr. Green in it. They were fine. It was made by Dr. Black. We liked it."] * 20


@pytest.fixture
def no_punkt(monkeypatch):
    """NLTK without any data, and no server to fetch it from."""
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk, "download", lambda *args, **kwargs: False)


def test_tokens_are_those_of_word_tokenize(tmp_path, no_punkt):
    tokenizing.load_punkt(tmp_path, REVIEWS)
    for text in TEXTS:
        plain = text.replace("<br />", " ").replace("\x96", " ")
        # tmp_path is on NLTK's search path now, so this reads the files that load_punkt saved
        assert tokenizing.tokenize(text) == [word.lower() for word in nltk.word_tokenize(plain)]
    assert " ".join(tokenizing.tokenize("Mr. Brown<br />isn't bad. At all.")) == "mr. brown is n't bad . at all ."


@pytest.fixture(scope="module")
def sample_reviews(sample_data):
    return [path.read_text(encoding="utf-8") for path in sorted((sample_data / "sample/aclImdb").glob("t*/*/*.txt"))]


@pytest.fixture
def oracle(tmp_path, no_punkt, sample_reviews):
    """NLTK's own tokens, with a Punkt that knows abbreviations and collocations of every kind."""
    parameters = tokenizing._train_punkt(sample_reviews[::10])
    parameters.abbrev_types |= {"mr", "dr", "u.s", "e.g", "i.e", "etc", "film", "movie", "is", "a", "x", "o'clock"}
    pairs = [
        (first, second) for first in ("the", "smith", "b", "not") for second in ("movie", "the", "it", "film", "x")
    ]
    parameters.collocations |= {*pairs, ("##number##", "film")}
    tokenizing._save_punkt(parameters, tokenizing._punkt_folder(tmp_path / "nltk_data"))
    tokenizing.load_punkt(tmp_path)
    return Oracle()


def test_the_sample_has_nltks_tokens(oracle, sample_reviews):
    for review in sample_reviews[::8]:
        assert tokenizing.tokenize(review) == oracle.tokens(review)


def test_every_text_in_the_tests_has_nltks_tokens(oracle):
    texts = {
        node.value
        for path in Path(__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert texts.issuperset(TEXTS)
    for text in sorted(texts):
        assert tokenizing.tokenize(text) == oracle.tokens(text), text


@pytest.mark.parametrize("most_pieces", [tokenizing.MOST_PIECES, 50])
def test_odd_texts_have_nltks_tokens(oracle, sample_reviews, monkeypatch, most_pieces):
    monkeypatch.setattr(tokenizing, "MOST_PIECES", most_pieces)
    monkeypatch.setattr(tokenizing, "_words_of_piece", {})
    rng = random.Random(most_pieces)
    abbreviations = oracle.abbreviations()
    for _ in range(2000):
        text = odd_text(rng, sample_reviews, abbreviations)
        assert tokenizing.tokenize(text) == oracle.tokens(text), text


def test_few_pieces_are_remembered(oracle, monkeypatch):
    monkeypatch.setattr(tokenizing, "MOST_PIECES", 5)
    monkeypatch.setattr(tokenizing, "_words_of_piece", {})
    for number in range(50):
        assert tokenizing.tokenize(f"Part {number} is {number} times as good.")[1] == str(number)
    assert 5 <= len(tokenizing._words_of_piece) <= 11


def test_most_sentences_take_the_short_cuts(oracle, sample_reviews, monkeypatch):
    calls = []
    word_tokenize = nltk.word_tokenize
    monkeypatch.setattr(
        nltk, "word_tokenize", lambda text, **options: calls.append(text) or word_tokenize(text, **options)
    )
    for review in sample_reviews[:200]:
        tokenizing.tokenize(review)
    calls.clear()
    for review in sample_reviews[:200]:
        tokenizing.tokenize(review)
    # only the sentences with quotes or brackets at an end are NLTK's again
    assert len(calls) < 0.15 * sum(len(oracle._sentence_tokenizer.tokenize(review)) for review in sample_reviews[:200])


def test_nltks_rules_are_those_that_the_short_cuts_were_made_for():
    """Where this fails, NLTK has other rules: see whether tokenizing.py's comments still hold, run odd_texts.py."""
    tokenizer = NLTKWordTokenizer
    rules = [
        *((rule.pattern, replacement) for rule, replacement in tokenizer.STARTING_QUOTES),
        *((rule.pattern, replacement) for rule, replacement in tokenizer.PUNCTUATION),
        (tokenizer.PARENS_BRACKETS[0].pattern, tokenizer.PARENS_BRACKETS[1]),
        (tokenizer.DOUBLE_DASHES[0].pattern, tokenizer.DOUBLE_DASHES[1]),
        *((rule.pattern, replacement) for rule, replacement in tokenizer.ENDING_QUOTES),
        MacIntyreContractions.CONTRACTIONS2,
        MacIntyreContractions.CONTRACTIONS3,
    ]
    variables = punkt.PunktLanguageVars()
    for rule in (variables.period_context_re(), variables.re_boundary_realignment, variables._word_tokenizer_re()):
        rules.append(rule.pattern.replace(r"\?!", r"!\?"))  # NLTK takes the two from a set
    assert len(rules) == 28
    assert (
        hashlib.sha256(repr(rules).encode()).hexdigest()
        == "d3a92a50779002b396b9395760e3c2ced81938f1dcdcd4c7b3196a6adc5db442"
    )


HOSTILE = [
    "a.",
    "a. ",
    ". ",
    ".",
    " ",
    "\n",
    "x",
    "'",
    '"',
    "''\" ",
    "a.)",
    ".)",
    "a.) ",
    "-",
    "`",
    "``'",
    "((",
    "?!",
    ". . . ",
    ",",
    ":,",
    "n't ",
    "can",
    "cannot",
    "\0",
    "\0 ",
    "'t",
    "U.S.",
    "J. ",
    "1. ",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_no_text_takes_time_out_of_proportion(oracle, unit):
    """NLTK's time limit for regular expressions is off; ten times the text may take some ten times as long."""

    def seconds(length):
        tokenizing._words_of_piece.clear()
        text = (unit * length)[:length] + "x"
        start = time.process_time()
        tokenizing.tokenize(text)
        return time.process_time() - start

    # a square would take a hundred times as long
    assert min(seconds(100_000) for _ in range(2)) < 40 * max(min(seconds(10_000) for _ in range(3)), 0.005)


def test_punkt_is_trained_once(tmp_path, no_punkt, capsys):
    tokenizing.load_punkt(tmp_path, iter(REVIEWS))
    assert capsys.readouterr().err.startswith("warning: NLTK's punkt_tab is missing")
    files = sorted(path.name for path in (tmp_path / "nltk_data/tokenizers/punkt_tab/english").iterdir())
    assert files == ["abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"]
    first = [tokenizing.tokenize(text) for text in TEXTS]

    tokenizing.load_punkt(tmp_path)
    assert capsys.readouterr().err == ""
    assert [tokenizing.tokenize(text) for text in TEXTS] == first


def test_nltks_own_search_path_comes_first(tmp_path, no_punkt, monkeypatch):
    folder = tmp_path / "shared/tokenizers/punkt_tab/english"
    folder.mkdir(parents=True)
    for name in ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"):
        (folder / name).write_text("blah" if name == "abbrev_types.txt" else "")
    # NLTK itself would refuse a folder that a group may write to
    folder.chmod(0o777)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "shared")])
    tokenizing.load_punkt(tmp_path / "output")
    assert " ".join(tokenizing.tokenize("It is blah. and so on.")) == "it is blah. and so on ."
    assert not (tmp_path / "output").exists()


def test_a_half_written_punkt_is_trained_again(tmp_path, no_punkt, capsys):
    tokenizing.load_punkt(tmp_path, REVIEWS)
    (tmp_path / "nltk_data/tokenizers/punkt_tab/english/sent_starters.txt").unlink()
    capsys.readouterr()
    tokenizing.load_punkt(tmp_path, REVIEWS)
    assert capsys.readouterr().err.startswith("warning")


def test_a_download_is_taken(tmp_path, no_punkt, monkeypatch, capsys):
    def download(package, **kwargs):
        assert package == "punkt_tab"
        tokenizing._save_punkt(tokenizing._train_punkt(REVIEWS), tokenizing._punkt_folder(tmp_path / "home"))
        nltk.data.path.append(str(tmp_path / "home"))

    monkeypatch.setattr(nltk, "download", download)
    tokenizing.load_punkt(tmp_path / "output")
    assert tokenizing.tokenize("One. Two.") == ["one", ".", "two", "."]
    assert capsys.readouterr().err == ""


def test_the_zip_files_of_nltks_server_are_read_unopened(tmp_path, no_punkt, monkeypatch, capsys):
    tokenizing._save_punkt(tokenizing._train_punkt(REVIEWS), tokenizing._punkt_folder(tmp_path / "nltk_data"))
    stop_words = tmp_path / "nltk_data/corpora/stopwords"
    stop_words.mkdir(parents=True)
    (stop_words / "english").write_text("the\nof\n")
    for name, category in (("by hand", "."), ("by NLTK", None)):
        data = tmp_path / name
        for package, folder in (("punkt_tab", "tokenizers"), ("stopwords", "corpora")):
            (data / (category or folder)).mkdir(parents=True, exist_ok=True)
            archive = data / (category or folder) / package
            shutil.make_archive(archive, "zip", tmp_path / "nltk_data" / folder, package)
        monkeypatch.setattr(nltk.data, "path", [str(data)])
        tokenizing.load_punkt(tmp_path / "output")
        assert tokenizing.tokenize("I saw Mr. Brown. Fine.") == ["i", "saw", "mr.", "brown", ".", "fine", "."]
        assert tokenizing.load_stop_words(tmp_path / "output") == ["the", "of"]
    assert capsys.readouterr().err == ""

    whole = archive.with_suffix(".zip").read_bytes()
    for damaged in (b"PK half", packed_as(whole, DEFLATE64), packed_as(whole, flags=PASSWORD)):
        archive.with_suffix(".zip").write_bytes(damaged)
        with pytest.raises(InputError, match=r"stopwords\.zip.* is damaged, or no archive that Python can unpack"):
            tokenizing.load_stop_words(tmp_path / "output")


def test_a_damaged_punkt_is_refused(tmp_path, no_punkt, monkeypatch):
    folder = tokenizing._punkt_folder(tmp_path / "nltk_data")
    tokenizing._save_punkt(tokenizing._train_punkt(REVIEWS), folder)
    (folder / "ortho_context.tab").write_text("word\n")
    with pytest.raises(InputError, match=r"punkt_tab is damaged"):
        tokenizing.load_punkt(tmp_path)


def test_without_reviews_it_says_what_to_do(tmp_path, no_punkt):
    with pytest.raises(InputError, match=r"python -m nltk\.downloader punkt_tab"):
        tokenizing.load_punkt(tmp_path)


@pytest.mark.parametrize("reviews", [["x"], ["no end of a sentence", "..."], ["One. Two."]])
def test_even_a_few_words_train_punkt(tmp_path, no_punkt, reviews):
    tokenizing.load_punkt(tmp_path, reviews)
    tokenizing.load_punkt(tmp_path)
    assert tokenizing.tokenize("Here it is. Done.") == ["here", "it", "is", ".", "done", "."]


def test_stop_words(tmp_path, no_punkt):
    with pytest.raises(InputError, match=r"nltk\.downloader stopwords"):
        tokenizing.load_stop_words(tmp_path)
    folder = tmp_path / "nltk_data/corpora/stopwords"
    folder.mkdir(parents=True)
    (folder / "english").write_bytes(b"the\r\nof\n")
    assert tokenizing.load_stop_words(tmp_path) == ["the", "of"]
