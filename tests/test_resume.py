"""Trainings that are cut off and resumed, or stopped early."""

import errno
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import (
    REPO,
    data_with,
    read_model,
    refused,
    run_here,
    same_weights,
    succeed,
    train,
    training,
)

from common.files import npy_bytes, sole_use
from common.training import loop
from common.training.resuming import Signals


def state(folder):
    (path,) = folder.glob("*.state")
    return read_model(path)


def results(folder):
    """data.npy, and the epochs of run.json without their times."""
    epochs = json.loads((folder / "run.json").read_text())["epochs"]
    without_times = [{name: epoch[name] for name in epoch if not name.endswith("seconds")} for epoch in epochs]
    return np.load(folder / "data.npy"), without_times


def same_run(one, other):
    """Whether the runs in two folders ended with the same weights and results, bit for bit."""
    (one_data, one_epochs), (other_data, other_epochs) = results(one), results(other)
    (model,) = [path.name for path in one.glob("*.model")]
    return (
        same_weights(one / model, other / model)
        and np.array_equal(one_data, other_data, equal_nan=True)
        and one_epochs == other_epochs
    )


def without_times(stdout):
    """The printed lines without their seconds."""
    return re.sub(r"(\.\d{4}) \d+\.\d{4}", r"\1", stdout)


def printed_tests(stdout):
    """The accuracies of the indented lines, in their order."""
    return [float(line.split()[0]) for line in stdout.splitlines() if line.startswith("   ")]


# ------------------------------------------------------------------------------------------------- resuming

RESUMED = [
    ("1a", "--optimizer sgd --lr-drop-epoch 2", 1, 3),
    ("2a", "--test-every 2", 2, 3),
    ("3a", "--lr-drop-epoch 1", 1, 2),
]


@pytest.mark.parametrize(("part", "options", "cut", "epochs"), RESUMED)
def test_a_resumed_run_equals_one_that_was_not_cut_off(part, options, cut, epochs, run, tmp_path):
    straight = succeed(run(part, "straight", *options.split(), "--epochs", epochs))
    succeed(run(part, "cut", *options.split(), "--epochs", cut))
    assert not same_run(tmp_path / "cut", tmp_path / "straight")
    resumed = succeed(run(part, "cut", *options.split(), "--epochs", epochs, "--resume"))
    assert f"going on after epoch {cut - 1}\n" in resumed.stderr
    assert same_run(tmp_path / "cut", tmp_path / "straight")
    # only what is new is printed
    lines = [without_times(done.stdout).splitlines() for done in (straight, resumed)]
    assert lines[0][-len(lines[1]) :] == lines[1]
    assert lines[1][0].startswith(f"{cut} ")


def test_a_killed_run_goes_on_from_its_last_whole_epoch(run, sample_data, tmp_path):
    folder = tmp_path / "killed"
    script, *options = map(str, training("1a", sample_data, folder, "--epochs", 100000, "--resume"))
    with subprocess.Popen([sys.executable, REPO / script, *options], stdout=subprocess.PIPE, text=True) as killed:
        stdout = "".join(killed.stdout.readline() for _ in range(6))
        killed.send_signal(signal.SIGKILL)
        stdout += killed.stdout.read()
    done = len(state(folder)["history"])
    # the last test printed may be that of the running epoch
    assert done >= len(printed_tests(stdout)) - 1
    assert not (folder / "BOW.model").exists()
    assert json.loads((folder / "run.json").read_text())["finished"] is False

    succeed(run("1a", "killed", "--epochs", done + 1, "--resume"))
    succeed(run("1a", "straight", "--epochs", done + 1))
    assert same_run(folder, tmp_path / "straight")


# ------------------------------------------------------------------------------------------------------ signals


