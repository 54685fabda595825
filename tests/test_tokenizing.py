"""Tokens equal those of nltk.word_tokenize, and Punkt is found, or trained where it cannot be had."""

import hashlib
import random
import time

import nltk
import pytest
from nltk.tokenize import punkt
from nltk.tokenize.destructive import MacIntyreContractions, NLTKWordTokenizer
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


def test_tokens_are_those_of_word_tokenize(tmp_path, no_punkt, monkeypatch):
    tokenizing.load_punkt(tmp_path, REVIEWS)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk_data")])  # what load_punkt saved
    for text in TEXTS:
        plain = text.replace("<br />", " ").replace("\x96", " ")
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
    tokenizing._save_punkt(parameters, tmp_path / "nltk_data" / tokenizing.PUNKT)
    tokenizing.load_punkt(tmp_path)
    return Oracle()


def test_the_sample_has_nltks_tokens(oracle, sample_reviews):
    for review in sample_reviews[::8]:
        assert tokenizing.tokenize(review) == oracle.tokens(review)


def test_odd_texts_have_nltks_tokens(oracle, sample_reviews):
    rng = random.Random(0)
    abbreviations = oracle.abbreviations()
    for _ in range(3000):
        text = odd_text(rng, sample_reviews, abbreviations)
        assert tokenizing.tokenize(text) == oracle.tokens(text), text


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
    """Where this fails, NLTK has other rules: do tokenizing.py's comments still hold? Test more odd texts."""
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


# a unit of each kind that a rule repeats
HOSTILE = ["a.", ". ", " ", "x", "''\" ", "-", "``'", "((", ". . . ", "n't ", "\0 "]


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
    folder = tmp_path / "shared" / tokenizing.PUNKT
    folder.mkdir(parents=True)
    for name in ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"):
        (folder / name).write_text("blah" if name == "abbrev_types.txt" else "")
    # NLTK itself would refuse a folder that a group may write to
    folder.chmod(0o777)
    tokenizing.load_punkt(tmp_path / "output", REVIEWS)  # trains one that does not know the word
    assert " ".join(tokenizing.tokenize("It is blah. And so on.")) == "it is blah . and so on ."
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "shared")])
    for output in ("output", "new"):
        tokenizing.load_punkt(tmp_path / output)
        assert " ".join(tokenizing.tokenize("It is blah. And so on.")) == "it is blah. and so on ."
    assert not (tmp_path / "new").exists()


def test_a_download_is_taken(tmp_path, no_punkt, monkeypatch, capsys):
    def download(package, **kwargs):
        assert package == "punkt_tab"
        tokenizing._save_punkt(tokenizing._train_punkt(REVIEWS), tmp_path / "home" / tokenizing.PUNKT)
        nltk.data.path.append(str(tmp_path / "home"))

    monkeypatch.setattr(nltk, "download", download)
    tokenizing.load_punkt(tmp_path / "output")
    assert tokenizing.tokenize("One. Two.") == ["one", ".", "two", "."]
    assert capsys.readouterr().err == ""


def test_without_reviews_it_says_what_to_do(tmp_path, no_punkt):
    with pytest.raises(InputError, match=r"python -m nltk\.downloader punkt_tab"):
        tokenizing.load_punkt(tmp_path)


def test_even_a_few_words_train_punkt(tmp_path, no_punkt):
    tokenizing.load_punkt(tmp_path, ["x"])
    tokenizing.load_punkt(tmp_path)
    assert tokenizing.tokenize("Here it is. Done.") == ["here", "it", "is", ".", "done", "."]


def test_stop_words(tmp_path, no_punkt):
    with pytest.raises(InputError, match=r"nltk\.downloader stopwords"):
        tokenizing.load_stop_words(tmp_path)
    path = tmp_path / "nltk_data" / tokenizing.STOP_WORDS
    path.parent.mkdir(parents=True)
    path.write_bytes(b"the\r\nof\n")
    assert tokenizing.load_stop_words(tmp_path) == ["the", "of"]
