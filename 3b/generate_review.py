"""Part 3b: generates fake reviews with the language model of part 3a."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from
from common.files import REPOSITORY

import_from(REPOSITORY / "3a")

import torch
from RNN_language_model import RNN_language_model

from common.data.detokenizing import detokenize
from common.data.reviews import Vocabulary
from common.data.tokenizing import load_punkt
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.errors import InputError
from common.training.checkpoints import load_model
from common.training.options import evaluation_options, parse_evaluation_options, positive_float, positive_int
from common.training.prediction import own_tokens, probability_positive, verdict


def sample_words(logits, temperature, generator):
    """Draws a word for each review: logits (batch, vocab) -> ids (batch,) int64, never the unknown token, 0.

    The probabilities are softmax(logits / temperature).
    """
    # from the largest logit down, and in float64, no temperature above 0 overflows
    logits = logits.to(torch.float64, copy=True)
    logits[:, 0] = -torch.inf
    logits -= logits.max(dim=1, keepdim=True).values
    cumulative = torch.softmax(logits / temperature, dim=1).cumsum(dim=1)
    # a uniform number finds its word; torch.multinomial would draw a random number for each word of the vocabulary
    chance = torch.rand(len(logits), 1, dtype=torch.float64, generator=generator, device=logits.device)
    return torch.searchsorted(cumulative, chance * cumulative[:, -1:], right=True)[:, 0]


@torch.no_grad()
def generate(model, primes, length, temperature, generator):
    """Goes on from each of `primes`, lists of token ids, by `length` sampled words; returns lists of token ids.

    All reviews run as one batch; while a longer prime still lasts, its own words are fed in place of sampled ones.
    """
    model.eval()
    model.reset_state()
    device = generator.device
    prime_lengths = torch.tensor([len(prime) for prime in primes], device=device)
    shortest, longest = int(prime_lengths.min()), int(prime_lengths.max())
    tokens = torch.zeros(len(primes), longest + length, dtype=torch.int64, device=device)
    for review, prime in zip(tokens, primes, strict=True):
        review[: len(prime)] = torch.tensor(prime)

    logits = model.predict(tokens[:, :shortest])[:, -1]
    for position in range(shortest, longest + length):
        sampled = sample_words(logits, temperature, generator)
        tokens[:, position] = torch.where(position < prime_lengths, tokens[:, position], sampled)
        logits = model.predict(tokens[:, position : position + 1])[:, -1]
    return [review[: len(prime) + length] for review, prime in zip(tokens.tolist(), primes, strict=True)]


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = evaluation_options(__doc__, model=REPOSITORY / "3a" / "language.model")
    add = parser.add_argument
    add("--prime", action="append", metavar="TEXT", help="how a review begins; repeatable (default: a, i)")
    temperatures = "below 1: surer words, above: wilder; several: a group of reviews for each"
    add("--temperature", type=positive_float, nargs="+", default=[1.0], metavar="X", help=temperatures)
    add("--length", type=positive_int, default=150, metavar="N", help="words to add to the prime")
    add("--count", type=positive_int, default=1, metavar="N", help="reviews of each prime")
    add("--raw", action="store_true", help="print the tokens as the model sees them, with spaces between")
    add("--score", type=Path, metavar="FILE", help="a model of part 3c, whose verdict comes before each review")
    return parse_evaluation_options(parser, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)

    model, words = load_model(options.model, "3a", RNN_language_model, "train_language_model.py")
    model.to(device)
    vocabulary = Vocabulary.of_model(options.data, words)
    if vocabulary.backwards == [True]:
        raise InputError(f"{options.model} reads reviews backwards, so it cannot go on from their beginning")

    if options.score is not None:
        import_from(REPOSITORY / "3c")
        from RNN_model import RNN_model

        sentiment_model, words = load_model(options.score, "3c", RNN_model, "RNN_sentiment_analysis.py")
        sentiment_model.to(device)
        sentiment_vocabulary = Vocabulary.of_model(options.data, words)

    load_punkt(options.data)
    primes = []
    for text in options.prime or ["a", "i"]:
        tokens = own_tokens(os.fsencode(text), "--prime")
        if not tokens:
            raise InputError("--prime holds no words")
        primes += [vocabulary.reviews_of([tokens], "cpu").ids.tolist()] * options.count

    for group, temperature in enumerate(options.temperature):
        if group > 0:
            print()
        if len(options.temperature) > 1:
            print(f"temperature {temperature}")
        # the seed anew, so that a group does not depend on those before it
        generator = torch.Generator(device).manual_seed(options.seed)
        for start in range(0, len(primes), options.batch_size):
            batch = primes[start : start + options.batch_size]
            with autocast:
                for review in generate(model, batch, options.length, temperature, generator):
                    tokens = [vocabulary.words[token - 1] if token else "<unk>" for token in review]
                    line = " ".join(tokens) if options.raw else detokenize(tokens)
                    if options.score is not None:
                        scored = sentiment_vocabulary.reviews_of([tokens], device)
                        (probability,) = probability_positive(sentiment_model, scored.ids[None].long())
                        line = f"{verdict(probability)}  {line}"
                    print(line, flush=True)


if __name__ == "__main__":
    run_script(main)
