"""A small made-up corpus in the layout of the Large Movie Review Dataset, with word vectors of its vocabulary.

A grammar writes the reviews from the words and the templates in sample.toml. Of the opinions in a review most agree
with its star rating, the more so the clearer the rating. Some opinions are said by negation ("never dull") or contrast
("although the plot is thin, the acting is superb"), where the bag of words alone says little or misleads.

Only `random.Random.random`, integers and roundings far coarser than floating-point error decide what is written, so
the bytes are the same on every machine and Python version.
"""

import random
import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np

from common.files import make_directory, new_file

SEED = 598
# folder, number of reviews, their ratings in turn (0: unlabelled)
FOLDERS = [
    ("train/pos", 500, (7, 8, 9, 10)),
    ("train/neg", 500, (1, 2, 3, 4)),
    ("train/unsup", 2000, (0,)),
    ("test/pos", 500, (7, 8, 9, 10)),
    ("test/neg", 500, (1, 2, 3, 4)),
]
# the share of the aspects of a film that the reviewer likes, by stars
FAVOURABLE = {1: 0.04, 2: 0.07, 3: 0.12, 4: 0.17, 5: 0.4, 6: 0.6, 7: 0.83, 8: 0.88, 9: 0.93, 10: 0.96}

GLOVE_DIMENSIONS = 50
GLOVE_WINDOW = 6  # tokens on either side
GLOVE_CONTEXTS = 500  # the commonest words, whose company tells about a word
# a word seen less often in the training folders has no vector
GLOVE_MIN_COUNT = 2


# the words and the sentences
WORDS = tomllib.loads(Path(__file__).with_name("sample.toml").read_text(encoding="utf-8"))
ASPECTS = WORDS["aspects"]
SLOTS = WORDS["slots"] | {
    "praise": WORDS["praise"],
    "blame": WORDS["blame"],
    "year": [str(year) for year in range(2006, 1930, -1)],
}

OPINION_SHARE, PLOT_SHARE = 0.68, 0.22  # of the sentences; the rest are asides
ONE_SIDED_SHARE, NEGATED_SHARE, CONTRAST_SHARE = 0.12, 0.13, 0.12  # of the opinions; the rest are direct
CLOSING_SHARE = 0.6  # of the reviews end with a verdict
SLIP_SHARE = 0.008  # of the sentences hold a slip of the pen

# A word of the sample's sentences as nltk.word_tokenize cuts it: "don't" is "do" and "n't".
_TOKEN = re.compile(r"o'clock|\.\.\.|--|\w+(?=n't)|n't|'(?:s|d|m|ve|re|ll)\b|\w+(?:[-,/]\w+)*|[^\w\s]")
_SLOT = re.compile(r"\{(\w+)\}")
_LONG_WORD = re.compile(r"(?<!')\b[a-z]{5,}\b(?!')")
_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou](?!ne-|nique)|[AEIOU][a-z])")


def write_sample(directory):
    """Writes the reviews and the word vectors below `directory`.

    Returns (path of the folder `aclImdb`, path of `glove.sample.txt`). In `aclImdb/{train,test}/{pos,neg}` and
    `aclImdb/train/unsup` lies a file `<number>_<stars>.txt` for each review, 0 stars for unlabelled ones. The
    vectors are text in the format of GloVe, 50 numbers a word. InputError where a file cannot be written.
    """
    directory = Path(directory)
    rng = random.Random(SEED)
    training_tokens = []
    for folder, count, ratings in FOLDERS:
        make_directory(directory / "aclImdb" / folder)
        for number in range(count):
            rating = ratings[number % len(ratings)]
            sentences = write_review(rng, rating or 1 + int(10 * rng.random()))
            with new_file(directory / "aclImdb" / folder / f"{number}_{rating}.txt", durable=False) as file:
                file.write(_join(rng, sentences).encode())
            if folder.startswith("train"):
                training_tokens.append([token for sentence in sentences for token in tokens(sentence)])

    glove = directory / "glove.sample.txt"
    with new_file(glove) as file:
        for word, vector in zip(*word_vectors(training_tokens), strict=True):
            file.write(f"{word} {' '.join(f'{value:.5f}' for value in vector)}\n".encode())
    return directory / "aclImdb", glove


def tokens(sentence):
    """The lower-case tokens of one sentence of the sample, equal to those of `nltk.word_tokenize`."""
    found = []
    quotes = 0
    for token in _TOKEN.findall(sentence.lower()):
        if token == '"':
            token = "''" if quotes % 2 else "``"
            quotes += 1
        found.append(token)
    return found


