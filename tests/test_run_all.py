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
        done, lines = call(tree, "run_all.sh", *arguments, cwd=cwd, FAIL=fail)
        return done, dict(line.partition(" ")[::2] for line in lines if not line.startswith("-m pip"))

    return run


def call(tree, script, *arguments, cwd=None, **environment):
    """Runs a script of jobs/; returns the finished process and what was given to Python, a list of lines."""
    (tree / "log").unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", tree / "jobs" / script, *arguments],
        cwd=cwd or tree,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done, (tree / "log").read_text().splitlines() if (tree / "log").exists() else []


def succeed(run):
    done, calls = run
    assert done.returncode == 0, done.stderr
    return done, calls


REAL = ["--imdb", "aclImdb", "--glove", "glove.txt"]
HEADER = "part,trial,options,test options,what it shows\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--colour", "red"], "--colour is no option and no part; bash "),
        (["--imdb"], "--imdb needs a value; bash "),
        (["--imdb", "nowhere"], "there is no nowhere"),
        (["--glove", "glove.txt"], "--glove goes with --imdb"),
        (["--trials", "all"], "--trials goes with the real data"),
        (["--side-by-side", "0"], "--side-by-side 0: expected how many trials run at a time"),
        (["--imdb", "aclImdb", "--trials", "default,nix"], "jobs/trials.csv has no trial nix"),
    ],
)
def test_bad_usage(arguments, words, run_all, tree):
    done, calls = run_all(*arguments, cwd=tree.parent)
    refused(done, words)
    assert not calls


def test_help(run_all):
    done, calls = succeed(run_all("--help"))
    assert done.stdout.startswith("Carries out the whole handout")
    assert "set -" not in done.stdout
    assert not calls


def commands(done):
    """The words, but for Python, of the commands that a dry run shows."""
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith(".venv")]


def test_the_sample_from_the_start_to_the_table(run_all, tree):
    shown, calls = succeed(run_all("--dry-run"))
    assert not calls
    assert not (tree / "preprocessed_data").exists()
    assert not (tree / "1a").exists()
    done, calls = succeed(run_all())
    assert commands(shown) == [[script, *words.split()] for script, words in calls.items()]
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
    assert "== 1a/trials/sample: BOW_test.py\n87.50 0.3100 0.1234\n" in done.stdout
    assert (tree / "1a/trials/sample/test.txt").read_text() == "87.50 0.3100 0.1234\n"

    # nothing is done twice, whatever times a copy or a `touch` gives the files
    assert "installing" in done.stderr
    for suffix in (".txt", ".model", ".state"):
        for path in tree.rglob("*"):
            os.utime(path, (1, 1) if path.suffix == suffix else None)
        again, calls = succeed(run_all())
        assert not calls
        assert again.stderr == ""
        assert again.stdout.endswith(f"{SHEET} --sample\n")
    assert not commands(succeed(run_all("--dry-run"))[0])


def test_the_real_data_and_trials(run_all, tree):
    # from another directory, from which the paths are meant
    done, calls = succeed(run_all(*REAL, "--trials", "default,long", cwd=tree.parent))
    assert list(calls) == ALL_STEPS
    corpus, glove = tree.parent / "aclImdb", tree.parent / "glove.txt"
    assert calls[PREPROCESSING] == f"--imdb {corpus} --glove {glove} --output preprocessed_data"
    for script in (STEPS_1A[0], STEPS_1B[0], TRAIN_3A):
        assert calls[script] == "--data preprocessed_data --trial default"
    assert calls["1a/BOW_test.py"] == "--data preprocessed_data --model 1a/BOW.model"
    assert calls["2b/RNN_sentiment_analysis.py"].endswith("--trial long --train-length 250")
    for model in ("1a/BOW.model", "2a/rnn.model", "2a/trials/long/rnn.model", "3c/rnn.model"):
        assert (tree / model).exists()
    assert done.stdout.endswith(f"{SHEET}\n")

    # a new line in the table: only what is new is run
    with open(tree / "jobs" / "trials.csv", "a") as table:
        table.write("1a,mine,--hidden-units 7,,an idea\n")
    _, calls = succeed(run_all(*REAL, "--trials", "default,long,mine", cwd=tree.parent))
    assert list(calls) == STEPS_1A
    assert calls[STEPS_1A[0]].endswith("--trial mine --hidden-units 7")


