"""The jobs, with stand-ins for batch systems, launchers, module and Python: what runs, when, in which order."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import PARTS, REPO, STAND_INS, TINY, refused, write_stand_in
from stand_ins.batch_system import ENDED_BADLY, load, run_jobs
from test_run_all import (
    ALL_STEPS,
    HEADER,
    MPS,
    PREPROCESSING,
    STEPS_1A,
    STEPS_2A,
    TRAIN_3A,
)

AFTER_3A = {"3b": ["3b/generate_review.py"], "3c": ["3c/RNN_sentiment_analysis.py", "3c/RNN_test.py"]}
SAMPLE_JOBS = [f"{name}-sample" for name in ("1a", "1b", "2a", "2b", "3a")]
SAMPLE_JOBS += ["3a+test-sample", "3b-sample", "3c-sample"]
PBS_FILES = sorted(path.name for path in (REPO / "jobs").glob("*.pbs"))


COMMANDS = {
    "torque": ("qsub", "qstat", "qalter", "aprun"),
    "pbspro": ("qsub", "qstat", "qalter", "mpiexec"),
    "slurm": ("sbatch", "squeue", "sinfo", "scontrol", "srun"),
}
LAUNCHED = {"torque": " ALPS_APP_PE=0", "pbspro": "", "slurm": " SLURM_PROCID=0"}


class Cluster:
    """A tree with jobs/ and a stand-in for Python, and a batch system of its own, `kind`."""

    def __init__(self, folder, kind="torque"):
        self.kind = kind
        self.tree = folder / "tree"
        self.spool = folder / "spool"
        self.spool.mkdir()
        shutil.copytree(REPO / "jobs", self.tree / "jobs")
        (self.tree / ".venv" / "bin").mkdir(parents=True)
        write_stand_in("python", self.tree / ".venv" / "bin" / "python")
        (folder / "bin").mkdir()
        self.write_command("sleep", "#!/bin/bash\necho sleep $1 >>$BATCH_SPOOL/slept\n")
        for name in COMMANDS[kind]:
            write_stand_in("batch_system.py", folder / "bin" / name)
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "BATCH_SPOOL": str(self.spool),
            "BATCH_KIND": kind,
            "MODULES_INIT": str(STAND_INS / "module_init"),
            "MODULE_LOG": str(folder / "modules"),
            **({} if kind == "torque" else {"SCHEDULER": kind}),
        }

    def write_command(self, name, text):
        path = self.tree.parent / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def call(self, *command, cwd=None, **environment):
        return subprocess.run(
            command,
            cwd=cwd or self.tree,
            capture_output=True,
            text=True,
            timeout=60,
            env={**self.environment, **environment},
        )

    def submit_all(self, *arguments, **environment):
        return self.call("bash", "jobs/submit_all.sh", *arguments, **environment)

    def preprocess(self):
        """Makes what a preprocessing without GloVe leaves."""
        (self.tree / "preprocessed_data").mkdir()
        for name in ("imdb_dictionary.npy", "imdb_train.txt", "imdb_test.txt"):
            (self.tree / "preprocessed_data" / name).touch()

    def files(self):
        """The paths of all files in the tree."""
        return {str(path.relative_to(self.tree)) for path in self.tree.rglob("*")}

    def names(self, *names):
        """The names that the batch system has for jobs."""
        return [f"imdb-{name}" if self.kind == "slurm" else f"imdb-{name}"[:15] for name in names]

    def jobs(self):
        """The jobs by name."""
        return {job["name"]: job for job in load(self.spool)}

    def run(self, **environment):
        """Runs what can run; returns the jobs by name, and what Python was given, lines of script and options."""
        (self.tree / "log").unlink(missing_ok=True)
        jobs = run_jobs(self.spool, {**self.environment, **environment})
        log = self.tree / "log"
        return {job["name"]: job for job in jobs}, log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@pytest.fixture(params=COMMANDS)
def any_cluster(tmp_path, request):
    return Cluster(tmp_path, request.param)


def succeed(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def scripts(calls):
    return [call.split()[0] for call in calls]


def errors(cluster, job):
    return (cluster.tree / job["error"]).read_text()


# ------------------------------------------------------------------------------------------------ the files


def test_there_is_a_file_for_each_part():
    assert PBS_FILES == ["1a.pbs", "1b.pbs", "2a.pbs", "2b.pbs", "3a.pbs", "3b.pbs", "3c.pbs", "preprocess.pbs"]


@pytest.mark.parametrize("name", PBS_FILES)
def test_what_a_file_asks_for(name, cluster):
    part = name.removesuffix(".pbs")
    succeed(cluster.call("qsub", f"jobs/{name}"))
    (job,) = cluster.run()[0].values()
    assert job["name"] == f"imdb-{part}"
    assert job["resources"]["nodes"] == "1:ppn=16:xk"
    assert re.fullmatch(r"\d\d:\d\d:00", job["resources"]["walltime"])
    assert (job["output"], job["error"]) == (f"imdb-{part}.out", f"imdb-{part}.err")
    assert job["mail"] == "ae"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_trained_and_tested(part, cluster):
    train, test, model = PARTS[part]
    succeed(cluster.call("qsub", f"jobs/{part}.pbs"))
    jobs, calls = cluster.run()
    assert jobs[f"imdb-{part}"]["status"] == 0, errors(cluster, jobs[f"imdb-{part}"])
    language_model = " --language-model 3a/language.model" if part == "3c" else ""
    given = "--data preprocessed_data --device cuda"
    hours = int(jobs[f"imdb-{part}"]["resources"]["walltime"][:2])
    max_time = f" --max-time {60 * hours - 5}"
    assert calls == [
        f"{part}/{train} {given} --trial default{max_time}{language_model}{LAUNCHED['torque']}",
        f"{part}/{test} {given} --model {part}/{model}{LAUNCHED['torque']}",
    ]
    printed = (cluster.tree / f"imdb-{part}.out").read_text()
    assert (cluster.tree / part / "test.txt").read_text() == printed != ""
    assert (cluster.tree.parent / "modules").read_text() == "module load cudatoolkit\n"


def test_options_reach_a_job(cluster):
    arguments = "ARGS=--hidden-units 2000 --note %27a%2C 50%25%27,TEST_ARGS=--reviews %27my%2C own%27"
    options = f"TRIAL=wide,DATA=elsewhere,DEVICE=cpu,{arguments}"
    # from the folder of the jobs too
    succeed(cluster.call("qsub", "-v", options, "1a.pbs", cwd=cluster.tree / "jobs"))
    _, calls = cluster.run()
    assert calls[0].startswith(
        f"{STEPS_1A[0]} --data elsewhere --device cpu --trial wide --max-time 55 --hidden-units 2000 --note a, 50% "
    )
    assert calls[1].startswith(
        f"{STEPS_1A[1]} --data elsewhere --device cpu --model 1a/trials/wide/BOW.model --reviews my, own "
    )
    assert (cluster.tree / "1a/trials/wide/test.txt").exists()
    assert (cluster.tree / "jobs/imdb-1a.out").exists()


def test_another_cluster(cluster):
    settings = "MODULES=,LAUNCHER=,PYTHON=other-python"
    write_stand_in("python", cluster.tree.parent / "bin" / "other-python")
    succeed(cluster.call("qsub", "-v", settings, "jobs/2a.pbs"))
    jobs, calls = cluster.run()
    assert jobs["imdb-2a"]["status"] == 0
    assert calls[0] == f"{STEPS_2A[0]} --data preprocessed_data --device cuda --trial default --max-time 235"
    assert not (cluster.tree.parent / "modules").exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_job_fails_when_its_script_fails(part, cluster):
    train, test, _ = PARTS[part]
    for fail, calls_before in ((train, [train]), (test, [train, test])):
        succeed(cluster.call("qsub", f"jobs/{part}.pbs"))
        jobs, calls = cluster.run(FAIL=f"{part}/{fail}")
        assert jobs[f"imdb-{part}"]["status"] == 1
        assert scripts(calls) == [f"{part}/{script}" for script in calls_before]
        assert not (cluster.tree / part / "test.txt").exists()


@pytest.mark.parametrize("fail", [PREPROCESSING, "3b/generate_review.py"])
def test_the_other_jobs_fail_too(fail, cluster):
    part = "3b" if "3b" in fail else "preprocess"
    succeed(cluster.call("qsub", f"jobs/{part}.pbs"))
    assert cluster.run(FAIL=fail)[0][f"imdb-{part}"]["status"] == 1
    assert not list(cluster.tree.glob("3b/*.txt"))


def test_a_training_that_was_cut_off_goes_on_and_one_that_is_done_does_not(cluster):
    trainings = []
    for fail, steps in ((STEPS_2A[0], STEPS_2A[:1]), ("", STEPS_2A), ("", STEPS_2A[1:])):
        succeed(cluster.call("qsub", "jobs/2a.pbs"))
        jobs, calls = cluster.run(FAIL=fail)
        assert scripts(calls) == steps
        trainings += [call for call in calls if STEPS_2A[0] in call]
    assert ["--resume" in call.split() for call in trainings] == [False, True]
    assert "2a/rnn.model is trained already" in errors(cluster, jobs["imdb-2a"])


def test_the_files_are_in_the_folder_of_the_jobs(cluster):
    # `cd` would look there first
    (cluster.tree.parent / "elsewhere" / "jobs").mkdir(parents=True)
    printed = succeed(cluster.submit_all("--dry-run", "--sample", CDPATH=str(cluster.tree.parent / "elsewhere")))
    assert printed.splitlines()[0].endswith(" jobs/preprocess.pbs ")


# ----------------------------------------------------------------------------------- several nodes, several GPUs

TORCHRUN = "torchrun --nnodes=2 --nproc_per_node=4 --rdzv_backend=c10d --rdzv_id=1 --rdzv_endpoint"


def test_several_nodes(any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("3a", "3b", NODES="2", GPUS="4"))
    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    first = os.uname().nodename if any_cluster.kind == "slurm" else "nid00007"
    started = [call.partition("preprocessed_data ")[0] for call in calls if call.startswith(TRAIN_3A)]
    assert len(started) == 2
    assert all(f"{TORCHRUN}={first}:20001" in call for call in calls if call.startswith(TRAIN_3A))
    # generating is one process's
    (generated,) = (call for call in calls if call.startswith("3b/"))
    assert "torchrun" not in generated


def test_several_gpus_of_one_node(any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("1a", GPUS="4"))
    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    assert len(calls) == 2
    assert all(call.endswith(" torchrun --standalone --nproc_per_node=4") for call in calls)


@pytest.mark.parametrize("fail", ["", STEPS_2A[0]])
def test_a_job_of_pbs_leaves_no_process_behind(fail, cluster):
    succeed(cluster.call("qsub", "jobs/2a.pbs"))
    jobs, _ = cluster.run(LEAVE=STEPS_2A[0], FAIL=fail)
    assert jobs["imdb-2a"]["status"] == bool(fail)
    process = Path("/proc", (cluster.tree / "left").read_text(), "status")
    assert not process.exists() or "State:\tZ" in process.read_text()


def test_a_real_training_on_two_nodes(cluster, sample_data):
    for name in ("1a", "common"):
        shutil.copytree(REPO / name, cluster.tree / name, ignore=shutil.ignore_patterns("*.model", "*.state", "trials"))
    options = f"PYTHON={sys.executable},DATA={sample_data},DEVICE=cpu,STEPS=train,ARGS={TINY['1a']}"
    succeed(cluster.call("qsub", "-l", "nodes=2:ppn=16:xk", "-v", options, "jobs/1a.pbs"))
    jobs, _ = cluster.run(OMP_NUM_THREADS="1", BATCH_NODES="localhost 127.0.0.1")
    assert jobs["imdb-1a"]["status"] == 0, errors(cluster, jobs["imdb-1a"])
    assert json.loads((cluster.tree / "1a" / "run.json").read_text())["processes"] == 2
    # three epochs with their tests, from one process
    assert len((cluster.tree / "imdb-1a.out").read_text().splitlines()) == 6


# ------------------------------------------------------------------------------- a training and its walltime


def test_a_training_longer_than_its_walltime(any_cluster):
    settings = {"WALLTIME": "00:30:00", "STOP_BEFORE": "120", "NODES": "2", "QUEUE": "gpu", "ACCOUNT": "course"}
    succeed(any_cluster.submit_all("--sample", "3a", "3b", "3c", **settings))
    first = any_cluster.jobs()["imdb-3a-sample"]
    jobs, calls = any_cluster.run(SLOW=TRAIN_3A)
    assert {job["status"] for job in jobs.values()} == {0}
    # both processes, twice
    trained = [call for call in calls if call.startswith(TRAIN_3A)]
    assert ["--resume" in call.split() for call in trained] == [False] * 2 + [True] * 2
    assert all(" --max-time 28 " in call for call in trained)
    test_3a, *after_3a = (jobs[name] for name in any_cluster.names("3a+test-sample", "3b-sample", "3c-sample"))
    printed = (any_cluster.tree / "jobs" / "3a-sample.out").read_text()
    if any_cluster.kind == "slurm":
        goes_on = jobs["imdb-3a-sample"]
        assert (goes_on["id"], goes_on["restarts"]) == (first["id"], 1)
    else:
        (goes_on,) = (job for job in jobs.values() if job["output"] == "jobs/3a-sample+9.out")
        assert goes_on["variables"]["MORE_JOBS"] == "9"
        assert goes_on["depends_on"] == ["afterany", first["id"]]
    assert f"{goes_on['id']} " in printed
    for name in ("resources", "queue", "account"):
        assert goes_on[name] == first[name]
    assert (goes_on["queue"], goes_on["account"]) == ("gpu", "course")
    assert (any_cluster.tree / "jobs" / "3a-sample.id").read_text() == goes_on["id"] + "\n"
    for job in (test_3a, *after_3a):
        assert job["depends_on"] == ["afterok", goes_on["id"]]


def test_the_successor_has_the_same_settings(cluster):
    command = ["qsub", "-l", "walltime=00:20:00", "-l", "nodes=2:ppn=16:xk", "-q", "gpu", "-A", "course"]
    settings = "TRIAL=small,ARGS=--hidden-units 300 --note %27a%2C%27,TEST_ARGS=--reviews %27my%2C own%27"
    first = succeed(cluster.call(*command, "-v", settings, "jobs/3a.pbs")).strip()
    succeed(cluster.call("qsub", "-W", f"depend=afterok:{first}", "jobs/3c.pbs"))
    jobs, calls = cluster.run(SLOW=TRAIN_3A)
    small = jobs["imdb-3a-small+9"]
    assert small["resources"] == {"nodes": "2:ppn=16:xk", "walltime": "00:20:00"}
    assert (small["queue"], small["account"], small["status"]) == ("gpu", "course", 0)
    assert jobs["imdb-3c"]["depends_on"] == ["afterok", small["id"]]
    assert [call for call in calls if "--resume --hidden-units 300 --note a, " in call and "--nnodes=2" in call]
    # a job submitted by hand tests, too
    assert any("--reviews my, own" in call for call in calls)


def test_a_trial_of_an_array_goes_on_by_itself(any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("--trials", "short,long,two-layers", "2a"))
    # the last one too, whose number in Slurm is that of the whole array
    _, calls = any_cluster.run(SLOW=STEPS_2A[0])
    for trial in ("short", "long", "two-layers"):
        assert ["--resume" in call.split() for call in calls if f"--trial {trial} " in call] == [False, True]
        assert (any_cluster.tree / f"2a/trials/{trial}/test.txt").exists()
        assert len([call for call in calls if f"--model 2a/trials/{trial}/" in call]) == 1


@pytest.mark.parametrize("cut_off", ["2a/RNN_sentiment_analysis.py", "2a/RNN_test.py", PREPROCESSING])
def test_a_job_that_slurm_preempts_goes_on(cut_off, tmp_path):
    slurm = Cluster(tmp_path, "slurm")
    succeed(slurm.submit_all("--sample", "2a"))
    jobs, calls = slurm.run(PREEMPT=cut_off)
    assert [job["status"] for job in jobs.values()] == [0, 0]
    assert scripts(calls).count(cut_off) == 2
    assert sorted(job["restarts"] for job in jobs.values()) == [0, 1]
    assert (slurm.tree / "2a/trials/sample/test.txt").exists()


@pytest.mark.parametrize("status", ["1", "143"])
def test_a_training_that_fails_is_not_started_again(status, any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("2a"))
    jobs, calls = any_cluster.run(FAIL=STEPS_2A[0], FAIL_STATUS=status)
    assert [job["status"] for job in jobs.values()] == [int(status)]
    assert scripts(calls) == STEPS_2A[:1]


def test_where_the_walltime_cannot_be_seen(cluster):
    succeed(cluster.call("qsub", "jobs/3a.pbs"))
    (cluster.tree.parent / "bin" / "qstat").unlink()
    jobs, calls = cluster.run()
    assert jobs["imdb-3a"]["status"] == 0
    assert len(calls) == 2
    assert "--max-time" not in calls[0]
    assert "there is no telling here when the walltime ends" in errors(cluster, jobs["imdb-3a"])


def test_it_does_not_submit_itself_for_ever(cluster):
    succeed(cluster.call("qsub", "-v", "MORE_JOBS=0", "jobs/3a.pbs"))
    succeed(cluster.call("qsub", "-W", "depend=afterok:1.bw", "jobs/3c.pbs"))
    jobs, _ = cluster.run(SLOW=TRAIN_3A)
    assert jobs["imdb-3a"]["status"] == 1
    assert jobs["imdb-3c"]["status"] == ENDED_BADLY
    assert "MORE_JOBS is used up" in errors(cluster, jobs["imdb-3a"])


def test_a_walltime_that_is_too_short(cluster):
    succeed(cluster.call("qsub", "-l", "walltime=00:05:00", "jobs/3a.pbs"))
    jobs, calls = cluster.run()
    assert jobs["imdb-3a"]["status"] == 2
    assert calls == []
    assert "error: the walltime 00:05:00 leaves not a minute" in errors(cluster, jobs["imdb-3a"])


# ------------------------------------------------------------------------- a batch system that does not answer


def test_a_running_job_asks_again(any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("2a"))
    (any_cluster.spool / "silent").write_text("3")
    jobs, calls = any_cluster.run(SLOW=STEPS_2A[0])
    assert {job["status"] for job in jobs.values()} == {0}
    assert "--max-time 235" in calls[0]
    assert (any_cluster.spool / "slept").read_text() == "sleep 5\nsleep 10\nsleep 20\n"


def test_no_answer_is_no_reason_to_submit(any_cluster):
    any_cluster.preprocess()
    printed = succeed(any_cluster.submit_all("1a"))
    before = any_cluster.jobs()
    (any_cluster.spool / "silent").write_text("2")
    again = succeed(any_cluster.submit_all("1a"))
    assert again == printed.replace("1a-default ", "1a-default waits or runs already: ")
    (any_cluster.spool / "silent").write_text("99")
    done = any_cluster.submit_all("1a")
    assert done.returncode == 1
    assert "error: the batch system does not answer: " in done.stderr
    assert any_cluster.jobs() == before


def test_two_calls_at_once_submit_once(any_cluster):
    any_cluster.preprocess()
    # each takes a while to submit
    submits = any_cluster.tree.parent / "bin" / COMMANDS[any_cluster.kind][0]
    hidden = any_cluster.tree.parent / "hidden"
    hidden.mkdir()
    submits.rename(hidden / submits.name)
    any_cluster.write_command(submits.name, f'#!/bin/bash\n/bin/sleep 0.3\nexec {hidden / submits.name} "$@"\n')
    with ThreadPoolExecutor() as pool:
        printed = sorted(pool.map(succeed, pool.map(lambda _: any_cluster.submit_all("1a"), range(2))))
    (job,) = any_cluster.jobs().values()
    assert printed == [f"1a-default {job['id']}\n", f"1a-default waits or runs already: {job['id']}\n"]


# ---------------------------------------------------------------------------------------------- submit_all.sh


def test_everything_in_the_right_order(any_cluster):
    printed = succeed(any_cluster.submit_all("--sample"))
    again = succeed(any_cluster.submit_all("--sample"))  # while all wait
    ids = dict(line.split() for line in printed.splitlines())
    assert list(ids) == ["preprocess-sample", *SAMPLE_JOBS]
    assert again.splitlines() == [f"{name} waits or runs already: {job_id}" for name, job_id in ids.items()]

    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    assert scripts(calls) == ALL_STEPS
    jobs = {job["id"]: job for job in jobs.values()}
    assert jobs[ids["preprocess-sample"]]["depends_on"] is None
    for name in SAMPLE_JOBS:
        before = "preprocess-sample" if name[:2] in ("1a", "1b", "2a", "2b") or name == "3a-sample" else "3a-sample"
        assert jobs[ids[name]]["depends_on"] == ["afterok", ids[before]]
    assert all("--data preprocessed_data/sample --device cuda " in call for call in calls[1:])
    # the same options as in run_all.sh
    assert "--language-model 3a/trials/sample/language.model --batch-size 50 --hidden-units 100" in calls[-2]
    # and different names in qstat
    assert len({job["name"][:15] for job in jobs.values()}) == len(jobs)
    assert "--length 60" in calls[ALL_STEPS.index("3b/generate_review.py")]
    assert calls[-1].endswith(LAUNCHED[any_cluster.kind])
    # what Blue Waters alone has is asked for there alone
    for job in jobs.values():
        assert ("xk" in str(job["resources"])) == (any_cluster.kind == "torque")
    assert jobs[ids["2a-sample"]]["resources"]["walltime"] == "04:00:00"

    # and nothing twice
    printed = succeed(any_cluster.submit_all("--sample"))
    assert printed.splitlines() == [f"{name} done already" for name in SAMPLE_JOBS]
    assert any_cluster.run()[1] == []


def test_trials_of_all_parts(any_cluster):
    table = any_cluster.tree / "jobs" / "trials.csv"
    header, *lines = table.read_text().splitlines()
    # the first two of each part
    lines = [line for place, line in enumerate(lines) if [other[:3] for other in lines[:place]].count(line[:3]) < 2]
    table.write_text("\n".join([header, *lines]) + "\n")
    corpus = any_cluster.tree.parent / "My Data, or 'hers'" / "aclImdb"
    corpus.mkdir(parents=True)
    (any_cluster.tree.parent / "glove.txt").touch()
    everything = ["--imdb", corpus, "--glove", "../glove.txt", "--trials", "all"]
    printed = succeed(any_cluster.submit_all("--dry-run", *everything))
    assert any_cluster.jobs() == {}
    # each line can be pasted, but for the ids of the jobs before
    for line in printed.splitlines():
        paste = re.sub(r"afterok:<.*?>", "afterok:1.bw" if any_cluster.kind != "slurm" else "afterok:1", line)
        succeed(any_cluster.call("bash", "-c", paste))
    pasted = any_cluster.jobs()
    (any_cluster.spool / "jobs.json").unlink()
    succeed(any_cluster.submit_all(*everything))
    assert pasted.keys() == any_cluster.jobs().keys()

    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    assert f"--imdb {corpus} --glove {any_cluster.tree.parent}/glove.txt" in calls[0]
    for part, trial, options, *_ in csv.reader(lines):
        train = "3b/generate_review.py" if part == "3b" else f"{part}/{PARTS[part][0]}"
        named = [call for call in calls if call.startswith(train) and (part == "3b" or f"--trial {trial} " in call)]
        assert any(options in call for call in named)
        result = "reviews.txt" if part == "3b" else "test.txt"
        assert (any_cluster.tree / part / ("." if trial == "default" else f"trials/{trial}") / result).exists()


@pytest.mark.parametrize(
    ("fail", "held_back"),
    [
        (PREPROCESSING, SAMPLE_JOBS),
        (TRAIN_3A, SAMPLE_JOBS[-3:]),
        ("3a/RNN_language_test.py", []),  # 3b and 3c need the model alone
        (STEPS_1A[0], []),
    ],
)
def test_a_failing_job_holds_back_what_depends_on_it(fail, held_back, cluster):
    succeed(cluster.submit_all("--sample"))
    jobs = cluster.run(FAIL=fail)[0].values()
    outputs = [f"jobs/{name}.out" for name in held_back]
    assert [job["output"] for job in jobs if job["status"] == ENDED_BADLY] == outputs
    assert [job["status"] for job in jobs].count(1) == 1
    # submitted once more, it goes on from there
    succeed(cluster.submit_all("--sample"))
    jobs, calls = cluster.run()
    assert [step for step in ALL_STEPS if step in scripts(calls)] == scripts(calls)
    for part in ("3a", "3c"):
        assert (cluster.tree / part / "trials/sample/test.txt").exists()


@pytest.mark.parametrize("suffix", [".txt", ".model", ".state"])
def test_the_times_of_files_do_not_matter(suffix, cluster):
    succeed(cluster.submit_all("--sample"))
    cluster.run()
    for name in cluster.files():
        os.utime(cluster.tree / name, (1, 1) if name.endswith(suffix) else None)
    printed = succeed(cluster.submit_all("--sample"))
    assert all(line.endswith(" done already") for line in printed.splitlines())


def test_parts_and_trials(any_cluster):
    any_cluster.preprocess()
    printed = succeed(any_cluster.submit_all("--trials", "default,overfits,long", "1a", "2a"))
    assert re.sub(r"[\d.bw]+(\[\]\.bw)? ", "ID ", printed) == re.sub(
        r"[\d.bw]+(\[\]\.bw)? ", "ID ", "1a-trials 1 (default overfits)\n2a-trials 2 (default long)\n"
    )
    again = succeed(any_cluster.submit_all("--trials", "long", "2a"))
    second = {"torque": "2[2].bw", "pbspro": "2[2].bw", "slurm": "2_2"}[any_cluster.kind]
    assert again == f"2a-long waits or runs already: {second}\n"
    # one that fails does not hold the others back
    (any_cluster.tree / "jobs" / "trials.csv").write_text(
        (any_cluster.tree / "jobs" / "trials.csv").read_text().replace("1a,default,,", "1a,default,--fail,")
    )
    calls = any_cluster.run(FAIL="--fail")[1]
    assert scripts(calls) == [STEPS_1A[0], *STEPS_1A, *STEPS_2A, *STEPS_2A]
    assert "--trial overfits --max-time 55 --hidden-units 2000 --hidden-layers 3 --dropout 0" in calls[1]
    assert (any_cluster.tree / "2a/trials/long/test.txt").exists()
    for name in ("1a-overfits", "2a-long"):
        assert (any_cluster.tree / "jobs" / f"{name}.out").read_text() != ""


def test_a_trial_of_3c_starts_from_3as_of_the_same_name(any_cluster):
    any_cluster.preprocess()
    with open(any_cluster.tree / "jobs" / "trials.csv", "a") as table:
        table.write("3a,dusk,--epochs 2,,\n3b,dusk,,,\n3c,dusk,,,\n")
    # submitted in this call, then waiting from an earlier one; 3a's default is awaited by what has no 3a of its own
    first = succeed(any_cluster.submit_all("--trials", "default,dusk", "3a", "3b"))
    succeed(any_cluster.submit_all("--trials", "default,dusk,from-scratch", "3c"))
    ids = dict(line.split()[:2] for line in first.splitlines())
    waits_for = {
        job["variables"]["TRIALS"]: job["depends_on"][1] for job in any_cluster.jobs().values() if "3c" in job["name"]
    }
    assert waits_for == {"dusk": ids["3a-dusk"], "default:from-scratch": ids["3a-default"]}
    failed = any_cluster.run(FAIL=TRAIN_3A)[0]
    # that of 3a failed: the default one is not taken in its place
    done = any_cluster.submit_all("--trials", "dusk", "3b", "3c")
    assert succeed(done) == ""
    for part in ("3b", "3c"):
        assert f"{part}-dusk not submitted, there is no 3a/trials/dusk/language.model: submit 3a too" in done.stderr
    assert {job["status"] for job in failed.values()} == {1, ENDED_BADLY}
    succeed(any_cluster.submit_all("--trials", "default,dusk", "3a", "3b", "3c"))
    _, calls = any_cluster.run()
    for script, option in (("3b/generate_review.py", "--model"), ("3c/RNN_sentiment_analysis.py", "--language-model")):
        models = [call.split(f" {option} ")[1].split()[0] for call in calls if call.startswith(script)]
        assert sorted(set(models)) == ["3a/language.model", "3a/trials/dusk/language.model"]
        assert models.count("3a/trials/dusk/language.model") == 1
    # it exists
    (any_cluster.tree / "3c/trials/dusk/rnn.model").unlink()
    succeed(any_cluster.submit_all("--trials", "dusk", "3c"))
    assert "--language-model 3a/trials/dusk/language.model" in any_cluster.run()[1][0]
    # one that is given wins
    (any_cluster.tree / "3c/trials/dusk/rnn.model").unlink()
    succeed(any_cluster.submit_all("--trials", "dusk", "3c", LANGUAGE_MODEL="3a/language.model"))
    assert "--language-model 3a/language.model" in any_cluster.run()[1][0]


# --------------------------------------------------------------------------------------------- side by side


def write_trials(cluster, *trials):
    """Makes the table one of these trials, texts of part and name."""
    lines = "".join(f"{part},{trial},,,\n" for part, trial in map(str.split, trials))
    (cluster.tree / "jobs" / "trials.csv").write_text(HEADER + lines)


def trained_trials(calls):
    return [call.split(" --trial ")[1].split()[0] for call in calls if " --trial " in call]


def test_one_job_runs_trials_side_by_side(any_cluster):
    any_cluster.preprocess()
    write_trials(any_cluster, "1a alone", "2a a", "2a b", "2a c", "2a d")
    any_cluster.write_command("nvidia-cuda-mps-control", MPS)
    arguments, settings = ["--trials", "all"], {"SIDE_BY_SIDE": "2", "AT_ONCE": "1"}
    printed = succeed(any_cluster.submit_all(*arguments, **settings))
    ids = [job["id"] for job in load(any_cluster.spool)]
    assert printed == f"1a-alone {ids[0]}\n2a-trials {ids[1]} (a b c d)\n"
    again = succeed(any_cluster.submit_all(*arguments, **settings))
    assert again.splitlines() == [f"1a-alone waits or runs already: {ids[0]}"] + [
        f"2a-{trial} waits or runs already: {ids[1]}" for trial in "abcd"
    ]
    jobs, calls = any_cluster.run(FAIL="c", TMPDIR=str(any_cluster.tree.parent))
    assert [job["status"] for job in jobs.values()] == [0, 1]
    assert sorted(trained_trials(calls)) == ["a", "alone", "b", "c", "d"]
    # they are started where the launcher starts what runs on the node
    assert all(LAUNCHED[any_cluster.kind] in call for call in calls)
    assert all(" --max-time 235 " in call + " " for call in calls if " --trial " in call and "alone" not in call)
    counts = {trial: int(count) for trial, count, *_ in map(str.split, alongside_lines(any_cluster))}
    assert set(counts) == {"alone", "a", "b", "c", "d"}
    # MPS is there for those alone
    folders = {line.split()[0]: line.split()[3] for line in alongside_lines(any_cluster)}
    assert folders.pop("alone") == "-"
    (folder,) = set(folders.values())
    assert (any_cluster.tree / "mps").read_text() == f"start {folder}\nquit {folder}\n"
    for trial in "abd":
        tested = (any_cluster.tree / f"2a/trials/{trial}/test.txt").read_text()
        assert (any_cluster.tree / f"jobs/2a-{trial}.out").read_text().endswith(tested)
    own = (any_cluster.tree / "jobs/2a-trials.out").read_text().splitlines()
    assert sorted(own) == sorted(
        [f"== 2a-{trial} {what}" for trial in "abd" for what in ("begins", "ends with status 0")]
        + ["== 2a-c begins", "== 2a-c ends with status 1"]
    )
    assert "error: failed: 2a-c; " in errors(any_cluster, list(jobs.values())[1])
    # and only that is submitted once more
    printed = succeed(any_cluster.submit_all(*arguments, **settings))
    assert [line for line in printed.splitlines() if "done already" not in line] == [f"2a-c {ids_of(any_cluster)[-1]}"]
    jobs, calls = any_cluster.run()
    assert trained_trials(calls) == ["c"]
    assert "--resume" in calls[0]


def alongside_lines(cluster):
    return (cluster.tree / "alongside").read_text().splitlines()


def ids_of(cluster):
    return [job["id"] for job in load(cluster.spool)]


def test_trials_side_by_side_go_on_in_a_further_job(any_cluster):
    any_cluster.preprocess()
    write_trials(any_cluster, *(f"{part} {trial}" for part in ("3a", "3c") for trial in "abc"))
    succeed(any_cluster.submit_all("--trials", "all", SIDE_BY_SIDE="3", QUEUE="gpu", WALLTIME="00:30:00"))
    first, *waiting = load(any_cluster.spool)
    assert [job["depends_on"] for job in waiting] == [["afterany", first["id"]]] * 2
    jobs, calls = any_cluster.run(SLOW=TRAIN_3A, FAIL="b")
    jobs = load(any_cluster.spool)
    trained = [call for call in calls if call.startswith(TRAIN_3A)]
    assert ["--resume" in call for call in trained] == [False] * 3 + [True] * 3
    if any_cluster.kind == "slurm":
        (goes_on, *waiting) = jobs
        assert goes_on["restarts"] == 1
    else:
        (_, *waiting, goes_on) = jobs
        assert goes_on["depends_on"] == ["afterany", first["id"]]
        assert (goes_on["resources"], goes_on["queue"]) == (first["resources"], "gpu")
    assert (any_cluster.tree / "jobs/3a-b.id").read_text() == goes_on["id"] + "\n"
    assert [job["depends_on"] for job in waiting] == [["afterany", goes_on["id"]]] * 2
    # the one that fails holds back only what needs it
    assert goes_on["status"] == 1
    for part in ("3a", "3c"):
        assert {path.parts[-2] for path in any_cluster.tree.glob(f"{part}/trials/*/test.txt")} == {"a", "c"}


def test_what_is_trained_is_not_run_in_the_further_job(any_cluster):
    any_cluster.preprocess()
    write_trials(any_cluster, "2a a", "2a b", "2a c")
    succeed(any_cluster.submit_all("--trials", "all", SIDE_BY_SIDE="3"))
    jobs, calls = any_cluster.run(SLOW="b")
    assert {job["status"] for job in jobs.values()} == {0}
    assert sorted(trained_trials(calls)) == ["a", "b", "b", "c"]
    assert len(list(any_cluster.tree.glob("2a/trials/*/test.txt"))) == 3
    assert len([call for call in calls if " --model " in call]) == 3


def test_a_trial_for_which_no_time_is_left_waits_for_the_further_job(any_cluster):
    any_cluster.preprocess()
    write_trials(any_cluster, *(f"2a {trial}" for trial in "abcd"))
    succeed(any_cluster.submit_all("--trials", "all", SIDE_BY_SIDE="2", WALLTIME="00:06:00"))
    # each training takes 40 of the 60 seconds
    any_cluster.write_command(
        "date", "#!/bin/bash\nset -- 2a/trials/*/rnn.model\n[ -e $1 ] || shift\necho $((40 * $#))\n"
    )
    _, calls = any_cluster.run()
    assert sorted(trained_trials(calls)) == ["a", "b", "c", "d"]
    assert all(" --max-time 1 " in call + " " for call in calls if " --trial " in call)
    jobs = load(any_cluster.spool)
    assert (jobs[0]["restarts"] if any_cluster.kind == "slurm" else len(jobs) - 1) > 0
    assert {job["status"] for job in jobs} == {0}


def test_side_by_side_is_for_one_gpu(any_cluster):
    any_cluster.preprocess()
    refused(any_cluster.submit_all("2a", SIDE_BY_SIDE="many"), "SIDE_BY_SIDE is many: expected how many")
    for settings in ({"GPUS": "4"}, {"NODES": "2"}):
        refused(any_cluster.submit_all("2a", SIDE_BY_SIDE="4", **settings), "set NODES=1 GPUS=1")
    assert any_cluster.jobs() == {}


# ------------------------------------------------------------------------------------------------- the table


def test_empty_lines_and_quotes_in_the_table(cluster):
    cluster.preprocess()
    text = f'\ufeff{HEADER.strip()},,\n\n,,,,\n1a,mine,"--note \'a, ""b"" 50%\'",,"one, two",,,\r\n  \n'
    (cluster.tree / "jobs" / "trials.csv").write_text(text)
    succeed(cluster.submit_all("--trials", "all"))
    assert ' --trial mine --max-time 55 --note a, "b" 50% ALPS' in cluster.run()[1][0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("part;trial\n", "line 1: its first line is not part,trial,"),
        (f"{HEADER}\n4a,x,,,\n", "line 3: no part '4a'"),
        (f"{HEADER}1a,../x,,,\n", "line 2: '../x' is no name for a trial"),
        (f"{HEADER}1a,,--epochs 2,,\n", "line 2: '' is no name for a trial"),
        (f"{HEADER}1a,x,,,\n1a,x,,,\n", "line 3: part 1a has a trial x already, in line 2"),
        (f"{HEADER}1a,x,,,one, two\n", 'line 2: 6 columns where 5 are expected; a text with commas needs "quotes"'),
        (f"{HEADER}1a,x,--note 'a,,\n", "line 2: column 'options': No closing quotation"),
        (f'{HEADER}1a,x,"--note a,,\n', "line 2: unexpected end of data"),
        (f"{HEADER}1b,x,,,\n", "jobs/trials.csv has no trials of part 1a"),
    ],
)
def test_what_is_wrong_in_the_table_is_told_before_anything_runs(text, words, cluster):
    cluster.preprocess()
    (cluster.tree / "jobs" / "trials.csv").write_text(text)
    refused(cluster.submit_all("--trials", "all", "1a"), words)
    assert cluster.jobs() == {}


def test_what_cannot_run_is_not_submitted(cluster):
    cluster.preprocess()
    done = cluster.submit_all("1b", "3c")
    assert succeed(done) == ""
    assert done.stderr.splitlines() == [
        "1b-default not submitted, there is no preprocessed_data/imdb_train_glove.txt: give --glove FILE",
        "3c-default not submitted, there is no 3a/language.model: submit 3a too",
    ]


def test_a_new_trial_is_a_line_in_the_table(cluster):
    cluster.preprocess()
    with open(cluster.tree / "jobs" / "trials.csv", "a") as table:
        table.write('1a,mine,"--epochs 1",,more\r\n')
    succeed(cluster.submit_all("--trials", "mine"))
    assert " --trial mine --max-time 55 --epochs 1 ALPS" in cluster.run()[1][0]


def test_a_test_that_was_cut_off_is_submitted_alone(cluster):
    succeed(cluster.submit_all("--sample", "1a", "3a"))
    cluster.run()
    for part in ("1a", "3a"):
        (cluster.tree / part / "trials/sample/test.txt").unlink()
    printed = succeed(cluster.submit_all("--sample", "1a", "3a"))
    assert [line.split()[0] for line in printed.splitlines()] == ["1a-sample", "3a-sample", "3a+test-sample"]
    assert scripts(cluster.run()[1]) == ["1a/BOW_test.py", "3a/RNN_language_test.py"]


def test_nodes_of_all_parts(cluster):
    succeed(cluster.submit_all("--sample", "1a", NODES="2"))
    jobs, calls = cluster.run()
    assert jobs["imdb-preprocess"]["resources"]["nodes"] == "1:ppn=16:xk"
    assert jobs["imdb-1a-sample"]["resources"]["nodes"] == "2:ppn=16:xk"
    assert "torchrun" not in calls[0]
    assert "torchrun --nnodes=2" in calls[1]


def test_a_dry_run_submits_nothing(cluster):
    without_qsub = "/usr/bin:/bin"
    printed = succeed(cluster.submit_all("--dry-run", "--sample", PATH=without_qsub)).splitlines()
    assert len(printed) == 9
    assert " qsub -N imdb-preprocess " in printed[0]
    assert "-W depend=afterok:<3a-sample> " in printed[-1]
    assert printed[-1].endswith(" jobs/3c.pbs ")
    assert cluster.run()[0] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--colour"], "--colour is no option and no part"),
        (["4a"], "4a is no option and no part"),
        (["--trials"], "--trials needs a value"),
        (["--imdb", "My Data/aclImdb"], "there is no "),
        (["--glove", "jobs"], "--glove goes with --imdb"),
        (["--sample", "--imdb", "jobs"], "--sample goes with neither"),
        ([], "nothing in preprocessed_data"),
    ],
)
def test_bad_usage(arguments, words, cluster):
    refused(cluster.submit_all(*arguments), words, "usage: bash jobs/submit_all.sh")
    assert cluster.run()[0] == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("MODULES_INIT=/nowhere", ["no /nowhere here", "MODULES="]),
        ("LAUNCHER=no-aprun -n 1", ["no no-aprun here", "LAUNCHER="]),
        ("SCHEDULER=lsf", ["SCHEDULER is lsf", "torque, pbspro or slurm"]),
        ("SCHEDULER=pbspro,QOS=debug", ["QOS is debug", "QUEUE"]),
        ("ARGS=--note 'a", ["a quote is not closed in: --note 'a"]),
    ],
)
def test_a_wrong_setting_is_named(settings, words, cluster):
    succeed(cluster.call("qsub", "-v", settings, "jobs/1a.pbs"))
    jobs, calls = cluster.run()
    assert jobs["imdb-1a"]["status"] != 0
    assert calls == []
    for word in words:
        assert word in errors(cluster, jobs["imdb-1a"])


def test_a_second_list_of_variables_is_refused(any_cluster):
    any_cluster.preprocess()
    options, word = ("--export=NAME=1", "--export=ALL") if any_cluster.kind == "slurm" else ("-v NAME=1", "PASS")
    refused(any_cluster.submit_all("1a", SUBMIT_OPTIONS=options), "SUBMIT_OPTIONS", word)
    assert any_cluster.jobs() == {}


def test_what_a_job_gets_of_the_environment(any_cluster):
    any_cluster.preprocess()
    given = {
        "NLTK_DATA": "/data/nltk",
        "OMP_NUM_THREADS": "4",
        "NCCL_DEBUG": "INFO",
        "OTHER": "1",
        "WALLTIME": "00:10:00",
    }
    succeed(any_cluster.submit_all("1a", **given))
    (job,) = any_cluster.jobs().values()
    expected = dict(given)
    if any_cluster.kind != "slurm":
        del expected["OTHER"]  # qsub passes what is named
        assert "OTHER" not in job["variables"]
        assert job["umask"] == f"{os.umask(os.umask(0o022)):04o}"
    assert expected.items() <= job["variables"].items()


def test_the_settings_in_the_schedulers_words(any_cluster):
    settings = {"QUEUE": "gpu", "CPU_QUEUE": "short", "WALLTIME": "00:30:00", "AT_ONCE": "2", "ACCOUNT": "course"}
    kind = {"torque": "ppn=8", "pbspro": "ncpus=8", "slurm": "--cpus-per-task=2"}[any_cluster.kind]
    memory = "60g" if any_cluster.kind == "slurm" else "60gb"
    qos = {} if any_cluster.kind == "pbspro" else {"QOS": "debug"}
    (any_cluster.tree.parent / "aclImdb").mkdir()
    arguments = ["--imdb", any_cluster.tree.parent / "aclImdb", "--trials", "default,overfits,sgd", "1a"]
    succeed(any_cluster.submit_all(*arguments, CPU_NODE_KIND=kind, MEMORY=memory, **settings, **qos))
    preprocessing, trials = (any_cluster.jobs()[name] for name in ("imdb-preprocess", "imdb-1a-trials"))
    assert (preprocessing["queue"], trials["queue"]) == ("short", "gpu")
    assert (preprocessing["throttle"], trials["throttle"]) == (None, "2")
    resources = {
        "torque": ({"nodes": "1:ppn=8", "mem": "60gb", "qos": "debug"}, "1:ppn=16:xk"),
        "pbspro": ({"select": "1:ncpus=8:mem=60gb", "place": "scatter"}, "1:ncpus=8:ngpus=1:mem=60gb"),
        "slurm": ({"nodes": "1", "cpus": 2, "gpus": None, "mem": "60g"}, "1"),
    }[any_cluster.kind]
    assert preprocessing["resources"] == {"walltime": "00:30:00", **resources[0]}
    assert resources[1] in trials["resources"].values()
    assert trials.get("qos", "debug") == "debug"
    assert {job["status"] for job in any_cluster.run()[0].values()} == {0}


def test_a_walltime_that_slurm_would_let_wait_for_ever(tmp_path):
    slurm = Cluster(tmp_path, "slurm")
    slurm.preprocess()
    refused(
        slurm.submit_all("2a", QUEUE="short"),
        "2a-default asks for 04:00:00, and short gives 30 minutes at most: set WALLTIME",
    )
    refused(slurm.submit_all("2a", WALLTIME="30:00:00"), "the default partition gives 1440 minutes at most")
    for settings in ({"QUEUE": "short", "WALLTIME": "00:30:00"}, {"QUEUE": "gpu", "WALLTIME": "99:00:00"}):
        succeed(slurm.submit_all("1a", "2a", **settings))


def test_a_job_of_slurm_by_hand(tmp_path):
    slurm = Cluster(tmp_path, "slurm")
    del slurm.environment["SCHEDULER"]
    needed = ["--parsable", "--requeue", "--mail-type=END", "--kill-on-invalid-dep=yes", "--open-mode=append"]
    named = ["--job-name=1a", "--output=1a.out", "--error=1a.err", "--nodes=1", "--cpus-per-task=8", "--time=01:00:00"]
    succeed(slurm.call("sbatch", "--ignore-pbs", *needed, *named, "jobs/1a.pbs"))
    jobs, calls = slurm.run()
    assert jobs["1a"]["status"] == 0, errors(slurm, jobs["1a"])
    assert scripts(calls) == STEPS_1A
    # as is submitting within a job
    slurm.preprocess()
    inside = {"SCHEDULER": "slurm", "SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": "3"}
    succeed(slurm.submit_all("2a", **inside))
    assert slurm.jobs()["imdb-2a-default"]["resources"]["nodes"] == "1"


def test_help(cluster):
    for flag in ("--help", "-h"):
        printed = succeed(cluster.submit_all(flag))
        assert printed.startswith("Submits the jobs of all parts")
        assert "bash jobs/submit_all.sh --sample " in printed
        assert "set -" not in printed


@pytest.mark.parametrize(("kind", "command"), [("torque", "qsub"), ("slurm", "sbatch")])
def test_without_a_cluster(kind, command, cluster):
    bare = cluster.tree.parent / "bare"  # has no batch system's command
    bare.mkdir()
    for name in ("bash", "dirname", "realpath"):
        (bare / name).symlink_to(shutil.which(name))
    refused(cluster.submit_all("--sample", PATH=str(bare), SCHEDULER=kind), f"no {command}", "--dry-run")