def write_review(rng, rating):
    """The sentences of one review that gives `rating` (1 to 10) stars."""
    film = _new_film(rng)
    used = set()
    liked = [area for area in ASPECTS if rng.random() < FAVOURABLE[rating]]
    verdict = rating > 5
    # the sum of two draws: most reviews are of middling length
    wanted = 42 + int(85 * (rng.random() + rng.random()))
    if rng.random() < 0.05:
        wanted = 230 + int(35 * rng.random())

    sentences = []
    if rng.random() < 0.8:
        sentences.append(_sentence(rng, WORDS["openings"], film, used))
    length = sum(len(tokens(sentence)) for sentence in sentences)
    plot = WORDS["plot_first"]
    while length < wanted:
        kind = rng.random()
        if kind < OPINION_SHARE:
            sentence = _opinion(rng, verdict, liked, film, used)
        elif kind < OPINION_SHARE + PLOT_SHARE:
            sentence = _sentence(rng, plot, film, used)
            plot = WORDS["plot_next"]
        else:
            sentence = _sentence(rng, WORDS["asides"], film, used)
        sentences.append(sentence)
        length += len(tokens(sentence))

    if rng.random() < CLOSING_SHARE:
        closings = WORDS["praise_closings"] if verdict else WORDS["blame_closings"]
        sentences.append(_sentence(rng, closings, film, used))
    elif rng.random() < 0.5:
        sentences.append(_sentence(rng, WORDS["open_closings"], film, used))
    return sentences


def _opinion(rng, verdict, liked, film, used):
    """One sentence of praise or blame; `liked` are the aspects that the reviewer likes, `verdict` the whole."""
    disliked = [area for area in ASPECTS if area not in liked]
    kind = rng.random()
    if kind < ONE_SIDED_SHARE:
        return _sentence(rng, WORDS["praise_lines"] if verdict else WORDS["blame_lines"], film, used)
    templates = WORDS["direct"]
    if kind < ONE_SIDED_SHARE + NEGATED_SHARE:
        templates = WORDS["negated"]
    elif kind < ONE_SIDED_SHARE + NEGATED_SHARE + CONTRAST_SHARE and liked and disliked:
        templates = WORDS["contrast"]

    area = _equally(rng, list(ASPECTS))
    same, other = (liked, disliked) if area in liked else (disliked, liked)
    area2 = _equally(rng, other if templates is WORDS["contrast"] else same)
    slots = {"noun": ASPECTS[area]["nouns"], "noun2": ASPECTS[area2]["nouns"]}
    for prefix, favourable in (("", area in liked), ("un", area not in liked)):
        own = "praise" if favourable else "blame"
        adjectives = WORDS[own]
        slots[prefix + "fit"] = _mixed(rng, adjectives, ASPECTS[area][own])
        slots[prefix + "fit2"] = _mixed(rng, adjectives, ASPECTS[area2][own])
        slots[prefix + "fit_person"] = _mixed(rng, adjectives, ASPECTS["acting"][own])
        slots[prefix + "fit_noun"] = WORDS[f"{own}_nouns"]
        slots[prefix + "verb"] = WORDS[f"{own}_verbs"]
    return _sentence(rng, templates, film | slots, used)


def _equally(rng, entries):
    """An entry, all being equally likely."""
    return entries[int(len(entries) * rng.random())]


def _mixed(rng, adjectives, own):
    return own if rng.random() < 0.3 else adjectives


def _new_film(rng):
    """The tables of one film: the common ones, and those of its names, which hold one entry each."""
    hero_is_she, lead_is_she = rng.random() < 0.5, rng.random() < 0.5
    film = SLOTS | {
        "hero": [_name(rng, "given", "she" if hero_is_she else "he")],
        "lead": [_full_name(rng, lead_is_she)],
        "director": [_full_name(rng, rng.random() < 0.5)],
        "extra": [_full_name(rng, rng.random() < 0.5)],
        "place": [_name(rng, "place", "place")],
        "he": ["she" if hero_is_she else "he"],
        "his": ["her" if hero_is_she else "his"],
        "his_cap": ["Her" if hero_is_she else "His"],
        "he_lead": ["she" if lead_is_she else "he"],
    }
    film["rival"] = [_name(rng, "given", _equally(rng, ["she", "he"]), unlike=film["hero"][0])]
    film["place2"] = [_name(rng, "place", "place", unlike=film["place"][0])]
    title = _expand(rng, "{title}", film)
    film["titled"] = [f'"{title}"' if rng.random() < 0.6 else title]
    return film


