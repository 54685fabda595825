"""Tokens equal those of nltk.word_tokenize, and Punkt is found, or trained where it cannot be had."""

import nltk
import pytest

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
    (folder / "english").write_text("the\nof\n")
    assert tokenizing.load_stop_words(tmp_path) == ["the", "of"]
