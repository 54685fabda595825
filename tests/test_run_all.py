"""jobs/run_all.sh and jobs/make_environment.sh with a stand-in for Python: what is called, in which order, and when."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import REPO, refused, run_here, write_stand_in

PREPROCESSING = "preprocess_data.py"
STEPS_1A = ["1a/BOW_sentiment_analysis.py", "1a/BOW_test.py"]
STEPS_1B = ["1b/BOW_sentiment_analysis.py", "1b/BOW_test.py"]
STEPS_2A = ["2a/RNN_sentiment_analysis.py", "2a/RNN_test.py"]
STEPS_2B = ["2b/RNN_sentiment_analysis.py", "2b/RNN_test.py"]
TRAIN_3A = "3a/train_language_model.py"
AFTER_3A = ["3a/RNN_language_test.py", "3b/generate_review.py", "3c/RNN_sentiment_analysis.py", "3c/RNN_test.py"]
ALL_STEPS = [PREPROCESSING, *STEPS_1A, *STEPS_1B, *STEPS_2A, *STEPS_2B, TRAIN_3A, *AFTER_3A]

SHEET = "== the results sheet\nthe sheet"


@pytest.fixture
def tree(tmp_path):
    """A tree with jobs/, requirements and a stand-in for the environment's Python, and a corpus beside it."""
    tree = tmp_path / "tree"
    shutil.copytree(REPO / "jobs", tree / "jobs")
    shutil.copy(REPO / "requirements.txt", tree)
    (tree / ".venv" / "bin").mkdir(parents=True)
    write_stand_in("python", tree / ".venv" / "bin" / "python")
    (tmp_path / "aclImdb").mkdir()
    (tmp_path / "glove.txt").touch()
    return tree


@pytest.fixture
def run_all(tree):
    """A function that runs run_all.sh; it returns the finished process and the commands, dicts from script to options,
    that it gave to Python, but for the installation."""

    def run(*arguments, fail="", cwd=tree):
        (tree / "log").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", tree / "jobs" / "run_all.sh", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            env={**os.environ, "FAIL": fail},
            timeout=60,
        )
        lines = (tree / "log").read_text().splitlines() if (tree / "log").exists() else []
        calls = dict(line.partition(" ")[::2] for line in lines if not line.startswith("-m pip"))
        return done, calls

    return run


def succeed(run):
    done, calls = run
    assert done.returncode == 0, done.stderr
    return done, calls


REAL = ["--imdb", "aclImdb", "--glove", "glove.txt"]
HEADER = "part,trial,options,test options,what it shows\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--colour", "red"], "unknown option --colour"),
        (["sample", "x"], "unknown option sample"),
        (["--imdb"], "--imdb needs a value"),
        (["--imdb", "aclImdb", "--glove"], "--glove needs a value"),
        (["--glove", "glove.txt"], "--glove and --trials go with --imdb"),
        (["--trials", "all"], "--glove and --trials go with --imdb"),
        (["--side-by-side"], "--side-by-side needs a value"),
        (["--side-by-side", "0"], "--side-by-side 0: expected how many trials run at a time"),
        (["--imdb", "nowhere"], "there is no "),
        (["--imdb", "aclImdb", "--glove", "nowhere"], "there is no "),
    ],
)
def test_bad_usage(arguments, words, run_all, tree):
    done, calls = run_all(*arguments, cwd=tree.parent)
    refused(done, words, "usage: bash jobs/run_all.sh")
    assert not calls


def test_an_unknown_trial(run_all, tree):
    done, calls = run_all("--imdb", "aclImdb", "--trials", "default,nix", cwd=tree.parent)
    refused(done, "jobs/trials.csv has no trial nix")
    assert not calls