def test_without_glove_and_of_two_parts(run_all, tree):
    _, calls = succeed(run_all("--imdb", "aclImdb", "1b", "2a", cwd=tree.parent))
    assert list(calls) == [PREPROCESSING, *STEPS_2A]
    _, calls = succeed(run_all("--imdb", "aclImdb", cwd=tree.parent))
    assert list(calls) == [*STEPS_1A, TRAIN_3A, *AFTER_3A]


def test_the_scripts_know_the_options_they_are_given(run_all, tmp_path, monkeypatch):
    _, calls = succeed(run_all())
    monkeypatch.chdir(tmp_path)
    for script, options in calls.items():
        if script != PREPROCESSING:
            # no more is wrong than that there is no such data here
            refused(run_here(script, *options.split()), "; run ")


def test_it_runs_in_its_own_folder(run_all, tree, monkeypatch):
    # `cd` would look there first
    (tree.parent / "elsewhere" / "jobs").mkdir(parents=True)
    monkeypatch.setenv("CDPATH", str(tree.parent / "elsewhere"))
    done = subprocess.run(
        ["bash", "jobs/run_all.sh", "--dry-run"], cwd=tree, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("== preprocessing\n.venv/bin/python preprocess_data.py "), done.stderr


def test_from_scratch_takes_no_language_model(run_all, tree):
    done, _ = succeed(run_all(*REAL, "--trials", "from-scratch,fine-tune-all", "3c", "--dry-run", cwd=tree.parent))
    trainings = [words for words in commands(done) if words[0] == "3c/RNN_sentiment_analysis.py"]
    assert {"--from-scratch" in words: "--language-model" in words for words in trainings} == {True: False, False: True}


def test_two_tests_of_a_trial_at_once(tree):
    """Each keeps its lines in a file of its own, and the one that ends last gives the result."""
    (tree / "2a").mkdir()
    (tree / "2a/rnn.model").touch()
    (tree / "2a/run.json").write_text('"finished": true')
    (tree / "2a/RNN_test.py").write_text("echo 50 80.00; sleep 1; echo 100 85.00")
    settings = "DATA=. TRIAL=default JOB=1 PYTHON=bash"
    settings += "".join(f" {name}=''" for name in ("ARGS", "TEST_ARGS", "DEVICE", "DRY_RUN", "LAUNCHER", "TORCHRUN"))
    command = ["bash", "-c", f"set -euo pipefail; . jobs/functions.sh; {settings}; run_trial 2a"]
    first = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    second = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL)
    for run in (first, second):
        assert run.wait(60) == 0
        assert (tree / "2a/test.txt").read_text() == "50 80.00\n100 85.00\n"
    assert not [*tree.glob("2a/*.part")]


def test_what_is_missing_is_done_again(run_all, tree):
    succeed(run_all())
    for missing, steps in {
        # what is trained is not trained again unasked
        "preprocessed_data/sample/imdb_dictionary.npy": [PREPROCESSING],
        "preprocessed_data/sample/glove_embeddings.npy": [PREPROCESSING],
        "2b/trials/sample/rnn.model": STEPS_2B,
        "2b/trials/sample/run.json": STEPS_2B,
        "3b/trials/sample/reviews.txt": ["3b/generate_review.py"],
        "2a/trials/sample/test.txt": STEPS_2A[1:],
    }.items():
        (tree / missing).unlink()
        assert list(succeed(run_all())[1]) == steps


