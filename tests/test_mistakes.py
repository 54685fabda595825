"""What a model gets wrong: the counts, and the surest mistakes with their names and first words."""

import re

import numpy as np
import pytest
import torch
from conftest import run_here, succeed

from common.errors import InputError
from common.training.mistakes import FIRST_WORDS, print_mistakes

LABELS = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])


@pytest.fixture
def data(tmp_path):
    """Five test reviews, the second one long, with words that only the test has."""
    np.save(tmp_path / "imdb_dictionary.npy", np.array(["film", "good"]))
    np.save(tmp_path / "imdb_test_labels.npy", LABELS.numpy().astype(np.int8))
    lines = ["1 0 2", "0 " + "1 " * 60, "2 1", "1 1", "0 0"]
    (tmp_path / "imdb_test.txt").write_text("".join(f"{line.strip()}\n" for line in lines))
    (tmp_path / "imdb_test_unknown.txt").write_text("odd\nrare\nstrange\nweird\n")
    (tmp_path / "imdb_test_names.txt").write_text("".join(f"test/pos/{i}_9.txt\n" for i in range(5)))
    return tmp_path


def test_the_counts_and_the_surest_first(data, capsys):
    print_mistakes([0.9, 0.2, 0.6, 0.1, 0.99], LABELS, data, 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["said", "negative", "said", "positive"],
        ["is", "negative", "1", "2"],
        ["is", "positive", "1", "1"],
    ]
    assert lines[3] == "accuracy 40.00%, of the positive: precision 33.33%, recall 50.00%, F1 40.00%"
    assert lines[5:7] == ["0.9900 positive, but it is negative: test/pos/4_9.txt", "strange weird"]
    assert lines[8] == "0.2000 negative, but it is positive: test/pos/1_9.txt"
    assert lines[9].startswith("rare ")
    assert lines[9].endswith(" …")
    assert len(lines[9].split()) == FIRST_WORDS + 1
    assert len(lines) == 10


def test_a_folder_of_the_handouts_own_script_has_no_names(data, capsys):
    (data / "imdb_test_names.txt").unlink()
    with pytest.raises(InputError, match=r"imdb_test_names\.txt.* run preprocess_data\.py"):
        print_mistakes([0.9, 0.8, 0.4, 0.1, 0.0], LABELS, data, 3)
    assert capsys.readouterr().out == ""


def test_where_nothing_is_wrong(data, capsys):
    print_mistakes([0.9, 0.8, 0.4, 0.1, 0.0], LABELS, data, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "accuracy 100.00%, of the positive: precision 100.00%, recall 100.00%, F1 100.00%"
    assert len(lines) == 4


def test_where_nothing_is_said_to_be_positive(data, capsys):
    print_mistakes([0.1] * 5, LABELS, data, 1)
    assert "precision 0.00%, recall 0.00%, F1 0.00%" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["1a", "2b"])
def test_the_option(part, model_of, sample_data):
    script = f"{part}/{'BOW' if part[0] == '1' else 'RNN'}_test.py"
    options = ["--data", sample_data, "--device", "cpu", "--model", model_of(part)]
    printed = succeed(run_here(script, *options, "--mistakes", 3)).stdout
    tested = succeed(run_here(script, *options, *([] if part[0] == "1" else ["--whole"]))).stdout
    accuracy = tested.removeprefix("whole ").split()[0]
    assert f"accuracy {accuracy}%" in printed
    counts = [int(number) for line in printed.splitlines()[1:3] for number in line.split()[2:]]
    assert sum(counts) == len((sample_data / "imdb_test.txt").read_text().splitlines())
    mistakes = re.findall(r"\n\n(0\.\d{4}|1\.0000) \w+, but it is (\w+): test/(pos|neg)/\d+_\d+\.txt\n\S", printed)
    assert len(mistakes) == 3
    sureness = []
    for probability, label, folder in mistakes:
        assert label.startswith(folder)
        assert (float(probability) > 0.5) == (folder == "neg")
        sureness.append(abs(float(probability) - 0.5))
    assert sureness == sorted(sureness, reverse=True)