def test_the_sample_from_the_start_to_the_table(run_all, tree):
    done, calls = succeed(run_all())
    assert list(calls) == ALL_STEPS
    assert calls[PREPROCESSING] == "--sample --output preprocessed_data/sample"
    for script, options in calls.items():
        assert "--resume" not in options
        if script != PREPROCESSING:
            assert "--data preprocessed_data/sample " in options + " "
    assert "--model 2b/trials/sample/rnn.model --lengths" in calls["2b/RNN_test.py"]
    assert "--language-model 3a/trials/sample/language.model" in calls["3c/RNN_sentiment_analysis.py"]
    assert "--model 3a/trials/sample/language.model" in calls["3b/generate_review.py"]
    assert done.stdout.endswith(f"{SHEET} --sample\n")
    assert (tree / "3b/trials/sample/reviews.txt").read_text() == "a film that\n"
    # what the test scripts print is shown, and kept
    assert "== 1a: BOW_test.py\n87.50 0.3100 0.1234\n" in done.stdout
    assert (tree / "1a/trials/sample/test.txt").read_text() == "87.50 0.3100 0.1234\n"


def test_the_real_data_with_the_handouts_settings(run_all, tree):
    # from another directory, from which the paths are meant
    done, calls = succeed(run_all(*REAL, cwd=tree.parent))
    assert list(calls) == ALL_STEPS
    corpus, glove = tree.parent / "aclImdb", tree.parent / "glove.txt"
    assert calls[PREPROCESSING] == f"--imdb {corpus} --glove {glove} --output preprocessed_data"
    for script in (STEPS_1A[0], STEPS_1B[0], STEPS_2A[0], STEPS_2B[0], TRAIN_3A):
        assert calls[script] == "--data preprocessed_data --trial default"
    assert calls["2a/RNN_test.py"] == "--data preprocessed_data --model 2a/rnn.model"
    assert done.stdout.endswith(f"{SHEET}\n")


def test_trials(run_all, tree):
    _, calls = succeed(run_all(*REAL, "--trials", "default,overfits,long", cwd=tree.parent))
    assert calls["2b/RNN_sentiment_analysis.py"].endswith("--trial long --train-length 250")
    for model in ("1a/BOW.model", "1b/trials/overfits/BOW.model", "2a/trials/long/rnn.model", "3c/rnn.model"):
        assert (tree / model).exists()

    # a new line in the table: only what is new is run
    with open(tree / "jobs" / "trials.csv", "a") as table:
        table.write("1a,mine,--hidden-units 7,,an idea\n")
    _, calls = succeed(run_all(*REAL, "--trials", "default,overfits,long,mine", cwd=tree.parent))
    assert list(calls) == STEPS_1A
    assert calls[STEPS_1A[0]].endswith("--trial mine --hidden-units 7")


def test_a_trial_of_3c_starts_from_3as_of_the_same_name(run_all, tree):
    with open(tree / "jobs" / "trials.csv", "a") as table:
        table.write("3a,dusk,--epochs 2,,\n3b,dusk,,,\n3c,dusk,,,\n")
    _, calls = succeed(run_all(*REAL, "--trials", "dusk,from-scratch", cwd=tree.parent))
    assert "--model 3a/trials/dusk/language.model" in calls["3b/generate_review.py"]
    # the last of 3c's is dusk
    assert "--trial dusk --language-model 3a/trials/dusk/language.model" in calls["3c/RNN_sentiment_analysis.py"]
    _, calls = succeed(run_all(*REAL, "--trials", "from-scratch", cwd=tree.parent))
    assert not calls  # it was trained
    _, calls = succeed(run_all(*REAL, "--trials", "fine-tune-all", cwd=tree.parent))
    assert "--language-model 3a/language.model --fine-tune all" in calls["3c/RNN_sentiment_analysis.py"]


def test_without_glove(run_all, tree):
    _, calls = succeed(run_all("--imdb", "aclImdb", cwd=tree.parent))
    assert list(calls) == [PREPROCESSING, *STEPS_1A, *STEPS_2A, TRAIN_3A, *AFTER_3A]