def test_what_fails_stops_it_and_a_training_goes_on(run_all):
    left = ALL_STEPS
    for fail in (PREPROCESSING, STEPS_2A[0], STEPS_2A[1], TRAIN_3A, "3b/generate_review.py"):
        done, calls = run_all(fail=fail)
        assert done.returncode != 0
        assert SHEET not in done.stdout
        last = left.index(fail)
        assert list(calls) == left[: last + 1]
        left = left[last:]
        resumed = [script for script, options in calls.items() if "--resume" in options.split()]
        assert resumed == ([STEPS_2A[0]] if fail == STEPS_2A[1] else [TRAIN_3A] if "3b" in fail else [])
        # preprocessing fails after its files are there
        left = left[fail == PREPROCESSING :]
        assert [words[0] for words in commands(succeed(run_all("--dry-run"))[0])] == left
    done, calls = succeed(run_all())
    assert list(calls) == left
    assert done.stdout.endswith(f"{SHEET} --sample\n")


# --------------------------------------------------------------------------------------------- side by side

FIVE = ["a", "b", "c", "d", "e"]
MPS = """#!/bin/bash
[ "$1" = -d ] && what=start || what=$(cat)
[ -d "$CUDA_MPS_PIPE_DIRECTORY" ] && [ "$CUDA_MPS_PIPE_DIRECTORY" = "$CUDA_MPS_LOG_DIRECTORY" ] || exit 1
echo $what $CUDA_MPS_PIPE_DIRECTORY $(ls held 2>/dev/null) >>mps
"""


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

    def start(count="2", **environment):
        command = ["bash", tree / "jobs/run_all.sh", "--imdb", ".", "--trials", "all", "--side-by-side", count]
        environment = {**os.environ, "PATH": f"{tree / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tree), **environment}
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                command, cwd=tree, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
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


def wait_until_held(tree, trials):
    """Waits until just these trials are held, and each has looked who else is."""
    wait_for(lambda: held(tree) == trials and (tree / "alongside").exists() and trials <= alongside(tree).keys())


def write_mps(tree, text):
    (tree / "bin" / "nvidia-cuda-mps-control").write_text(text)
    (tree / "bin" / "nvidia-cuda-mps-control").chmod(0o755)


def test_so_many_at_a_time(side_by_side, tree):
    process = side_by_side(HOLD=" ".join(FIVE))
    for ended, running in (("a", {"a", "b"}), ("b", {"b", "c"}), ("c", {"c", "d"}), ("d", {"d", "e"}), ("e", {"e"})):
        wait_until_held(tree, running)
        (tree / "held" / ended).unlink()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.replace("installing", "").count("\n")) == (0, 1)
    first, *others = (int(count) for count, *_ in alongside(tree).values())
    assert first <= 2  # the second one may be there when it looks
    assert others == [2, 2, 2, 2]
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