def _full_name(rng, is_she):
    family = _name(rng, "family", "family")
    # a double name, which hardly ever comes again
    if rng.random() < 0.02:
        family += "-" + _name(rng, "family", "family", unlike=family)
    return f"{_name(rng, 'given', 'she' if is_she else 'he')} {family}"


def _name(rng, start, end, unlike=None):
    """A name of the `start` and the `end` of those kinds."""
    name = unlike
    while name == unlike:
        name = _pick(rng, WORDS[f"{start}_starts"]) + _pick(rng, WORDS[f"{end}_ends"])
    return name


def _pick(rng, table):
    """An entry of a table, the first ones far more often than the last ones."""
    u = rng.random()
    return table[int(len(table) * u * u * u)]


def _sentence(rng, templates, slots, used):
    """A sentence from a template that this review has not yet used, if one is left."""
    template = _pick(rng, [template for template in templates if template not in used] or templates)
    used.add(template)
    sentence = _A_BEFORE_VOWEL.sub(r"\1n ", _expand(rng, template, slots))
    if rng.random() < SLIP_SHARE:
        sentence = _slip(rng, sentence)
    # a sentence, and what follows a full stop or a question mark within it, begins with a capital letter
    return re.sub(r"(?:^|[.?] )[a-z]", lambda match: match.group().upper(), sentence)


def _slip(rng, sentence):
    """The sentence with two neighbouring letters of a word exchanged."""
    words = list(_LONG_WORD.finditer(sentence))
    if not words:
        return sentence
    word = _equally(rng, words)
    i = word.start() + 1 + int((len(word.group()) - 2) * rng.random())
    return sentence[:i] + sentence[i + 1] + sentence[i] + sentence[i + 2 :]


def _expand(rng, template, slots):
    while "{" in template:
        template = _SLOT.sub(lambda match: _pick(rng, slots[match.group(1)]), template)
    return template


def _join(rng, sentences):
    """The text of a review: sentences with spaces or, at a new paragraph, HTML line breaks between them."""
    paragraph_share = 0.25 * rng.random()
    text = sentences[0]
    for sentence in sentences[1:]:
        text += ("<br /><br />" if rng.random() < paragraph_share else " ") + sentence
    return text


def word_vectors(reviews):
    """(words by decreasing count, their vectors: (V, `GLOVE_DIMENSIONS`) float64) from lists of tokens.

    The positive pointwise mutual information of words and their contexts, on its leading singular vectors
    (Levy and Goldberg, 2014, "Neural Word Embedding as Implicit Matrix Factorization").
    """
    counts = Counter(token for review in reviews for token in review)
    words = sorted((w for w in counts if counts[w] >= GLOVE_MIN_COUNT), key=lambda word: (-counts[word], word))

    together = _pairs(reviews, words)
    alone = together.sum(axis=1)
    expected = np.outer(alone, alone[:GLOVE_CONTEXTS]) / alone.sum()
    ratio = np.maximum(together[:, :GLOVE_CONTEXTS] / expected, 1)
    # multiples of 1/16 here and of 1/1024 below: their products and sums are exact
    information = np.round(16 * np.log2(ratio)) / 16

    directions = np.linalg.eigh(information.T @ information)[1][:, -GLOVE_DIMENSIONS:]
    # the sign of a singular vector is open: the largest entry is made positive
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(GLOVE_DIMENSIONS)])
    return words, information @ np.round(1024 * directions) / 2**12


def _pairs(reviews, words):
    """How often two of `words` stand at most `GLOVE_WINDOW` tokens apart in a review: (V, V) int64."""
    index = {word: i for i, word in enumerate(words)}
    # -1 stands for a word without a vector, and for the gap that keeps reviews apart
    gap = [-1] * GLOVE_WINDOW
    ids = np.array([i for review in reviews for i in [*(index.get(token, -1) for token in review), *gap]])
    together = np.zeros(len(words) ** 2, dtype=np.int64)
    for distance in range(1, GLOVE_WINDOW + 1):
        left, right = ids[:-distance], ids[distance:]
        known = (left >= 0) & (right >= 0)
        together += np.bincount(left[known] * len(words) + right[known], minlength=len(words) ** 2)
    together = together.reshape(len(words), len(words))
    return together + together.T