# a training on the sample has 20 batches an epoch, of 3a 60, and a test 20
SIGNALS = [
    ("1a", "--epochs 1", signal.SIGTERM, 7, "in epoch 0, 7 of 20 batches done"),
    ("1a", "--epochs 1 --precise-batch-norm", signal.SIGUSR1, 25, "in epoch 0, 20 of 20 batches done"),  # in the test
    ("1a", "--early-stopping 1", signal.SIGTERM, 65, "in epoch 1, 20 of 20 batches done"),
    ("1a", "--schedule one-cycle", signal.SIGTERM, 47, "in epoch 1, 7 of 20 batches done"),
    # its last batch
    ("1a", "--validation 100 --batch-size 45", signal.SIGINT, 20, "in epoch 0, 20 of 20 batches done"),
    ("1a", "--validation 100 --epochs 1", signal.SIGTERM, 30, "after epoch 0"),  # in the final test
    ("2b", "--epochs 1 --layers 2", signal.SIGHUP, 15, "in epoch 0, 15 of 20 batches done"),
    ("3a", "--epochs 1 --backwards", signal.SIGINT, 59, "in epoch 0, 59 of 60 batches done"),
    (
        "3c",
        "--epochs 1 --whole --train-length 100 --test-length 200",
        signal.SIGTERM,
        7,
        "in epoch 0, 7 of 20 batches done",
    ),
    ("1a", "--max-time 1000 --epochs 1", None, 20, "in epoch 0, 20 of 20 batches done"),  # the test is not begun
    ("1a", "--max-time 1000 --epochs 2", None, 25, "in epoch 1, 0 of 20 batches done"),  # in the test
]


@pytest.mark.parametrize(("part", "options", "number", "batch", "place"), SIGNALS)
def test_a_signal_costs_no_batch(part, options, number, batch, place, run, tmp_path, signal_at, monkeypatch):
    straight = succeed(run(part, "straight", *options.split()))
    handlers = [signal.getsignal(number) for number in Signals.NUMBERS]
    signal_at(number, batch)
    stopped = run(part, "stopped", *options.split())
    assert stopped.returncode == {None: 0, signal.SIGINT: 130}.get(number, 143)
    message = f"interrupted by {number.name if number else '--max-time'} {place}; saved in {tmp_path / 'stopped'}"
    assert stopped.stderr.splitlines()[-1].startswith(message), stopped.stderr
    assert "--resume" in stopped.stderr.splitlines()[-1]
    assert not list((tmp_path / "stopped").glob("*.model"))
    assert [signal.getsignal(number) for number in Signals.NUMBERS] == handlers
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["finished"] is False

    monkeypatch.undo()
    resumed = succeed(run(part, "stopped", *options.split(), "--resume"))
    assert f"going on {place}\n" in resumed.stderr
    assert same_run(tmp_path / "stopped", tmp_path / "straight")
    # together the two print what the undisturbed run does, no line twice
    assert without_times(stopped.stdout + resumed.stdout) == without_times(straight.stdout)


def test_runs_whose_time_is_too_short_get_on(run, tmp_path):
    options = ["--epochs", 2, "--validation", 200, "--batch-size", 200]
    straight = succeed(run("1a", "straight", *options))
    stdout, ends = "", []
    while not ends or "interrupted by --max-time" in ends[-1]:
        done = succeed(run("1a", "stopped", *options, "--max-time", 1e-9, *(["--resume"] if ends else [])))
        stdout += done.stdout
        ends.append(done.stderr.splitlines()[-1])
        assert len(ends) < 20
    # in each, one of the four batches of an epoch is done, or a test
    assert len(ends) == 2 * (4 + 1) + 1
    assert same_run(tmp_path / "stopped", tmp_path / "straight")
    assert without_times(stdout) == without_times(straight.stdout)


def test_a_finished_run_that_goes_on_is_not_finished(run, tmp_path):
    succeed(run("1a", "run", "--epochs", 1))
    succeed(run("1a", "run", "--epochs", 2, "--resume", "--max-time", 1e-9))
    results = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (results["finished"], len(results["epochs"])) == (False, 1)
    assert "--epochs 2" in results["options"]["settings"]
    assert "--max-time" not in results["options"]["settings"]


