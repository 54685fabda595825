"""Part 3b's output: text for a reader, groups of temperatures, verdicts of a sentiment model."""

import numpy as np
import pytest
import torch
from conftest import refused, run_here, run_script, succeed
from twins import load_file

from common.data.detokenizing import detokenize
from common.data.reviews import Vocabulary
from common.distributed.device import cpu_has_bf16
from common.training.checkpoints import save_model

SCRIPT = "3b/generate_review.py"


@pytest.fixture
def generate(model_of, sample_data):
    """A function that runs 3b with options and returns the finished run."""
    return lambda *options: run_here(
        SCRIPT, "--data", sample_data, "--model", model_of("3a"), "--device", "cpu", *options
    )


@pytest.fixture
def lines(generate):
    """A function that runs 3b with options and returns what it printed, a list of lines."""

    def run(*options):
        done = succeed(generate(*options))
        assert done.stdout.endswith("\n")
        assert done.stderr == "running on the CPU, 1 thread\n"
        return done.stdout[:-1].split("\n")

    return run


# ------------------------------------------------------------------------------------------- text for a reader


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("i love this movie .", "i love this movie."),
        ("well , it was good ; but why ? why ! ? yes : it was .", "well, it was good; but why? why!? yes: it was."),
        ("i do n't know , it 's what they 'd say", "i don't know, it's what they'd say"),
        ("i ca n't , i wo n't", "i can't, i won't"),
        ("i 'm sure we 're what you 'll like and i 've seen", "i'm sure we're what you'll like and i've seen"),
        ("you can not , i am gon na", "you cannot, i am gonna"),
        ("he said : `` no ! '' , and `` the end '' is", 'he said: "no!", and "the end" is'),
        ("`` a quotation that does not end .", '"a quotation that does not end.'),
        ("a ( very ) good [ sic ] film ( 1999 ) .", "a (very) good [sic] film (1999)."),
        ("it cost $ 100 , is # 1 and 90 % trash", "it cost $100, is #1 and 90% trash"),
        ("and then ... nothing happens .... the end ...", "and then... nothing happens.... the end..."),
        ("... and ( ... ) it 's ... `` ... and ... '' , no ...", '... and (...) it\'s... "... and...", no...'),
        ("the actors ' faces", "the actors' faces"),
        ("a ' real ' film , ' the end ' and ' so on . '", "a 'real' film, 'the end' and 'so on.'"),
        ("that film 's ' star ' is", "that film's 'star' is"),
        ("rock ' n ' roll of the ' 80s and ' 90s", "rock 'n' roll of the '80s and '90s"),
        # two apostrophes further apart than the ends of a quotation
        (
            "the actors ' faces are all that one sees in this film and the boys ' bad jokes",
            "the actors' faces are all that one sees in this film and the boys' bad jokes",
        ),
        ("* * * * out of * * * * , 10/10", "**** out of ****, 10/10"),
        ("the plot -- or not -- is a b-movie 's", "the plot -- or not -- is a b-movie's"),
        (
            "<unk> 's <unk> <unk> , ( <unk> ) `` <unk> '' <unk> ... <unk> .",
            '<unk>\'s <unk> <unk>, (<unk>) "<unk>" <unk>... <unk>.',
        ),
    ],
)
def test_detokenize(tokens, text):
    assert detokenize(tokens.split(" ")) == text


def test_reviews_are_text(lines):
    options = ["--prime", "I don't qwxz: it's the \"last", "--prime", "a", "--count", 5, "--length", 120]
    raw = lines("--raw", *options)
    text = lines(*options)
    assert len(text) == len(raw) == 10
    assert text == [detokenize(line.split(" ")) for line in raw]
    assert all(line.startswith("i do n't <unk> : it 's the `` last ") for line in raw[:5])
    assert all(line.startswith("i don't <unk>: it's the \"last") for line in text[:5])


# --------------------------------------------------------------------------------------------- what is generated


@pytest.fixture
def reviews(lines):
    """A function that runs 3b with options and returns its reviews, lists of words."""
    return lambda *options: [line.split(" ") for line in lines("--raw", *options)]


def test_generation_in_its_own_directory(trained, tree):
    done = succeed(run_script("generate_review.py", "--raw", "--device", "cpu", cwd=tree / "3b"))
    reviews = [line.split(" ") for line in done.stdout.splitlines()]
    assert [review[0] for review in reviews] == ["a", "i"]
    assert [len(review) for review in reviews] == [151, 151]
    assert done.stderr == "running on the CPU, 1 thread\n"


