"""A small made-up corpus in the layout of the Large Movie Review Dataset, with word vectors of its vocabulary.

A grammar writes the reviews from the words and the templates in sample.toml. Of the opinions in a review most agree
with its star rating, the more so the clearer the rating. Some opinions are said by negation ("never dull") or contrast
("although the plot is dull, the acting is superb"), where the bag of words alone says little or misleads.

Only `random.Random.random` and integers decide what is written, so the bytes are the same on every machine and Python
version.
"""

import random
import re
import tomllib
from itertools import cycle
from pathlib import Path

from nltk.tokenize import NLTKWordTokenizer

from common.files import make_directory, writing

SEED = 598
# folder, number of reviews, their ratings in turn (0: unlabelled)
FOLDERS = [
    ("train/pos", 500, (7, 8, 9, 10)),
    ("train/neg", 500, (1, 2, 3, 4)),
    ("train/unsup", 2000, (0,)),
    ("test/pos", 500, (7, 8, 9, 10)),
    ("test/neg", 500, (1, 2, 3, 4)),
]
# the share of praise among the opinions of a review, by its stars
PRAISE_SHARE = {1: 0.05, 2: 0.08, 3: 0.14, 4: 0.2, 5: 0.4, 6: 0.6, 7: 0.8, 8: 0.86, 9: 0.92, 10: 0.95}
# a sentence is of one of these kinds, all equally likely
KINDS = ["direct"] * 5 + ["negated"] * 4 + ["contrast"] * 3 + ["plot"] * 3 + ["asides"]
GLOVE_DIMENSIONS = 50

TABLES = tomllib.loads(Path(__file__).with_name("sample.toml").read_text(encoding="utf-8"))
COMMON, PRAISE, BLAME = (TABLES[name] for name in ("common", "praise", "blame"))
_SLOT = re.compile(r"\{(\w+)\}")
_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")


def write_sample(directory):
    """Writes the reviews and the word vectors below the path `directory`.

    Returns (path of the folder `aclImdb`, path of `glove.sample.txt`). In `aclImdb/{train,test}/{pos,neg}` and
    `aclImdb/train/unsup` lies a file `<number>_<stars>.txt` for each review, 0 stars for unlabelled ones. The
    vectors are text in the format of GloVe, 50 numbers a word. InputError where a file cannot be written.
    """
    rng = random.Random(SEED)
    imdb, glove = directory / "aclImdb", directory / "glove.sample.txt"
    for folder, count, ratings in FOLDERS:
        make_directory(imdb / folder)
        for number in range(count):
            rating = ratings[number % len(ratings)]
            sentences = write_review(rng, rating or 1 + int(10 * rng.random()))
            # the published reviews have such line breaks between paragraphs
            text = "".join(sentence + (" " if rng.random() < 0.9 else "<br /><br />") for sentence in sentences)
            path = imdb / folder / f"{number}_{rating}.txt"
            with writing(path):
                path.write_text(text.removesuffix("<br /><br />").strip(), encoding="utf-8")
    with writing(glove):
        lines = (f"{word} {' '.join(f'{x:.5f}' for x in vector)}\n" for word, vector in word_vectors(rng).items())
        glove.write_text("".join(lines), encoding="utf-8")
    return imdb, glove


def write_review(rng, rating):
    """The sentences (list of str) of one review that gives `rating` (1 to 10) stars."""
    film = {name: [_expand(rng, template, TABLES["names"])] for name, template in TABLES["film"].items()}
    film |= COMMON
    templates = {kind: _in_random_order(rng, COMMON[kind]) for kind in dict.fromkeys(KINDS)}
    nouns = _in_random_order(rng, COMMON["nouns"])
    sentences = [_sentence(rng, "{openings}", film)]
    # the sum of two draws: most reviews are of middling length
    for _ in range(4 + int(7 * (rng.random() + rng.random()))):
        slots = film | _opinion(rng.random() < PRAISE_SHARE[rating]) | {"noun": [next(nouns)], "noun2": [next(nouns)]}
        kind = KINDS[int(len(KINDS) * rng.random())]
        sentences.append(_sentence(rng, next(templates[kind]), slots))
    return [*sentences, _sentence(rng, "{closing}", film | _opinion(rating > 5))]


def _opinion(is_praise):
    """The tables of one opinion: "fit" and others of words that say it, "unfit" and others of their opposites."""
    own, other = (PRAISE, BLAME) if is_praise else (BLAME, PRAISE)
    return own | {f"un{name}": table for name, table in other.items()}


def _in_random_order(rng, table):
    """All entries, again and again."""
    return cycle(sorted(table, key=lambda _: rng.random()))


def _sentence(rng, template, slots):
    sentence = _A_BEFORE_VOWEL.sub(r"\1n ", _expand(rng, template, slots))
    return sentence[0].upper() + sentence[1:]


def _expand(rng, template, slots):
    def filling(match):
        table = slots[match[1]]
        return table[int(len(table) * rng.random() ** 2)]  # the first entries more often than the last ones

    while "{" in template:
        template = _SLOT.sub(filling, template)
    return template


def word_vectors(rng):
    """{word: vector, a list of floats} of the words in sample.toml, but for names that are put together.

    The first number is 3 for a word that only praise uses, -3 for one of blame; the others are noise.
    """
    common, praise, blame = (_words(tables) for tables in (COMMON, PRAISE, BLAME))
    return {
        word: [
            3 * (word not in common) * ((word in praise) - (word in blame)),
            *(rng.random() - 0.5 for _ in range(GLOVE_DIMENSIONS - 1)),
        ]
        for word in sorted(common | praise | blame)
    }


def _words(tables):
    """The words, as NLTK cuts them, in a dict of tables."""
    cut = NLTKWordTokenizer().tokenize
    return {word.lower() for table in tables.values() for entry in table for word in cut(_SLOT.sub(" ", entry))}
