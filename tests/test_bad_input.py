"""Bad input of parts 1a to 3c: status 2, one line that says what is wrong and where, and no half-made file."""

import io
import os
import pickle
import platform
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import (
    PARTS,
    TINY,
    data_with,
    read_model,
    refused,
    run_here,
    run_script,
    succeed,
    train,
    training,
)

from common.data.reviews import Vocabulary, load_glove_embeddings, load_reviews
from common.distributed.ending import run_script as run_script_of_ours
from common.errors import InputError
from common.files import npy_bytes

TRAIN_SCRIPT = {part: f"{part}/{scripts[0]}" for part, scripts in PARTS.items()}
TEST_SCRIPT = {part: f"{part}/{scripts[1]}" for part, scripts in PARTS.items()}
GENERATE = "3b/generate_review.py"


@pytest.fixture
def refused_training(sample_data, tmp_path):
    """A function that trains a part and checks that it is refused, with `words`, before it leaves any file."""

    def run(part, *words, data=sample_data, options=()):
        output = tmp_path / "output"
        refused(train(part, data, output, *options), *words)
        assert not output.exists()

    return run


@pytest.fixture
def refused_test(sample_data, model_of):
    """A function that runs a part's test script, or 3b's, and checks that it is refused, with `words`."""

    def run(script, *words, model=None, data=sample_data, options=()):
        part = "3a" if script == GENERATE else script[:2]
        refused(run_here(script, "--data", data, "--model", model or model_of(part), *options), *words)

    return run


# ----------------------------------------------------------------------------------------------- the options


AT_LEAST_1 = ["--batch-size", "--lr-drop-epoch", "--validation", "--early-stopping", "--vocab-size", "--hidden-units"]
AT_LEAST_1 += ["--train-length", "--test-length", "--test-every", "--layers", "--max-time"]
BAD_OPTIONS = [
    *[(TRAIN_SCRIPT["1a"], "--epochs", value) for value in ["0", "-3", "1.5", "many", str(2**64)]],
    *[(TRAIN_SCRIPT["1a"], "--lr", value) for value in ["0", "nan", "inf", "fast"]],
    *[(TRAIN_SCRIPT["1a"], "--dropout", value) for value in ["1", "-0.1", "half"]],
    *[(TRAIN_SCRIPT["1a"], "--seed", value) for value in ["-1", "0.5", str(2**64)]],
    *[(TRAIN_SCRIPT["1a"], "--trial", value) for value in ["", "..", "a/b"]],
    *[(TRAIN_SCRIPT["2a"], name, "0") for name in AT_LEAST_1],
    (TRAIN_SCRIPT["1a"], "--hidden-layers", "4"),
    (TRAIN_SCRIPT["1a"], "--precision", "fp16"),
    (TRAIN_SCRIPT["2a"], "--pool", "median"),
    (TRAIN_SCRIPT["3a"], "--clip", "-1"),
    (TRAIN_SCRIPT["3c"], "--fine-tune", "first"),
    (TEST_SCRIPT["2a"], "--lengths", "0"),
    (TEST_SCRIPT["1a"], "--mistakes", "0"),
    (TEST_SCRIPT["1a"], "--device", "tpu"),
    *[(GENERATE, name, "0") for name in ["--temperature", "--length", "--count"]],
]


@pytest.mark.parametrize(("script", "option", "value"), BAD_OPTIONS)
def test_a_bad_value_of_an_option(script, option, value):
    # "=", for a value that begins with "-"
    refused(run_here(script, f"{option}={value}"), f"argument {option}: ", value, "(see --help)")


def test_an_unknown_option():
    refused(run_here(TEST_SCRIPT["1a"], "--colour"), "--colour")
    # no option may be cut short: a longer name could come later
    refused(run_here(TRAIN_SCRIPT["1a"], "--devic", "cpu"), "--devic")


