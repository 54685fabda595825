"""Reviews read from their end, and the average of models of both directions."""

import csv
import io
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import read_model, refused, run_here, succeed, train
from twins import load_file

from common.data.reviews import Vocabulary, load_reviews
from common.models.average import AverageOfModels
from common.training.prediction import influential_words, probabilities_of_whole, probability_positive


def pieces(reviews):
    return [ids.tolist() for ids in reviews.ids.split(reviews.lengths.tolist())]


@pytest.fixture(scope="module")
def backward_models(sample_data, tmp_path_factory):
    """A language model that reads backwards, and 3c's that starts from it."""
    folder = tmp_path_factory.mktemp("backwards")
    succeed(train("3a", sample_data, folder / "3a", "--epochs", 1, "--backwards"))
    language_model = folder / "3a" / "language.model"
    options = ["--epochs", 1, "--language-model", language_model]
    succeed(train("3c", sample_data, folder / "3c", *options))
    return language_model, folder / "3c" / "rnn.model"


def test_each_review_is_turned_round_in_its_place(sample_data):
    for split in ("train", "test"):
        forward, backward = (
            load_reviews(sample_data, split, Vocabulary(sample_data, 500, backwards=backwards), "cpu", labelled=False)
            for backwards in (False, True)
        )
        assert pieces(backward) == [ids[::-1] for ids in pieces(forward)]
        assert torch.equal(backward.labels, forward.labels)
        assert torch.equal(backward.starts, forward.starts)


def test_a_model_file_knows_its_direction(backward_models, model_of, sample_data):
    for path in backward_models:
        assert read_model(path)["vocabulary"]["backwards"] is True
    for part in ("3a", "3c"):
        assert "backwards" not in read_model(model_of(part))["vocabulary"]
    tests = ["--data", sample_data, "--device", "cpu", "--model"]
    model = load_file("3c/RNN_model.py").RNN_model(**read_model(backward_models[1])["hyperparameters"])
    model.load_state_dict(read_model(backward_models[1])["state_dict"])
    vocabulary = Vocabulary(sample_data, 500)
    text = "A wonderful film, but dull"
    ids = vocabulary.reviews_of([["a", "wonderful", "film", ",", "but", "dull"]], "cpu").ids
    (expected,) = probability_positive(model, ids.flip(0)[None].long())
    printed = succeed(run_here("3c/RNN_test.py", *tests, backward_models[1], "--review", text)).stdout
    assert printed.startswith(f"{expected:.4f} ")
    # what was learnt of reviews read backwards predicts those better than reviews read forwards
    loss = float(
        succeed(run_here("3a/RNN_language_test.py", *tests, backward_models[0], "--lengths", 60)).stdout.split()[2]
    )
    saved = read_model(backward_models[0])
    del saved["vocabulary"]["backwards"]
    turned = backward_models[0].with_name("turned.model")
    torch.save(saved, turned)
    assert loss < float(succeed(run_here("3a/RNN_language_test.py", *tests, turned, "--lengths", 60)).stdout.split()[2])


def test_no_review_is_generated_backwards(backward_models, sample_data):
    done = run_here("3b/generate_review.py", "--data", sample_data, "--device", "cpu", "--model", backward_models[0])
    refused(done, "backwards", backward_models[0])


# ------------------------------------------------------------------------------------------- averages (3c)


@pytest.fixture
def models():
    torch.manual_seed(0)
    made = [load_file("3c/RNN_model.py").RNN_model(31, 8, pool=pool).eval() for pool in ("max", "concat")]
    for model in made:
        torch.nn.init.normal_(model.fc_output.weight)
    return made


@pytest.mark.parametrize("lengths", [None, torch.tensor([9, 4, 7])])
def test_the_average_is_that_of_the_probabilities(models, lengths):
    x, t = torch.randint(31, (3, 9, 2)), torch.tensor([1.0, 0.0, 1.0])
    with torch.no_grad():
        alone = [torch.sigmoid(model(x[..., i], t, lengths)[1]) for i, model in enumerate(models)]
        loss, logits = AverageOfModels(models)(x, t, lengths)
    mean = (alone[0] + alone[1]) / 2
    torch.testing.assert_close(torch.sigmoid(logits).float(), mean)
    torch.testing.assert_close(loss.float(), F.binary_cross_entropy(mean, t))


def test_a_sure_mistake_has_a_loss_that_is_a_number(models):
    torch.nn.init.constant_(models[0].fc_output.bias, 1000)
    torch.nn.init.constant_(models[1].fc_output.bias, 900)
    loss, _ = AverageOfModels(models)(torch.randint(31, (2, 5, 2)), torch.zeros(2))
    assert 800 < loss < 1100


def test_a_word_of_several_models_moves_the_mean_as_much_as_their_mean(models, tmp_path):
    np.save(tmp_path / "imdb_dictionary.npy", np.array([f"word{i}" for i in range(1, 31)]))

    def changes(model, *backwards):
        vocabulary = Vocabulary(tmp_path)
        vocabulary.backwards = list(backwards)
        review = vocabulary.reviews_of([["word5", "word7", "word5", "word9", "?", "word7", "word11"]], "cpu")
        return dict(influential_words(review, vocabulary, partial(probabilities_of_whole, model, batch_size=9)))

    both = changes(AverageOfModels(models), False, True)
    alone = changes(models[0], False), changes(models[1], True)
    assert both.keys() == {"word5", "word7", "word9", "word11"}
    for word, change in both.items():
        assert change == pytest.approx((alone[0][word] + alone[1][word]) / 2, abs=1e-6)


def test_the_script_averages(backward_models, model_of, sample_data, tmp_path):
    forward, backward = model_of("3c"), backward_models[1]

    def figures(models, *options):
        arguments = ["--data", sample_data, "--device", "cpu", "--model", *models, *options]
        return succeed(run_here("3c/RNN_test.py", *arguments)).stdout

    def without_seconds(text):
        return [line.split()[:-1] for line in text.splitlines()]

    for options in (["--lengths", 20, 60], ["--whole"]):
        alone = without_seconds(figures([forward], *options))
        assert without_seconds(figures([forward, forward], *options)) == alone
        assert without_seconds(figures([forward, backward], *options)) != alone

    (tmp_path / "reviews.txt").write_text("A wonderful film.\nDull, and far too long.\n")
    tables = [
        [
            float(row["probability"])
            for row in csv.DictReader(io.StringIO(figures(paths, "--reviews", tmp_path / "reviews.txt")))
        ]
        for paths in ([forward], [backward], [forward, backward])
    ]
    for one, other, both in zip(*tables, strict=True):
        assert both == pytest.approx((one + other) / 2, abs=1e-4)


def test_models_of_other_words_have_no_average(model_of, sample_data, tmp_path):
    options = ["--vocab-size", 400, "--epochs", 1, "--from-scratch", "--fine-tune", "all"]
    succeed(train("3c", sample_data, tmp_path, *options))
    models = [model_of("3c"), tmp_path / "rnn.model"]
    refused(run_here("3c/RNN_test.py", "--data", sample_data, "--device", "cpu", "--model", *models), "other words")