def test_another_living_run_keeps_its_folder(run, tmp_path):
    (tmp_path / "taken").mkdir()
    with sole_use(tmp_path / "taken"):
        refused(run("1a", "taken"), "another run", tmp_path / "taken", "--output")
        assert [path.name for path in (tmp_path / "taken").iterdir()] == [".lock"]
    succeed(run("1a", "taken", "--epochs", 1))
    assert not (tmp_path / "taken" / ".lock").exists()


def test_a_run_keeps_its_folder_until_its_model_is_saved(run, sample_data, tmp_path, monkeypatch):
    tries = []

    def try_to_get_in(*arguments):
        tries.append(train("1a", sample_data, tmp_path / "run", "--trial", "other"))
        return called(*arguments)

    called = loop.save_model
    monkeypatch.setattr(loop, "save_model", try_to_get_in)
    succeed(run("1a", "run", "--epochs", 1))
    refused(tries[0], "another run is using")


def test_a_folder_that_knows_no_locks(tmp_path, monkeypatch, capsys):
    modes = []

    def refuse(file, operation):
        modes.append(file.mode)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with sole_use(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert modes == ["w"]  # NFS refuses one that is open for reading
    assert capsys.readouterr().err == (
        f"{tmp_path / '.lock'} cannot be locked (No locks available): nothing keeps other runs out of it\n"
    )


# ----------------------------------------------------------------------------------- what there is to go on from


def test_nothing_to_resume(run, tmp_path):
    done = succeed(run("1a", "resumed", "--epochs", 1, "--resume"))
    assert f"{tmp_path / 'resumed' / 'BOW.state'} does not exist: nothing to resume, starting anew\n" in done.stderr


def contents(folder):
    """The bytes and the times of the files in a folder, but for the lock."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("[!.]*.*")}


def test_a_note_is_added_afterwards(run, tmp_path):
    succeed(run("1a", "done", "--epochs", 1, "--note", "first"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "done").iterdir()}
    succeed(run("1a", "done", "--epochs", 1, "--resume", "--note", "second thoughts"))
    after = {path.name: path.read_bytes() for path in (tmp_path / "done").iterdir()}
    assert after.pop("run.json") == before.pop("run.json").replace(b'"first"', b'"second thoughts"')
    assert after == before
    succeed(run("1a", "done", "--epochs", 2, "--resume"))  # without one, the old one stays
    assert json.loads((tmp_path / "done/run.json").read_text())["note"] == "second thoughts"


def test_a_finished_run_is_left_as_it_is(run, tmp_path):
    folder, options = tmp_path / "run", ["--validation", 100]
    succeed(run("1a", "run", "--epochs", 2, *options, "--note", "a remark"))
    before = contents(folder)
    assert len(before) == 5
    done = succeed(run("1a", "run", "--epochs", 2, *options, "--resume"))
    assert (done.stdout, done.stderr) == ("", "running on the CPU, 1 thread\nfinished already: epoch 1 was the last\n")
    assert contents(folder) == before
    # but the model is made where it is missing
    (folder / "BOW.model").unlink()
    succeed(run("1a", "run", "--epochs", 2, *options, "--resume"))
    assert contents(folder) | {"BOW.model": before["BOW.model"]} == before
    assert same_weights(folder / "BOW.model", state(folder)["weights"])


# ------------------------------------------------------------------------------------------ what a run finds there


def test_a_run_that_was_cut_off_is_not_destroyed(run, tmp_path, signal_at, monkeypatch):
    folder = tmp_path / "run"
    signal_at(signal.SIGTERM, 50)
    assert run("1a", "run").returncode == 143
    monkeypatch.undo()
    before = contents(folder)
    for options in ([], ["--epochs", 1], ["--hidden-units", 8]):
        refused(run("1a", "run", *options), folder / "BOW.state", "--resume", "--trial", "--overwrite")
    (folder / "run.json").unlink()
    refused(run("1a", "run"), folder / "BOW.state", "--overwrite")  # as if cut off in the first epoch
    assert contents(folder).items() == {name: before[name] for name in before if name != "run.json"}.items()
    refused(run("1a", "run", "--resume", "--overwrite"), "--overwrite", "--resume")

    signal_at(signal.SIGTERM, 1)
    assert run("1a", "run", "--overwrite").returncode == 143
    monkeypatch.undo()
    # nothing of before is left
    assert json.loads((folder / "run.json").read_text())["epochs"] == []
    assert len(state(folder)["history"]) == 1


def test_a_finished_run_goes_to_a_folder(run, tmp_path):
    folder, previous = tmp_path / "run", tmp_path / "run" / "previous"
    for epochs in (1, 2, 3):
        (folder / "test.txt").write_text(f"{epochs}") if folder.exists() else None
        before = contents(folder)
        done = succeed(run("1a", "run", "--epochs", epochs))
        assert len(state(folder)["history"]) == epochs
        if before:
            assert contents(previous) == before
            assert f"the finished run that was in {folder} is in {previous} now\n" in done.stderr
        assert set(contents(folder)) == {"BOW.model", "BOW.state", "data.npy", "log.csv", "run.json"}
    succeed(run("1a", "run", "--epochs", 1, "--overwrite"))
    assert len(state(previous)["history"]) == 2  # stays, where what came after it is overwritten
    # a model that lies there alone is one that somebody trained
    for path in folder.glob("*.*"):
        if path.name != "BOW.model":
            path.unlink()
    succeed(run("1a", "run", "--epochs", 2))
    assert set(contents(previous)) == {"BOW.model"}


def test_a_language_model_can_be_used_while_it_trains(run, sample_data, tmp_path, signal_at, monkeypatch):
    signal_at(signal.SIGTERM, 60 + 20 + 30)  # batches of the first epoch, its test, the second epoch
    assert run("3a", "run").returncode == 143
    monkeypatch.undo()
    model = tmp_path / "run" / "language.model"
    succeed(run("3a", "one", "--epochs", 1))
    assert same_weights(model, tmp_path / "one" / "language.model")
    options = ["--data", sample_data, "--model", model, "--device", "cpu", "--length", 5]
    done = succeed(run_here("3b/generate_review.py", *options))
    assert f"{model} is not trained to its end: it is that of epoch 0\n" in done.stderr
    succeed(run("3a", "run", "--resume"))
    assert succeed(run_here("3b/generate_review.py", *options)).stderr == "running on the CPU, 1 thread\n"


# ----------------------------------------------------------------------------------------- states that do not fit


@pytest.fixture(scope="module")
def one_epoch(sample_data, tmp_path_factory):
    """The folder of a run of 1a that ended after one epoch; tests only read it."""
    folder = tmp_path_factory.mktemp("one-epoch")
    succeed(train("1a", sample_data, folder, "--epochs", 1))
    return folder


CHANGES = [
    ("--batch-size 100 --lr 0.01", ["--batch-size 50", "--lr 0.005"]),
    ("--lr-drop-epoch 2", ["without --lr-drop-epoch;"]),
    ("--validation 100 --precise-batch-norm", ["without --precise-batch-norm", "without --validation"]),
]


@pytest.mark.parametrize(("options", "words"), CHANGES)
def test_other_hyperparameters_are_refused(options, words, one_epoch, sample_data):
    before = {path.name: path.read_bytes() for path in one_epoch.iterdir()}
    done = train("1a", sample_data, one_epoch, "--epochs", 2, "--resume", *options.split())
    refused(done, one_epoch / "BOW.state", *words, "--overwrite in place of --resume")
    # and only those are named
    assert len(re.findall(r" --", done.stderr.split("was saved")[1].split(";")[0])) == len(words)
    assert {path.name: path.read_bytes() for path in one_epoch.iterdir()} == before


DAMAGES = {
    "truncated": lambda whole: whole[:-1000],
    "a changed byte": lambda whole: (
        whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_refused(damage, one_epoch, sample_data, tmp_path):
    (tmp_path / "BOW.state").write_bytes(damage((one_epoch / "BOW.state").read_bytes()))
    refused(train("1a", sample_data, tmp_path, "--resume"), tmp_path / "BOW.state", "--overwrite in place of --resume")
    assert [path.name for path in tmp_path.iterdir()] == ["BOW.state"]


def test_embeddings_of_another_size_are_refused(run, sample_data, tmp_path):
    succeed(run("1b", "run", "--epochs", 1))
    narrow = npy_bytes(np.load(sample_data / "glove_embeddings.npy")[:, :20])
    data = data_with(tmp_path / "data", sample_data, {"glove_embeddings.npy": narrow})
    refused(run("1b", "run", "--epochs", 2, "--resume", data=data), tmp_path / "run" / "BOW.state", "--data")


def test_other_reviews_are_refused(one_epoch, sample_data, tmp_path):
    """As many reviews and words as before, but others."""
    lines = (sample_data / "imdb_train.txt").read_bytes().splitlines(keepends=True)
    words = np.load(sample_data / "imdb_dictionary.npy")
    words[:2] = words[1::-1]
    changed = {"imdb_train.txt": b"".join([lines[1], lines[0], *lines[2:]]), "imdb_dictionary.npy": npy_bytes(words)}
    for name, content in changed.items():
        data = data_with(tmp_path / name, sample_data, {name: content})
        refused(train("1a", data, one_epoch, "--epochs", 2, "--resume"), "other reviews or words", "--data", one_epoch)


def test_a_folder_without_permission_is_refused_at_the_start(run):
    # nobody may make a file there, the superuser included
    refused(run("1a", "/proc/self"), "cannot write into /proc/self")


def test_nohup_stays_nohup(run, signal_at):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_at(signal.SIGHUP, 7)
        succeed(run("1a", "run", "--epochs", 1))
    finally:
        signal.signal(signal.SIGHUP, before)


# ------------------------------------------------------------------------------------------- early stopping

EARLY = ["--early-stopping", 2, "--epochs", 60, "--lr", 0.02]


@pytest.fixture(scope="module")
def stopped(sample_data, tmp_path_factory):
    """A training of 1a that stopped early: the finished run and its folder; tests only read it."""
    folder = tmp_path_factory.mktemp("stopped")
    return succeed(train("1a", sample_data, folder, *EARLY)), folder


def test_early_stopping_waits_for_a_better_test(stopped):
    accuracies = printed_tests(stopped[0].stdout)
    # the first of the best, and two that are not better
    best = accuracies.index(max(accuracies))
    assert len(accuracies) == best + 3 < 60
    for last in range(best):
        assert last - accuracies.index(max(accuracies[: last + 1])) < 2


def test_early_stopping_counts_tests_not_epochs(run, tmp_path):
    done = succeed(run("2a", "run", "--early-stopping", 1, "--test-every", 2, "--epochs", 40, "--lr", 0.05))
    accuracies = printed_tests(done.stdout)
    assert len(state(tmp_path / "run")["history"]) == 2 * len(accuracies) < 40
    assert accuracies[-1] <= accuracies[-2] == max(accuracies)


def test_a_run_that_stopped_early_is_finished(stopped, sample_data, tmp_path):
    before, folder = stopped
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    done = succeed(train("1a", sample_data, tmp_path, *EARLY, "--resume"))
    assert done.stdout == ""
    assert f"finished already: epoch {len(printed_tests(before.stdout)) - 1} was the last\n" in done.stderr
    assert same_weights(tmp_path / "BOW.model", folder / "BOW.model")


def test_a_run_that_stopped_early_can_go_on_without(run, stopped, tmp_path):
    done, folder = stopped
    epochs = len(printed_tests(done.stdout))
    (tmp_path / "resumed").mkdir()
    (tmp_path / "resumed" / "BOW.state").write_bytes((folder / "BOW.state").read_bytes())
    succeed(run("1a", "resumed", "--epochs", epochs + 1, "--lr", 0.02, "--resume"))
    succeed(run("1a", "straight", "--epochs", epochs + 1, "--lr", 0.02))
    assert same_run(tmp_path / "resumed", tmp_path / "straight")
