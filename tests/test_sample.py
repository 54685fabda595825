"""The made-up corpus: its layout, its bytes, and that sentiment can be learned from it, but not by rote."""

import hashlib
import re
from collections import Counter

import numpy as np
import pytest
from nltk.tokenize import NLTKWordTokenizer

from common.data import sample as sample_data
from common.errors import InputError

# of all files, names and bytes: it changes only when the corpus is meant to change
SHA256 = "a6393e65bd4823b6f9acf5c2106601e77a66cc83596802b81c7d4f269f396964"
FOLDERS = {"train/pos": 500, "train/neg": 500, "train/unsup": 2000, "test/pos": 500, "test/neg": 500}
NEGATIONS = {"n't", "not", "never", "nothing", "nobody", "hardly", "far", "although", "despite", "while"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(folder, texts by folder in file order, path of the GloVe file) of one corpus written for this module."""
    directory = tmp_path_factory.mktemp("corpus")
    imdb, glove = sample_data.write_sample(directory)
    assert (imdb, glove) == (directory / "aclImdb", directory / "glove.sample.txt")
    paths = {folder: sorted((imdb / folder).iterdir()) for folder in FOLDERS}
    return directory, {folder: [path.read_text("utf-8") for path in paths[folder]] for folder in paths}, glove


def sentences(text):
    return re.split(r'(?<=[.?!]) (?=["A-Z0-9])', text.replace("<br /><br />", " "))


def tokens(text):
    return [token for sentence in sentences(text) for token in sample_data.tokens(sentence)]


def test_the_layout_and_the_ratings_are_those_of_aclimdb(corpus):
    imdb = corpus[0] / "aclImdb"
    files = {path.relative_to(imdb).as_posix() for path in imdb.rglob("*") if path.is_file()}
    for folder, count in FOLDERS.items():
        names = [name.removeprefix(folder + "/") for name in files if name.startswith(folder + "/")]
        numbers, stars = zip(
            *(map(int, re.fullmatch(r"(\d+)_(\d+)\.txt", name).groups()) for name in names), strict=True
        )
        assert sorted(numbers) == list(range(count))
        expected = {"pos": (7, 8, 9, 10), "neg": (1, 2, 3, 4), "unsup": (0,)}[folder.split("/")[1]]
        assert Counter(stars) == {star: count // len(expected) for star in expected}
    assert len(files) == sum(FOLDERS.values())


def test_the_bytes_are_the_same_at_every_run_and_on_every_machine(corpus):
    directory = corpus[0]
    digest = hashlib.sha256()
    for path in sorted((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.relative_to(directory).parts):
        digest.update(path.relative_to(directory).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    assert digest.hexdigest() == SHA256


def test_no_review_comes_twice(corpus):
    texts = [text for folder in FOLDERS for text in corpus[1][folder]]
    assert len(set(texts)) == len(texts)


def test_reviews_are_cut_as_nltk_cuts_them(corpus):
    cut = NLTKWordTokenizer().tokenize
    for text in corpus[1]["test/pos"][:250] + corpus[1]["test/neg"][:250]:
        for sentence in sentences(text):
            assert sample_data.tokens(sentence) == [token.lower() for token in cut(sentence)], sentence


def test_reviews_are_30_to_300_tokens_long_and_most_are_60_to_200(corpus):
    lengths = np.array([len(tokens(text)) for folder in FOLDERS for text in corpus[1][folder]])
    assert lengths.min() >= 30
    assert lengths.max() <= 300
    assert ((lengths >= 60) & (lengths <= 200)).mean() > 0.85


def test_the_reviews_read_like_reviews(corpus):
    text = " ".join(corpus[1]["train/pos"] + corpus[1]["train/neg"])
    assert "{" not in text
    assert not re.search(r"\b[Aa] (?!one|unique)[aeiouAEIOU][a-z]", text)
    assert not re.search(r"[.?!] [a-z]", text)
    for needed in ("<br /><br />", "n't", "(", '"', "/10", "é"):
        assert needed in text


def test_the_vocabulary_has_rare_and_unknown_words(corpus):
    known = Counter(t for folder in FOLDERS if folder.startswith("train") for r in corpus[1][folder] for t in tokens(r))
    tested = Counter(t for folder in FOLDERS if folder.startswith("test") for r in corpus[1][folder] for t in tokens(r))
    assert 1500 <= len(known) <= 3000
    assert sum(count == 1 for count in known.values()) > 100
    assert len(tested.keys() - known.keys()) > 50
    commonest = sum(count for _, count in known.most_common(100))
    assert 0.4 < commonest / known.total() < 0.7


def test_the_glove_file_is_well_formed_and_ordered_by_count(corpus):
    counts = Counter(
        t for folder in FOLDERS if folder.startswith("train") for r in corpus[1][folder] for t in tokens(r)
    )
    lines = [line.split(" ") for line in corpus[2].read_text("utf-8").splitlines()]
    words = [line[0] for line in lines]
    assert all(re.fullmatch(r"-?\d+\.\d{5}", number) for line in lines for number in line[1:])
    assert {len(line) for line in lines} == {51}
    assert words == sorted(words, key=lambda word: (-counts[word], word))
    assert set(words) == {word for word in counts if counts[word] >= 2}


def test_glove_neighbours_are_words_of_a_kind(corpus):
    lines = [line.split(" ") for line in corpus[2].read_text("utf-8").splitlines()]
    words = [line[0] for line in lines]
    vectors = np.array([line[1:] for line in lines], dtype=float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def neighbours(word):
        return {words[i] for i in np.argsort(-(vectors @ vectors[words.index(word)]))[1:6]}

    assert neighbours("great") <= {*sample_data.WORDS["praise"], *sample_data.WORDS["blame"]}
    assert len(neighbours("plot") & {noun for aspect in sample_data.ASPECTS.values() for noun in aspect["nouns"]}) >= 2


def bags(reviews, index):
    """Which words stand in which review: (reviews, words) of 0 and 1."""
    bag = np.zeros((len(reviews), len(index)), dtype=bool)
    for row, review in zip(bag, reviews, strict=True):
        row[[index[token] for token in review if token in index]] = True
    return bag


def naive_bayes_accuracy(texts, cut):
    """Test accuracy of naive Bayes on the words of a review, which `cut` gives."""
    train = {side: [cut(text) for text in texts[f"train/{side}"]] for side in ("pos", "neg")}
    index = {word: i for i, word in enumerate(sorted({t for side in train.values() for r in side for t in r}))}
    weights = np.log(bags(train["pos"], index).sum(axis=0) + 1) - np.log(bags(train["neg"], index).sum(axis=0) + 1)
    pos, neg = (bags([cut(text) for text in texts[f"test/{side}"]], index) @ weights for side in ("pos", "neg"))
    return (np.mean(pos > 0) + np.mean(neg < 0)) / 2


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
    assert bag_of_words + 0.01 < naive_bayes_accuracy(corpus[1], negation_marked) < 1.0


def test_crops_of_60_tokens_still_tell_the_sentiment(corpus):
    assert naive_bayes_accuracy(corpus[1], lambda text: tokens(text)[:60]) > 0.75


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        sample_data.write_sample(tmp_path / "file")
