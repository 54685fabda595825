"""Reads preprocessed_data/: token ids and labels, dictionaries, GloVe vectors."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from common.errors import InputError
from common.files import reading

# a folder made by the handout's own script has no label files: there the order of the lines tells (handout,
# "BOW_sentiment_analysis.py"): this many positive, negative and unlabelled reviews
HANDOUT_COUNTS = {"train": (12500, 12500, 50000), "test": (12500, 12500, 0)}


class Reviews:
    """Reviews as one flat run of token ids, all on one device.

    ids: (tokens,) int32, 0 for an unknown word; starts and lengths: (reviews,) int64, where each review lies in
    ids; labels: (reviews,) float32, 1 for positive, 0 for negative, -1 for unlabelled.
    """

    def __init__(self, ids, lengths, labels):
        self.ids = ids
        self.lengths = lengths
        self.starts = lengths.cumsum(0) - lengths
        self.labels = labels

    @classmethod
    def of(cls, arrays, labels, device="cpu"):
        """Reviews of a list of integer arrays, one a review, and their labels."""
        ids = torch.from_numpy(np.concatenate(arrays).astype(np.int32))
        lengths = torch.tensor([len(array) for array in arrays])
        return cls(ids.to(device), lengths.to(device), torch.as_tensor(labels).float().to(device))

    def __len__(self):
        return len(self.lengths)

    def sha256(self):
        """A check sum of the ids, the lengths and the labels, as text."""
        digest = hashlib.sha256()
        for part in (self.ids, self.lengths, self.labels):
            digest.update(part.cpu().numpy())
        return digest.hexdigest()

    def take(self, rows):
        """The reviews `rows` (int64 tensor) alone."""
        lengths = self.lengths[rows]
        places = torch.repeat_interleave(self.starts[rows] - (lengths.cumsum(0) - lengths), lengths)
        places += torch.arange(len(places), device=rows.device)
        return Reviews(self.ids[places], lengths, self.labels[rows])

    def backwards(self):
        """The same reviews, in the same order, each from its last token to its first."""
        ends = torch.repeat_interleave(2 * self.starts + self.lengths - 1, self.lengths)
        return Reviews(self.ids[ends - torch.arange(len(ends), device=ends.device)], self.lengths, self.labels)


def hold_out(reviews, no_of_reviews, seed):
    """Splits the reviews: those to train on, and `no_of_reviews` labelled ones to validate on.

    Half of the latter are positive; they are drawn with the `seed`. Where `no_of_reviews` is None they are None, too.
    InputError where there are not enough reviews.
    """
    if no_of_reviews is None:
        return reviews, None
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label, count in ((1, no_of_reviews // 2), (0, no_of_reviews - no_of_reviews // 2)):
        rows = (reviews.labels == label).nonzero()[:, 0]
        if count >= len(rows):
            others = f"the {len(rows)} {'positive' if label else 'negative'} training reviews"
            raise InputError(f"--validation {no_of_reviews} leaves none of {others}; choose a smaller number")
        chosen.append(rows[torch.randperm(len(rows), generator=generator)[:count].to(rows.device)])
    is_held_out = torch.zeros(len(reviews), dtype=torch.bool, device=reviews.labels.device)
    is_held_out[torch.cat(chosen)] = True
    return reviews.take((~is_held_out).nonzero()[:, 0]), reviews.take(is_held_out.nonzero()[:, 0])


def load_lines(data, name):
    """The lines of one of the text files: `imdb_test_unknown.txt` or `imdb_test_names.txt`."""
    path = Path(data) / name
    with _reading(path):
        return path.read_text(encoding="utf-8").split("\n")[:-1]


def load_glove_embeddings(data, vocab_size, device, in_size=None):
    """The GloVe vectors of the ids 0 to `vocab_size`: (vocab_size + 1, features) float32, row 0 zeros.

    InputError where they are damaged, or have another number of features than a trained model's `in_size`.
    """
    path = Path(data) / "glove_embeddings.npy"
    embeddings = _load_array(path)
    # the handout's own preprocess_data.py writes float64
    if embeddings.ndim != 2 or embeddings.dtype.kind != "f" or len(embeddings) <= vocab_size:
        raise InputError(f"{path} is damaged: not {vocab_size + 1} rows of floats; run preprocess_data.py again")
    features = embeddings.shape[1]
    if in_size not in (None, features):
        raise InputError(f"{path} has {features} features, the model {in_size}: give the --data of its training")
    return torch.from_numpy(embeddings[: vocab_size + 1].astype(np.float32)).to(device)


def load_reviews(data, split, vocabulary, device, labelled=True):
    """The reviews of a split, "train" or "test", with ids outside the vocabulary set to 0.

    `labelled` leaves out the unlabelled ones. InputError names the file and the line of what is missing or damaged.
    """
    path = Path(data) / f"imdb_{split}{'_glove' if vocabulary.glove else ''}.txt"
    with _reading(path):
        text = np.frombuffer(path.read_bytes(), np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    labels = _load_labels(data, split, len(ends), path)
    kept = labels >= 0 if labelled else np.full(len(ends), True)
    if not kept.any():
        raise InputError(f"{path} holds no {'labelled ' if labelled else ''}reviews; run preprocess_data.py again")

    def parse(lines):
        return _parse_ids(path, text, ends, vocabulary.no_of_words, *lines)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        ids, lengths = map(np.concatenate, zip(*pool.map(parse, _blocks(ends, kept)), strict=True))
    arrays = (ids, lengths, labels[kept].astype(np.float32))
    ids, lengths, labels = (torch.from_numpy(array).to(device) for array in arrays)
    return vocabulary.as_read(Reviews(vocabulary.known_ids(ids), lengths, labels))


class Vocabulary:
    """How a model reads: the words it knows, the first `size` of a dictionary, less the stop words, and the direction.

    `glove` takes GloVe's dictionary in place of IMDB's; a size of None, or one that is larger, takes all of it.
    `backwards` reads each review from its end.
    """

    def __init__(self, data, size=None, remove_stop_words=False, glove=False, backwards=False):
        path = Path(data) / ("glove_dictionary.npy" if glove else "imdb_dictionary.npy")
        dictionary = _load_array(path)
        if dictionary.ndim != 1 or dictionary.dtype.kind != "U":
            raise InputError(f"{path} is damaged: it is no list of words; run preprocess_data.py again")
        self.glove = glove
        self.no_of_words = len(dictionary)
        self.size = min(size or self.no_of_words, self.no_of_words)
        self.words = dictionary[: self.size]
        self.backwards = [backwards]  # of each model that reads, more than one where their verdicts are averaged
        self.remove_stop_words = remove_stop_words
        self.stop_ids = np.empty(0, np.int64)
        if remove_stop_words:
            from common.data.tokenizing import load_stop_words  # the only need of NLTK in training

            self.stop_ids = np.flatnonzero(np.isin(self.words, load_stop_words(data))) + 1

    @classmethod
    def of_options(cls, options, glove=False, backwards=False):
        """The vocabulary of a training: of `--vocab-size` words or, where it is smaller, the dictionary's."""
        vocabulary = cls(options.data, options.vocab_size, options.remove_stop_words, glove, backwards)
        if options.vocab_size is not None and vocabulary.size < options.vocab_size:
            print(f"the dictionary in {options.data} has {vocabulary.size} words: all are kept", file=sys.stderr)
        return vocabulary

    @classmethod
    def of_model(cls, data, *descriptions, glove=False):
        """The vocabulary of a trained model, from the description in its file.

        Several models may read side by side (`as_read`), each in its own direction. InputError for other words than the
        dictionary's, and where the models' words differ.
        """
        first, *others = [{"backwards": False} | description for description in descriptions]
        vocabulary = cls(data, first["size"], first["remove_stop_words"], glove, backwards=first["backwards"])
        if {"backwards": False} | vocabulary.description() != first:
            raise InputError(f"the model was trained with other words than those of the dictionary in {data}")
        for other in others:
            if other | {"backwards": first["backwards"]} != first:
                raise InputError("the models know other words than each other: their verdicts cannot be averaged")
            vocabulary.backwards.append(other["backwards"])
        return vocabulary

    def description(self):
        """What a model's file keeps of its vocabulary, a dict of plain values."""
        words = hashlib.sha256("\n".join(self.words).encode()).hexdigest()
        description = {"size": self.size, "remove_stop_words": self.remove_stop_words, "sha256_of_words": words}
        return description | ({"backwards": True} if self.backwards == [True] else {})  # older files do not have it

    def as_read(self, reviews):
        """The `Reviews` in the direction in which the model reads; of several models, ids are (tokens, models)."""
        columns = [reviews.backwards().ids if backwards else reviews.ids for backwards in self.backwards]
        ids = columns[0] if len(columns) == 1 else torch.stack(columns, dim=1)
        return Reviews(ids, reviews.lengths, reviews.labels)

    def known_ids(self, ids):
        """The ids, an int32 tensor, with 0 in place of those of words outside the vocabulary."""
        new_ids = torch.arange(self.no_of_words + 1, dtype=torch.int32, device=ids.device)
        new_ids[self.size + 1 :] = 0
        new_ids[torch.from_numpy(self.stop_ids).to(ids.device)] = 0
        return new_ids.index_select(0, ids)  # which takes int32 as it is, where [ids] makes int64 of it first

    def reviews_of(self, token_lists, device):
        """`Reviews` of lists of tokens, such as `tokenize` makes of the user's own words."""
        word_to_id = {word: index for index, word in enumerate(self.words, 1)}
        ids = [np.array([word_to_id.get(token, 0) for token in tokens], np.int32) for tokens in token_lists]
        reviews = Reviews.of(ids, [-1] * len(ids), device)
        reviews.ids = self.known_ids(reviews.ids)
        return self.as_read(reviews)