def test_one_that_fails_holds_nobody_back(side_by_side, tree, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
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
    # the cores are shared out, but for what is asked for
    cores = len(os.sched_getaffinity(0))
    assert {alongside(tree)[trial][1] for trial in "cde"} == {str(max(1, cores // 2))}
    (tree / "log").unlink()
    process = side_by_side(OMP_NUM_THREADS="7")
    process.communicate(timeout=60)
    assert process.returncode == 0
    calls = (tree / "log").read_text().splitlines()
    assert ["--resume" in call for call in calls if "--trial b " in call] == [True, True]
    assert len(calls) == 4
    assert alongside(tree)["b"][1] == "7"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_them_all_with_their_states_saved(number, status, side_by_side, tree):
    write_mps(tree, MPS)
    process = side_by_side(HOLD=" ".join(FIVE))
    wait_until_held(tree, {"a", "b"})
    running = [int((tree / "held" / trial).read_text()) for trial in ("a", "b")]
    os.killpg(process.pid, number)  # as a terminal does
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "== 2a-a ends with status 143\n" in stdout
    for pid in running:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert alongside(tree).keys() == {"a", "b"}
    # MPS is ended when none is held
    (start, folder), (quit_, same) = (line.split() for line in (tree / "mps").read_text().splitlines())
    assert (start, quit_, folder) == ("start", "quit", same)
    assert {mps for *_, mps in alongside(tree).values()} == {folder}
    assert not os.path.exists(folder)
    process = side_by_side()
    process.communicate(timeout=60)
    assert process.returncode == 0
    calls = [line for line in (tree / "log").read_text().splitlines() if "--trial" in line]
    assert {call.split()[4] for call in calls if "--resume" in call} == {"a", "b"}
    assert len(calls) == 7


def test_mps_that_does_not_start(side_by_side, tree):
    write_mps(tree, "#!/bin/bash\necho $1 >>mps\nexit 1\n")
    assert side_by_side().wait(timeout=60) == 0
    assert (tree / "mps").read_text() == "-d\n"
    assert {mps for *_, mps in alongside(tree).values()} == {"-"}
    assert not list(tree.glob("mps.*"))


@pytest.mark.parametrize(("memory", "is_warned"), [("14999", True), ("15360\n15360", False)])
def test_language_models_that_do_not_fit(memory, is_warned, side_by_side, tree):
    smi = tree / "bin" / "nvidia-smi"
    smi.write_text(f"#!/bin/bash\necho '{memory}'\n")
    smi.chmod(0o755)
    (tree / "jobs" / "trials.csv").write_text(HEADER + "".join(f"3a,{trial},,,\n" for trial in FIVE[:4]))
    process = side_by_side("3")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert ("warning: 3 trainings of 3a with the handout's settings take 15 GB" in stderr) == is_warned


# ---------------------------------------------------------------------------------------------- environment


PIP = ["-m", "pip", "install"]


@pytest.fixture
def make_environment(tree):
    """A function that runs make_environment.sh and returns what `call` does; $PYTHON is a stand-in."""
    write_stand_in("python", tree / "other-python")
    (tree / "make-venv").write_text(f"""#!/bin/bash
        echo "$@" >>log
        [ "$1" = -c ] || {{ mkdir -p "$3/bin"; cp {tree}/other-python "$3/bin/python"; }}
    """)
    (tree / "make-venv").chmod(0o755)

    def make(*arguments, **environment):
        return call(tree, "make_environment.sh", *arguments, **{"PYTHON": str(tree / "make-venv"), **environment})

    return make


def test_the_environment_is_made_once(tree, make_environment):
    shutil.rmtree(tree / ".venv")
    done, calls = make_environment("requirements.txt")
    assert done.returncode == 0, done.stderr
    assert [call.split()[:3] for call in calls] == [["-c", "import", "sys;"], ["-m", "venv", ".venv"], PIP]
    assert calls[2].endswith(f" -r {tree}/requirements.txt")
    done, calls = make_environment("requirements.txt")
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", [])
    # what has changed is installed, with what it names too
    (tree / "tests").mkdir()
    (tree / "tests" / "requirements.txt").write_text("-r ../requirements.txt\npytest\n")
    for changed in ("tests/requirements.txt", "requirements.txt"):
        assert [call.split()[:3] for call in make_environment("tests/requirements.txt")[1]] == [PIP]
        assert make_environment("tests/requirements.txt")[1] == []
        with open(tree / changed, "a") as file:
            file.write("# changed\n")
    # an installation that fails is tried again
    assert make_environment("tests/requirements.txt", FAIL="-m")[0].returncode != 0
    assert len(make_environment("tests/requirements.txt")[1]) == 1


@pytest.mark.parametrize(
    ("broken", "steps"),
    [("gone", ["-c", "venv", "pip"]), ("pip torch", ["-c", "venv", "pip"]), ("torch", ["pip"]), ("pip", [])],
)
def test_an_environment_that_does_not_work_is_made_anew(broken, steps, tree, make_environment):
    assert make_environment("requirements.txt")[0].returncode == 0
    if broken == "gone":  # the Python that it was made with
        (tree / ".venv/bin/python").unlink()
    (tree / ".venv/old").touch()
    done, calls = make_environment("requirements.txt", BROKEN=broken)
    assert done.returncode == 0, done.stderr
    assert [call.split()[call.startswith("-m")] for call in calls] == steps
    assert (tree / ".venv/old").exists() == ("venv" not in steps)


def test_what_no_environment_can_be_made_of(tree, make_environment):
    shutil.rmtree(tree / ".venv")
    refused(make_environment("requirements.txt", PYTHON="false")[0], "false is not Python 3.11", "PYTHON=")
    assert not (tree / ".venv").exists()
    assert "it wants a requirements file" in make_environment()[0].stderr