@pytest.mark.parametrize("arguments", [[], REAL])
def test_the_scripts_know_the_options_they_are_given(arguments, run_all, tree, tmp_path, monkeypatch):
    _, calls = succeed(run_all(*arguments, cwd=tree.parent))
    monkeypatch.chdir(tmp_path)
    for script, options in calls.items():
        if script != PREPROCESSING:
            # no more is wrong than that there is no such data here
            refused(run_here(script, *options.split()), "does not exist")


def test_nothing_is_done_twice(run_all):
    first, _ = succeed(run_all())
    again, calls = succeed(run_all())
    assert not calls
    assert "installing" in first.stderr
    assert again.stderr == ""
    assert again.stdout.endswith(f"{SHEET} --sample\n")


@pytest.mark.parametrize("suffix", [".txt", ".model", ".state"])
def test_the_times_of_files_do_not_matter(suffix, run_all, tree):
    succeed(run_all())
    # as a copy or a `touch` leaves them
    for path in tree.rglob("*"):
        os.utime(path, (1, 1) if path.suffix == suffix else None)
    done, calls = succeed(run_all())
    assert not calls
    assert done.stdout.endswith(f"{SHEET} --sample\n")


def test_a_dry_run_shows_the_commands_of_a_real_one(run_all, tree):
    shown, calls = succeed(run_all("--dry-run"))
    assert not calls
    assert not (tree / "preprocessed_data").exists()
    assert not (tree / "1a").exists()
    commands = [line for line in shown.stdout.splitlines() if not line.startswith("==")]
    _, calls = succeed(run_all())
    assert [line.split()[1:] for line in commands] == [[script, *words.split()] for script, words in calls.items()]
    # and nothing, when all is done
    shown, calls = succeed(run_all("--dry-run"))
    assert not calls
    assert ".venv" not in shown.stdout


def test_help(run_all):
    done, calls = succeed(run_all("--help"))
    assert done.stdout.startswith("Carries out the whole handout")
    assert "set -" not in done.stdout
    assert not calls