def test_primes_count_and_length(reviews):
    primes = ["The film", "I was", "This wasn\u2019t the GREAT qwxz film that"]
    # two batches
    options = [*[word for prime in primes for word in ("--prime", prime)], "--batch-size", 5]
    printed = reviews(*options, "--count", 3, "--length", 20)
    # a word outside the vocabulary is shown as what the model sees
    tokens = [["the", "film"], ["i", "was"], ["this", "was", "n't", "the", "great", "<unk>", "film", "that"]]
    expected = [prime for prime in tokens for _ in range(3)]
    assert [review[: len(prime)] for review, prime in zip(printed, expected, strict=True)] == expected
    assert [len(review) - len(prime) for review, prime in zip(printed, expected, strict=True)] == [20] * 9
    assert len({tuple(review) for review in printed}) == 9


def test_the_seed_and_the_precision_decide(reviews):
    options = ["--length", 30, "--count", 4, "--temperature", 1.3]
    assert reviews(*options, "--seed", 3) == reviews(*options, "--seed", 3)
    assert reviews(*options, "--seed", 3) != reviews(*options, "--seed", 4)
    if cpu_has_bf16():
        assert reviews(*options, "--length", 100, "--precision", "bf16") != reviews(*options, "--length", 100)


def test_the_unknown_word_is_never_sampled(reviews, sample_data):
    # with a vocabulary of 500 it is among the commonest
    known = set(np.load(sample_data / "imdb_dictionary.npy")[:500].tolist())
    assert {word for review in reviews("--length", 100, "--count", 10) for word in review} <= known


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_near_temperature_0_the_seed_does_not_matter(temperature, reviews):
    options = ["--temperature", temperature, "--length", 30]
    assert reviews(*options, "--seed", 0) == reviews(*options, "--seed", 1)


def test_a_higher_temperature_is_wilder(reviews):
    words = [
        {word for review in reviews("--temperature", temperature, "--count", 5) for word in review}
        for temperature in (0.25, 1.0, 1.5)
    ]
    assert len(words[0]) < len(words[1]) < len(words[2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_generation_on_cuda(generate):
    options = ["--device", "cuda", "--length", 20]
    assert succeed(generate(*options)).stdout == succeed(generate(*options)).stdout


# ------------------------------------------------------------------------------------------------ temperatures


def test_groups_of_temperatures(lines):
    # two batches for each temperature
    options = ["--count", 3, "--batch-size", 4, "--length", 20, "--seed", 3]
    groups = {temperature: lines("--temperature", temperature, *options) for temperature in ("0.25", "1.0", "1.5")}
    assert [len(reviews) for reviews in groups.values()] == [6, 6, 6]
    assert groups["1.0"] == lines(*options)
    assert lines("--temperature", "1.0", "1.50", "0.25", *options) == [
        *["temperature 1.0", *groups["1.0"], ""],
        *["temperature 1.5", *groups["1.5"], ""],
        *["temperature 0.25", *groups["0.25"]],
    ]


# ---------------------------------------------------------------------------------------------------- verdicts


def sentiment_file(path, data):
    """Writes a model of 3c with random weights and a smaller vocabulary than 3a's."""
    model_class = load_file("3c/RNN_model.py").RNN_model
    vocabulary = Vocabulary(data, 100)
    hyperparameters = {"vocab_size": 101, "no_of_hidden_units": 8, "no_of_layers": 2, "pool": "mean"}
    torch.manual_seed(0)
    model = model_class(**hyperparameters)
    torch.nn.init.normal_(model.fc_output.weight, std=10)
    save_model(path, "3c", model, hyperparameters, vocabulary, epochs_done=1, finished=True)
    return path, model


def test_verdicts(lines, sample_data, tmp_path):
    file, model = sentiment_file(tmp_path / "rnn.model", sample_data)
    # of unequal length, each to be scored without padding
    options = ["--prime", "this is a great qwxz film", "--prime", "bad", "--count", 5, "--length", 30]
    raw = lines("--raw", *options)
    words = np.load(sample_data / "imdb_dictionary.npy")[:100].tolist()
    expected = []
    for line in raw:
        ids = [words.index(word) + 1 if word in words else 0 for word in line.split(" ")]
        _, logit = model.eval()(torch.tensor([ids]), torch.zeros(1))
        probability = torch.sigmoid(logit).item()
        expected.append(f"{probability:.4f} {'positive' if probability >= 0.5 else 'negative'}")
    assert len(set(expected)) == 10
    for form, reviews in (["--raw"], raw), ([], lines(*options)):
        scored = [f"{verdict}  {review}" for verdict, review in zip(expected, reviews, strict=True)]
        assert lines("--score", file, *options, *form) == scored


def test_verdicts_of_no_sentiment_model(generate, model_of, tmp_path):
    missing = tmp_path / "rnn.model"
    refused(generate("--score", missing), missing, "No such file or directory; run 3c/RNN_sentiment_analysis.py first")
    refused(generate("--score", model_of("2a")), model_of("2a"), "belongs to part 2a, not to part 3c")