# bytes of text that are parsed at once: their arrays stay in the cache, and threads share the blocks
BLOCK = 1 << 20


def _blocks(ends, kept):
    """The runs of lines that are `kept`, cut into blocks: pairs of the first line and the line after the last."""
    borders = np.flatnonzero(np.diff(kept, prepend=False, append=False))
    for first, last in borders.reshape(-1, 2):
        cuts = np.flatnonzero(np.diff(ends[first:last] // BLOCK)) + first + 1
        yield from pairwise([first, *cuts, last])


def _parse_ids(path, text, ends, largest, first, last):
    """The ids in the lines `first` to `last` - 1 of the file's `text`, and how many each line has: int32, int64.

    `ends` are the places of the line ends. InputError for a line that is empty or holds anything but whole numbers from
    0 to `largest`.
    """
    start = ends[first - 1] + 1 if first else 0
    text = text[start : ends[last - 1] + 1]
    line_ends = ends[first:last] - start
    digits = text - np.uint8(ord("0"))
    is_digit = digits < 10
    # a number ends where no digit follows a digit; its digits are added up from there, all numbers at a time
    tokens = np.flatnonzero(is_digit[:-1] > is_digit[1:])
    ids = digits[tokens].astype(np.int32)
    wrong = [np.flatnonzero(~is_digit & (text != ord(" ")) & (text != ord("\n")) & (text != ord("\r")))]
    numbers, places = np.arange(len(tokens)), tokens
    for power in range(1, 10):
        places = places - 1  # of the first byte -1, which is the newline at the end
        longer = np.flatnonzero(is_digit[places])
        if len(longer) == 0:
            break
        numbers, places = numbers[longer], places[longer]
        ids[numbers] += digits[places] * np.int32(10**power)
    else:
        wrong.append(places)  # ten digits or more
    lengths = np.diff(np.searchsorted(tokens, line_ends), prepend=0)
    wrong += [tokens[ids > largest], line_ends[lengths == 0]]
    wrong = np.concatenate(wrong)
    if len(wrong):
        number = first + 1 + np.searchsorted(line_ends, wrong.min())
        raise InputError(f"{path}, line {number}: expected token ids from 0 to {largest}; run preprocess_data.py again")
    return ids, lengths


def _reading(path):
    return reading(path, f"run preprocess_data.py{' --glove FILE' if 'glove' in path.name else ''}")


def _load_array(path):
    with _reading(path):
        return np.load(path, allow_pickle=False)


def _load_labels(data, split, no_of_lines, path):
    labels_path = Path(data) / f"imdb_{split}_labels.npy"
    if not labels_path.exists():
        if no_of_lines != sum(HANDOUT_COUNTS[split]):
            raise InputError(f"{path}: {no_of_lines} reviews, no {labels_path.name}; run preprocess_data.py again")
        return np.repeat(np.array([1, 0, -1], np.int8), HANDOUT_COUNTS[split])
    labels = _load_array(labels_path)
    if labels.shape != (no_of_lines,) or not np.isin(labels, (1, 0, -1)).all():
        expected = f"{no_of_lines} labels, each 1, 0 or -1"
        raise InputError(f"{labels_path} does not fit {path}: expected {expected}; run preprocess_data.py again")
    return labels
