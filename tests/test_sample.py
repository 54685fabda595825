"""The made-up corpus: its layout, its bytes, and that sentiment can be learned from it, but not by rote."""

import hashlib
import re
from collections import Counter

import numpy as np
import pytest
from nltk.tokenize import NLTKWordTokenizer

from common.data import sample
from common.errors import InputError

# of all files, names and bytes: it changes only when the corpus is meant to change
SHA256 = "aec6c84d5046cabd08a5c5c21857ac8e0fe035874470b56c7755e36d31e29c05"
FOLDERS = {"train/pos": 500, "train/neg": 500, "train/unsup": 2000, "test/pos": 500, "test/neg": 500}
NEGATIONS = {"n't", "not", "never", "nothing", "nobody", "although", "while", "some"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(folder, texts by folder in file order, path of the GloVe file) of one corpus written for this module."""
    directory = tmp_path_factory.mktemp("corpus")
    imdb, glove = sample.write_sample(directory)
    paths = {folder: sorted((imdb / folder).iterdir()) for folder in FOLDERS}
    return directory, {folder: [path.read_text("utf-8") for path in paths[folder]] for folder in paths}, glove


def tokens(text):
    """The tokens of a review, nearly those of NLTK."""
    return re.findall(r"n't|\w+(?=n't)|\w+(?:[-,/]\w+)*|[^\w\s]", text.replace("<br />", " ").lower())


def test_the_layout_and_the_ratings_are_those_of_aclimdb(corpus):
    imdb = corpus[0] / "aclImdb"
    files = {path.relative_to(imdb).as_posix() for path in imdb.rglob("*") if path.is_file()}
    for folder, count in FOLDERS.items():
        names = [re.fullmatch(rf"{folder}/(\d+)_(\d+)\.txt", name) for name in files if name.startswith(folder + "/")]
        assert sorted(int(name[1]) for name in names) == list(range(count))
        expected = {"pos": (7, 8, 9, 10), "neg": (1, 2, 3, 4), "unsup": (0,)}[folder.split("/")[1]]
        assert Counter(int(name[2]) for name in names) == {star: count // len(expected) for star in expected}
    assert len(files) == sum(FOLDERS.values())


def test_the_bytes_are_the_same_at_every_run_and_on_every_machine(corpus):
    directory = corpus[0]
    digest = hashlib.sha256()
    for path in sorted((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.relative_to(directory).parts):
        digest.update(path.relative_to(directory).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    assert digest.hexdigest() == SHA256


def test_the_reviews_read_like_reviews(corpus):
    texts = [text for folder in FOLDERS for text in corpus[1][folder]]
    assert len(set(texts)) == len(texts)
    lengths = np.array([len(tokens(text)) for text in texts])
    assert 30 <= lengths.min() < 60 < np.median(lengths) < 200 < lengths.max() < 300
    text = " ".join(texts)
    assert "{" not in text
    assert not re.search(r"\b[Aa] [aeiouAEIOU]", text)
    assert not re.search(r"[.?!] [a-z]", text.replace('?" asks', ""))
    for needed in ("<br /><br />", "n't", "(", '"', "/10", "é"):
        assert needed in text


def test_the_vectors_know_the_words_but_not_the_names(corpus):
    lines = [line.split(" ") for line in corpus[2].read_text("utf-8").splitlines()]
    assert all(re.fullmatch(r"-?\d\.\d{5}", number) for line in lines for number in line[1:])
    assert {len(line) for line in lines} == {51}
    sentiment = {line[0]: float(line[1]) for line in lines}
    assert len(sentiment) == len(lines)
    assert (sentiment["great"], sentiment["bad"], sentiment["plot"]) == (3, -3, 0)
    cut = NLTKWordTokenizer().tokenize
    words = {word.lower() for text in corpus[1]["test/pos"][:100] for word in cut(text.replace("<br />", " "))}
    assert 0.4 < len(words & sentiment.keys()) / len(words) < 0.9


def naive_bayes_accuracy(texts, cut):
    """Test accuracy of naive Bayes on the words of a review, which `cut` gives."""
    train = {side: Counter(word for text in texts[f"train/{side}"] for word in {*cut(text)}) for side in ("pos", "neg")}
    weights = {
        word: np.log((train["pos"][word] + 1) / (train["neg"][word] + 1)) for word in train["pos"] | train["neg"]
    }

    def share(side, sign):
        return np.mean(
            [sign * sum(weights.get(word, 0) for word in {*cut(text)}) > 0 for text in texts[f"test/{side}"]]
        )

    return (share("pos", 1) + share("neg", -1)) / 2


def negation_marked(text):
    """The tokens of a review; what follows a negation in its clause is marked."""
    marked, negated = [], False
    for token in tokens(text):
        marked.append(f"not {token}" if negated else token)
        negated = (negated or token in NEGATIONS) and token not in ".,;:!?"
    return marked


def test_sentiment_can_be_learned_and_word_order_tells_more(corpus):
    bag_of_words = naive_bayes_accuracy(corpus[1], tokens)
    assert 0.80 < bag_of_words < 0.97
    assert bag_of_words + 0.02 < naive_bayes_accuracy(corpus[1], negation_marked) < 1.0


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        sample.write_sample(tmp_path / "file")