def test_it_runs_in_its_own_folder(run_all, tree, monkeypatch):
    # `cd` would look there first
    (tree.parent / "elsewhere" / "jobs").mkdir(parents=True)
    monkeypatch.setenv("CDPATH", str(tree.parent / "elsewhere"))
    done = subprocess.run(
        ["bash", "jobs/run_all.sh", "--dry-run"], cwd=tree, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("== preprocessing\n.venv/bin/python preprocess_data.py "), done.stderr


# a file that is gone: what is done again, the rest being current
MISSING = {
    # what is trained is not trained again unasked
    "preprocessed_data/sample/imdb_dictionary.npy": [PREPROCESSING],
    "preprocessed_data/sample/glove_embeddings.npy": [PREPROCESSING],
    "2b/trials/sample/rnn.model": STEPS_2B,
    "2b/trials/sample/run.json": STEPS_2B,
    "3b/trials/sample/reviews.txt": ["3b/generate_review.py"],
    "2a/trials/sample/test.txt": STEPS_2A[1:],
}


@pytest.mark.parametrize(("missing", "steps"), MISSING.items())
def test_what_is_missing_is_done_again(missing, steps, run_all, tree):
    succeed(run_all())
    (tree / missing).unlink()
    _, calls = succeed(run_all())
    assert list(calls) == steps


@pytest.mark.parametrize(
    ("fail", "before", "after"),
    [
        (STEPS_2A[0], [PREPROCESSING, *STEPS_1A, *STEPS_1B], [*STEPS_2A[1:], *STEPS_2B, TRAIN_3A, *AFTER_3A]),
        (TRAIN_3A, ALL_STEPS[:-5], AFTER_3A),
        ("3c/RNN_sentiment_analysis.py", ALL_STEPS[:-2], ["3c/RNN_test.py"]),
    ],
)
def test_a_training_that_was_cut_off_goes_on(fail, before, after, run_all):
    done, calls = run_all(fail=fail)
    assert done.returncode != 0
    assert SHEET not in done.stdout
    assert list(calls) == [*before, fail]
    shown, _ = succeed(run_all("--dry-run"))
    assert [line.split()[1] for line in shown.stdout.splitlines() if line.startswith(".venv")] == [fail, *after]
    done, calls = succeed(run_all())
    assert list(calls) == [fail, *after]
    assert [script for script, options in calls.items() if "--resume" in options.split()] == [fail]
    assert done.stdout.endswith(f"{SHEET} --sample\n")


@pytest.mark.parametrize("fail", [PREPROCESSING, "2a/RNN_test.py", "3b/generate_review.py", "3c/RNN_test.py"])
def test_a_script_that_fails_stops_it(fail, run_all):
    done, calls = run_all(fail=fail)
    assert done.returncode != 0
    assert list(calls)[-1] == fail
    assert SHEET not in done.stdout
    _, calls = succeed(run_all())
    assert list(calls) == ALL_STEPS[ALL_STEPS.index(fail) + (fail == PREPROCESSING) :]


# --------------------------------------------------------------------------------------------- side by side

FIVE = ["a", "b", "c", "d", "e"]


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def side_by_side(tree):
    """A function that starts run_all.sh, two at a time, on five trials of 2a and what else the table gets.

    It returns the process, in a process group of its own.
    """
    (tree / "preprocessed_data").mkdir()
    for name in ("imdb_dictionary.npy", "imdb_train.txt", "imdb_test.txt"):
        (tree / "preprocessed_data" / name).touch()
    (tree / "bin").mkdir()
    lines = "".join(f"2a,{trial},--seed 1,,\n" for trial in FIVE)
    (tree / "jobs" / "trials.csv").write_text(HEADER + lines)
    started = []

    def start(*arguments, **environment):
        started.append(
            subprocess.Popen(
                ["bash", tree / "jobs/run_all.sh", "--imdb", ".", "--trials", "all", "--side-by-side", "2", *arguments],
                cwd=tree,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PATH": f"{tree / 'bin'}:{os.environ['PATH']}", **environment},
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.terminate()
    shutil.rmtree(tree / "held", ignore_errors=True)  # what a test that failed has left ends


def held(tree):
    return {path.name for path in (tree / "held").glob("*")}


def alongside(tree):
    """The lines of the file, without its first words, by these."""
    return {line.split()[0]: line.split()[1:] for line in (tree / "alongside").read_text().splitlines()}


def test_so_many_at_a_time(side_by_side, tree):
    process = side_by_side(HOLD=" ".join(FIVE))
    for ended, running in (("a", {"a", "b"}), ("b", {"b", "c"}), ("c", {"c", "d"}), ("d", {"d", "e"}), ("e", {"e"})):
        wait_for(lambda running=running: held(tree) == running)
        (tree / "held" / ended).unlink()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.replace("installing", "").count("\n")) == (0, 1)
    assert [int(count) for count, *_ in alongside(tree).values()] == [1, 2, 2, 2, 2]
    # the console has a line when one begins and when it ends; what it prints is in files of its own
    for trial in FIVE:
        assert (tree / f"2a/trials/{trial}/test.txt").read_text() in (tree / f"jobs/2a-{trial}.out").read_text()
        assert f"== 2a-{trial} begins\n" in stdout
        assert f"== 2a-{trial} ends with status 0\n" in stdout
    assert stdout.count("==") == 12  # and one for preprocessing, one for the sheet
    # again, there is nothing to do
    again = side_by_side(HOLD=" ".join(FIVE)).communicate(timeout=60)[0]
    assert again.count("done already\n") == 6
    assert len(alongside(tree)) == 5


def test_one_that_fails_holds_nobody_back(side_by_side, tree):
    with open(tree / "jobs" / "trials.csv", "a") as table:
        table.write("3a,a,,,\n3a,b,,,\n3c,a,,,\n")
    process = side_by_side(FAIL="b")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith("error: failed: 2a-b 3a-b; jobs/PART-TRIAL.err tells why")
    assert "== 2a-b ends with status 1\n" in stdout
    assert {path.parts[-2] for path in tree.glob("2a/trials/*/test.txt")} == {*FIVE} - {"b"}
    assert (tree / "3a/trials/a/test.txt").exists()
    assert (tree / "3c/trials/a/test.txt").exists()
    assert SHEET in stdout
    (tree / "log").unlink()
    process = side_by_side()
    process.communicate(timeout=60)
    assert process.returncode == 0
    calls = (tree / "log").read_text().splitlines()
    assert ["--resume" in call for call in calls if "--trial b " in call] == [True, True]
    assert len(calls) == 4


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_them_all_with_their_states_saved(number, status, side_by_side, tree):
    process = side_by_side(HOLD=" ".join(FIVE))
    wait_for(lambda: held(tree) == {"a", "b"})
    running = [int((tree / "held" / trial).read_text()) for trial in ("a", "b")]
    os.killpg(process.pid, number)  # as a terminal does
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "== 2a-a ends with status 143\n" in stdout
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert alongside(tree).keys() == {"a", "b"}
    process = side_by_side()
    process.communicate(timeout=60)
    assert process.returncode == 0
    calls = [line for line in (tree / "log").read_text().splitlines() if "--trial" in line]
    assert {call.split()[4] for call in calls if "--resume" in call} == {"a", "b"}
    assert len(calls) == 7


def test_threads_are_shared_out(side_by_side, tree, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert side_by_side().wait(timeout=60) == 0
    cores = len(os.sched_getaffinity(0))
    assert {threads for _, threads, _ in alongside(tree).values()} == {str(max(1, cores // 2))}
    shutil.rmtree(tree / "2a")
    assert side_by_side(OMP_NUM_THREADS="7").wait(timeout=60) == 0
    assert {threads for _, threads, _ in alongside(tree).values()} == {"7"}


MPS = """#!/bin/bash
[ "$1" = -d ] && what=start || what=$(cat)
[ -d "$CUDA_MPS_PIPE_DIRECTORY" ] && [ "$CUDA_MPS_PIPE_DIRECTORY" = "$CUDA_MPS_LOG_DIRECTORY" ] || exit 1
echo $what $CUDA_MPS_PIPE_DIRECTORY $(ls held 2>/dev/null) >>mps
"""


def write_command(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("cut_off", [False, True])
def test_mps_is_started_and_ended(cut_off, side_by_side, tree):
    write_command(tree / "bin", "nvidia-cuda-mps-control", MPS)
    with open(tree / "jobs" / "trials.csv", "a") as table:
        table.write("3a,a,,,\n")
    process = side_by_side(TMPDIR=str(tree), HOLD="b" * cut_off)
    if cut_off:
        wait_for(lambda: held(tree) == {"b"})
        process.terminate()
    process.communicate(timeout=60)
    (start, folder), (quit_, same) = (line.split() for line in (tree / "mps").read_text().splitlines())
    assert (start, quit_, folder) == ("start", "quit", same)  # the last when none was held
    assert folder.startswith(f"{tree}/")
    assert not os.path.exists(folder)
    assert {mps for *_, mps in alongside(tree).values()} == {folder}


def test_mps_that_does_not_start(side_by_side, tree):
    write_command(tree / "bin", "nvidia-cuda-mps-control", "#!/bin/bash\necho $1 >>mps\nexit 1\n")
    assert side_by_side(TMPDIR=str(tree)).wait(timeout=60) == 0
    assert (tree / "mps").read_text() == "-d\n"
    assert {mps for *_, mps in alongside(tree).values()} == {"-"}
    assert not list(tree.glob("mps.*"))


@pytest.mark.parametrize(("memory", "is_warned"), [("14999", True), ("15360\n15360", False)])
def test_language_models_that_do_not_fit(memory, is_warned, side_by_side, tree):
    write_command(tree / "bin", "nvidia-smi", f"#!/bin/bash\necho '{memory}'\n")
    (tree / "jobs" / "trials.csv").write_text(HEADER + "".join(f"3a,{trial},,,\n" for trial in FIVE[:4]))
    process = side_by_side("--side-by-side", "3")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert ("warning: 3 trainings of 3a with the handout's settings take 15 GB" in stderr) == is_warned


# ---------------------------------------------------------------------------------------------- environment


def make_environment(tree, *arguments, **environment):
    (tree / "log").unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", tree / "jobs" / "make_environment.sh", *arguments],
        cwd=tree,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done, (tree / "log").read_text().splitlines() if (tree / "log").exists() else []


@pytest.fixture
def other_python(tree):
    """The path of a Python that makes environments."""
    write_stand_in("python", tree / "other-python")
    python = tree / "make-venv"
    python.write_text(f"""#!/bin/bash
        echo "$@" >>log
        [ "$1" = -c ] || {{ mkdir -p "$3/bin"; cp {tree}/other-python "$3/bin/python"; }}
    """)
    python.chmod(0o755)
    return str(python)


def test_the_environment_is_made_once(tree, other_python):
    shutil.rmtree(tree / ".venv")
    done, calls = make_environment(tree, "requirements.txt", PYTHON=other_python)
    assert done.returncode == 0, done.stderr
    assert calls[0].startswith("-c ")
    assert calls[1] == "-m venv .venv"
    assert calls[2].startswith("-m pip install ")
    assert calls[2].endswith(f" -r {tree}/requirements.txt")
    assert len(calls) == 3

    done, calls = make_environment(tree, "requirements.txt")
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", [])


@pytest.mark.parametrize("is_marked", [True, False])
@pytest.mark.parametrize("broken", ["gone", "pip", "pip torch", "torch"])
def test_an_environment_that_does_not_work_is_made_anew(broken, is_marked, tree, other_python):
    if is_marked:
        assert make_environment(tree, "requirements.txt")[0].returncode == 0
    if broken == "gone":  # the Python that it was made with
        (tree / ".venv/bin/python").unlink()
        (tree / ".venv/bin/python").symlink_to(tree / "nowhere")
    (tree / ".venv/of-before").touch()
    done, calls = make_environment(tree, "requirements.txt", PYTHON=other_python, BROKEN=broken)
    assert done.returncode == 0, done.stderr
    if broken == "pip" and is_marked:
        assert calls == []  # there is nothing to install
    else:
        assert ["-m venv .venv" in calls, (tree / ".venv/of-before").exists()] == [broken != "torch", broken == "torch"]
        assert calls[-1].startswith("-m pip install ")


def test_an_old_python_is_refused(tree):
    shutil.rmtree(tree / ".venv")
    done, _ = make_environment(tree, "requirements.txt", PYTHON="false")
    refused(done, "false is not Python 3.11", "PYTHON=")
    assert not (tree / ".venv").exists()


def test_changed_requirements_are_installed(tree):
    (tree / "tests").mkdir()
    (tree / "tests" / "requirements.txt").write_text("-r ../requirements.txt\npytest\n")
    for changed in ("tests/requirements.txt", "requirements.txt"):
        assert len(make_environment(tree, "tests/requirements.txt")[1]) == 1
        assert len(make_environment(tree, "tests/requirements.txt")[1]) == 0
        with open(tree / changed, "a") as file:
            file.write("# changed\n")
    assert len(make_environment(tree, "tests/requirements.txt")[1]) == 1


def test_a_failed_installation_is_tried_again(tree):
    done, calls = make_environment(tree, "requirements.txt", FAIL="-m")
    assert done.returncode != 0
    assert len(calls) == 1
    done, calls = make_environment(tree, "requirements.txt")
    assert done.returncode == 0
    assert len(calls) == 1


def test_an_environment_of_what(tree):
    done, calls = make_environment(tree)
    refused(done, "there is no file ''", "usage: make_environment.sh REQUIREMENTS_FILE")
    assert not calls