@pytest.mark.parametrize(("script", "option"), [(TEST_SCRIPT["2a"], "--lengths"), (TRAIN_SCRIPT["1a"], "--epochs")])
def test_an_option_without_its_value(script, option):
    refused(run_here(script, option), f"argument {option}: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu():
    refused(run_here(TRAIN_SCRIPT["1a"], "--device", "cuda"), "--device cuda", "no CUDA GPU")


def test_tf32_is_for_cuda(refused_training):
    refused_training("1a", "--precision tf32", "CUDA", options=["--precision", "tf32"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable is for x86")
def test_bf16_on_a_cpu_without_it(sample_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # as if that were all this CPU has
    output = tmp_path / "output"
    done = run_script(*training("2a", sample_data, output, "--precision", "bf16"))
    refused(done, "--precision bf16", "this CPU", "use fp32")
    assert not output.exists()


@pytest.mark.parametrize(("batch_size", "words"), [(27, "last batch of 1 of the 1000"), (1, "last batch of 1 of")])
def test_batch_sizes_that_do_not_fit(batch_size, words, refused_training):
    refused_training("1a", f"--batch-size {batch_size}", words, options=["--batch-size", batch_size])


@pytest.mark.parametrize("option", ["--train-length", "--test-length"])
def test_a_language_model_needs_two_tokens(option, refused_training):
    refused_training("3a", option, "2", options=[option, 1])


def test_lengths_of_a_language_model(refused_test):
    refused_test(TEST_SCRIPT["3a"], "--lengths", "2", options=["--lengths", 50, 1])
    refused_test(TEST_SCRIPT["3a"], "--review", "2 words", options=["--review", "good"])


@pytest.mark.parametrize(
    ("part", "review", "words"),
    [
        ("1a", "  <br />\n", "holds no words"),
        ("2a", "", "holds no words"),
        ("2a", "这部电影很好看 真的", "no word that the model knows"),
        ("3a", "qwxz", "no word that the model knows"),
    ],
)
def test_a_review_without_a_verdict(part, review, words, refused_test):
    refused_test(TEST_SCRIPT[part], "--review", words, options=["--review", review])


def test_a_review_that_is_not_utf_8(refused_test):
    options = ["--review", os.fsdecode("très bien".encode("latin-1"))]  # as Python gives such bytes of a command line
    refused_test(TEST_SCRIPT["1a"], "--review is not UTF-8", options=options)


# options of which one alone can be heeded
EITHER_OR = [
    (TEST_SCRIPT["1a"], ["--review", "a film"], ["--reviews", "file"]),
    (TEST_SCRIPT["2a"], ["--whole"], ["--lengths", "50"]),
    (GENERATE, ["--model", "file"], ["--trial", "mine"]),
    (TRAIN_SCRIPT["1a"], ["--resume"], ["--overwrite"]),
]


@pytest.mark.parametrize(("script", "one", "other"), EITHER_OR)
def test_no_option_is_ignored_in_silence(script, one, other):
    refused(run_here(script, *one, *other), "not allowed with argument", one[0], other[0])


def test_an_empty_prime(refused_test):
    refused_test(GENERATE, "--prime", options=["--prime", "a film", "--prime", " "])


def test_no_stop_words_and_no_server(sample_data, tmp_path):
    # a process of its own, for NLTK keeps a list that it has read
    options = [*TINY["1a"].split(), "--data", sample_data, "--output", tmp_path / "output", "--remove-stop-words"]
    refused(run_script(TRAIN_SCRIPT["1a"], *options), "stopwords", "nltk.downloader stopwords")
    assert not (tmp_path / "output").exists()


def test_an_output_folder_that_cannot_be_made(sample_data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(train("1a", sample_data, tmp_path / "file" / "below"), tmp_path / "file" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def little_memory():
    """Allows this process 1 GiB more than it has, wherever the machine would give more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_out_of_memory(little_memory, refused_training):
    refused_training("3a", "out of memory", "--batch-size", "--lengths", options=["--hidden-units", 10**7])


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_out_of_a_gpus_memory(words, capsys):
    def main():
        raise RuntimeError(words)

    with pytest.raises(SystemExit) as end:
        run_script_of_ours(main)
    assert end.value.code == 2
    assert "error: out of memory" in capsys.readouterr().err


def test_another_error_is_not_out_of_memory():
    def main():
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        run_script_of_ours(main)


# ------------------------------------------------------------------------------------- the preprocessed files


def changed_line(text, number, line):
    lines = text.split(b"\n")
    lines[number - 1] = line
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("part", "name"),
    [("1a", "imdb_dictionary.npy"), ("1a", "imdb_test.txt"), ("1b", "glove_embeddings.npy"), ("1a", None)],
)
def test_a_missing_file(part, name, refused_training, sample_data, tmp_path):
    data = data_with(tmp_path / "data", sample_data, {name: None}) if name else tmp_path / "nowhere"
    refused_training(part, data / (name or ""), "preprocess_data.py", data=data)


@pytest.mark.parametrize("line", [b"3 5a 5", b"99999", b"3 -1 5", b"", b"9" * 30])
def test_a_damaged_line(line, refused_training, sample_data, tmp_path):
    content = changed_line((sample_data / "imdb_train.txt").read_bytes(), 17, line)
    data = data_with(tmp_path / "data", sample_data, {"imdb_train.txt": content})
    refused_training("1a", data / "imdb_train.txt", "line 17", data=data)


def test_a_damaged_line_of_the_test_set(refused_test, sample_data, tmp_path):
    content = changed_line((sample_data / "imdb_test_glove.txt").read_bytes(), 1000, b"1 2 z")
    data = data_with(tmp_path / "data", sample_data, {"imdb_test_glove.txt": content})
    refused_test(TEST_SCRIPT["2b"], data / "imdb_test_glove.txt", "line 1000", data=data)


BAD_ARRAYS = [
    ("1a", "imdb_dictionary.npy", lambda whole: whole[:-100]),
    ("1a", "imdb_dictionary.npy", lambda whole: pickle.dumps(["the"])),
    ("1a", "imdb_train_labels.npy", lambda whole: b""),
    ("1b", "glove_embeddings.npy", lambda whole: npy_bytes(np.zeros((3, 4), np.complex128))),
    ("1b", "glove_embeddings.npy", lambda whole: b"the\na\n"),
]


@pytest.mark.parametrize(("part", "name", "damage"), BAD_ARRAYS)
def test_a_damaged_array(part, name, damage, refused_training, sample_data, tmp_path):
    data = data_with(tmp_path / "data", sample_data, {name: damage((sample_data / name).read_bytes())})
    refused_training(part, name, "preprocess_data.py", data=data)


def test_embeddings_of_fewer_words_than_the_dictionary(refused_training, sample_data, tmp_path):
    embeddings = np.load(sample_data / "glove_embeddings.npy")
    data = data_with(tmp_path / "data", sample_data, {"glove_embeddings.npy": npy_bytes(embeddings[:-1])})
    refused_training("1b", "glove_embeddings.npy", f"{len(embeddings)} rows", data=data)


def test_embeddings_of_the_handouts_own_script(sample_data, tmp_path):
    """They are float64 there."""
    embeddings = np.load(sample_data / "glove_embeddings.npy")
    content = {"glove_embeddings.npy": npy_bytes(embeddings.astype(np.float64))}
    data = data_with(tmp_path / "data", sample_data, content)
    found = load_glove_embeddings(data, len(embeddings) - 1, "cpu")
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(embeddings))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.ones(2999, np.int8), "imdb_train.txt: expected 3000 labels, each 1, 0 or -1"),
        (np.full(3000, 0.5), "imdb_train.txt: expected 3000 labels"),
        (np.repeat([1, 2], 1500), "imdb_train.txt: expected 3000 labels"),
        (np.full(3000, -1, np.int8), "imdb_train.txt holds no labelled reviews"),
    ],
    ids=["too few", "shares", "other values", "none"],
)
def test_labels_that_do_not_match(labels, words, refused_training, sample_data, tmp_path):
    data = data_with(tmp_path / "data", sample_data, {"imdb_train_labels.npy": npy_bytes(labels)})
    refused_training("1a", words, data=data)


def test_no_labels_and_not_the_handouts_number_of_reviews(refused_training, sample_data, tmp_path):
    data = data_with(tmp_path / "data", sample_data, {"imdb_train_labels.npy": None})
    refused_training("1a", data / "imdb_train.txt", "3000 reviews", "imdb_train_labels.npy", data=data)


def test_a_folder_of_the_handouts_own_script_is_read_by_its_rule(sample_data, tmp_path):
    lines = {"imdb_train.txt": b"1\n" * 12500 + b"2\n" * 12500 + b"3\n" * 50000, "imdb_test.txt": b"4\n" * 25000}
    dictionary = {"imdb_dictionary.npy": (sample_data / "imdb_dictionary.npy").read_bytes()}
    (tmp_path / "empty").mkdir()
    data = data_with(tmp_path / "data", tmp_path / "empty", {**lines, **dictionary})
    vocabulary = Vocabulary(data)
    for split, labelled, counts in [("train", True, [0, 12500, 12500]), ("train", False, [50000, 12500, 12500])]:
        reviews = load_reviews(data, split, vocabulary, "cpu", labelled)
        assert torch.bincount(reviews.labels.long() + 1).tolist() == counts
        # the lines of a kind of review hold one id, above
        assert [set(reviews.ids[reviews.labels == label].tolist()) for label in (1, 0)] == [{1}, {2}]
    assert load_reviews(data, "test", vocabulary, "cpu").labels.tolist() == [1] * 12500 + [0] * 12500
    (data / "imdb_test.txt").write_bytes(b"4\n" * 24999)
    with pytest.raises(InputError, match="24999 reviews"):
        load_reviews(data, "test", vocabulary, "cpu")


# --------------------------------------------------------------------------------------------- the model files


def test_no_model_yet(refused_test, refused_training, tmp_path):
    none = tmp_path / "none"
    refused_test(TEST_SCRIPT["1a"], none, f"run {TRAIN_SCRIPT['1a']} first", model=none)
    refused_training("3c", none, f"run {TRAIN_SCRIPT['3a']} first", options=["--language-model", none])


def test_how_to_come_by_a_missing_model(tree, trained, sample_data):
    model, trials = tree / "1a/BOW.model", tree / "1a/trials"
    command, script = [str(tree / TEST_SCRIPT["1a"]), "--data", sample_data], TRAIN_SCRIPT["1a"]
    refused(run_here(*command, "--trial", "new"), f"run {script} --trial new first")
    (trials / "cut").mkdir(parents=True)
    (trials / "cut/BOW.state").touch()
    cut = "its training was cut off: the command of"
    refused(run_here(*command, "--trial", "cut"), f"{cut} {script} --trial cut with --resume goes on")
    # as after jobs/run_all.sh, whose sample is a trial
    (trials / "sample").mkdir()
    for kind in ("model", "state"):
        model.with_suffix(f".{kind}").rename(trials / f"sample/BOW.{kind}")
    try:
        refused(
            run_here(*command), f"run {script} first, or take a trial's: --trial sample has {trials}/sample/BOW.model"
        )
        succeed(run_here(*command, "--trial", "sample"))
    finally:
        for kind in ("model", "state"):
            (trials / f"sample/BOW.{kind}").rename(model.with_suffix(f".{kind}"))
        shutil.rmtree(trials)


class Bomb:
    """Unpickling it makes the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def torch_saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


# each makes a file of another kind in the place of the trained model
BAD_FILES = {
    "text": lambda whole, bomb: b"no model\n" * 100,
    "truncated": lambda whole, bomb: whole[: len(whole) // 2],
    "hostile model": lambda whole, bomb: torch_saved({"part": "1a", "state_dict": bomb}),
    "list": lambda whole, bomb: torch_saved([1, 2]),
    "weights alone": lambda whole, bomb: torch_saved({"fc_output.weight": torch.zeros(1)}),
}


@pytest.mark.parametrize("make", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_model(make, refused_test, model_of, tmp_path):
    file, sprung = tmp_path / "bad.model", tmp_path / "sprung"
    file.write_bytes(make(model_of("1a").read_bytes(), Bomb(sprung)))
    refused_test(TEST_SCRIPT["1a"], file, "run 1a/BOW_sentiment_analysis.py first", model=file)
    assert not sprung.exists()


@pytest.mark.parametrize(("script", "part", "other"), [(TEST_SCRIPT["2a"], "2a", "3c"), (GENERATE, "3a", "2a")])
def test_a_model_of_another_part(script, part, other, refused_test, model_of):
    refused_test(script, f"part {part}", f"part {other}", model=model_of(other))


@pytest.mark.parametrize("change", [{"weight_drop": 0.1}, {"no_of_hidden_units": 8}])
def test_a_model_of_another_version(change, refused_test, model_of, tmp_path):
    saved, file = read_model(model_of("3a")), tmp_path / "old.model"
    saved["hyperparameters"] |= change
    torch.save(saved, file)
    for script in (TEST_SCRIPT["3a"], GENERATE):
        refused_test(script, f"{file} is of another version of part 3a's model", "train it again", model=file)


def test_a_language_model_of_another_version(refused_training, model_of, tmp_path):
    saved, file = read_model(model_of("3a")), tmp_path / "old.model"
    saved["state_dict"]["lstm1.weight"] = saved["state_dict"].pop("lstm1.lstm.weight_hh_l0")
    torch.save(saved, file)
    refused_training("3c", f"{file} is of another version of part 3a's model", options=["--language-model", file])


def test_a_language_model_of_another_size(refused_training, model_of):
    options = ["--language-model", model_of("3a"), "--layers", 2]
    refused_training("3c", model_of("3a"), "no_of_layers 3", "2", options=options)


@pytest.fixture
def other_words(sample_data, tmp_path):
    """The sample with the first two words of both dictionaries exchanged."""
    files = {}
    for name in ("imdb_dictionary.npy", "glove_dictionary.npy"):
        words = np.load(sample_data / name)
        words[:2] = words[1::-1]
        files[name] = npy_bytes(words)
    return data_with(tmp_path / "other", sample_data, files)


@pytest.mark.parametrize("script", [TEST_SCRIPT["2a"], TEST_SCRIPT["2b"], GENERATE])
def test_a_model_used_with_another_dictionary(script, other_words, refused_test):
    refused_test(script, "other words", other_words, data=other_words)


def test_a_language_model_of_other_words(other_words, refused_training, model_of):
    options = ["--language-model", model_of("3a")]
    refused_training("3c", model_of("3a"), "other words", data=other_words, options=options)


@pytest.mark.parametrize("part", ["1b", "2b"])
def test_a_model_used_with_embeddings_of_another_size(part, sample_data, refused_test, tmp_path):
    embeddings = np.load(sample_data / "glove_embeddings.npy")[:, :20]
    data = data_with(tmp_path / "data", sample_data, {"glove_embeddings.npy": npy_bytes(embeddings)})
    refused_test(TEST_SCRIPT[part], "glove_embeddings.npy", "20", "50", data=data)
