"""The jobs, with stand-ins for batch systems, launchers, module and Python: what runs, when, in which order."""

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
from test_run_all import ALL_STEPS, HEADER, PREPROCESSING, STEPS_1A, STEPS_2A, TRAIN_3A

SAMPLE_JOBS = [f"{part}-sample" for part in ("1a", "1b", "2a", "2b", "3a", "3b", "3c")]
PBS_FILES = ["1a.pbs", "1b.pbs", "2a.pbs", "2b.pbs", "3a.pbs", "3b.pbs", "3c.pbs", "preprocess.pbs"]
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

    def jobs(self):
        """The jobs by the names that submit_all.sh gives them."""
        return by_name(load(self.spool))

    def write_trials(self, *lines):
        """Makes the table one of these lines, of which what is missing at the end is empty."""
        text = "".join(line + "," * (4 - line.count(",")) + "\n" for line in lines)
        (self.tree / "jobs" / "trials.csv").write_text(HEADER + text)

    def run(self, **environment):
        """Runs what can run; returns the jobs by name, and what Python was given, lines of script and options."""
        (self.tree / "log").unlink(missing_ok=True)
        jobs = run_jobs(self.spool, {**self.environment, **environment})
        log = self.tree / "log"
        return by_name(jobs), log.read_text().splitlines() if log.exists() else []


def by_name(jobs):
    return {Path(job["output"]).name.removesuffix(".out").removesuffix(".o"): job for job in jobs}


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@pytest.fixture(params=COMMANDS)
def any_cluster(tmp_path, request):
    return Cluster(tmp_path, request.param)


TWO_KINDS = pytest.mark.parametrize("any_cluster", ["torque", "slurm"], indirect=True)


def succeed(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def scripts(calls):
    return [call.split()[0] for call in calls]


def errors(cluster, job):
    return (cluster.tree / job["error"]).read_text()


# ---------------------------------------------------------------------------------------------- jobs by hand


def test_each_part_is_trained_and_tested(cluster):
    assert sorted(path.name for path in (cluster.tree / "jobs").glob("*.pbs")) == PBS_FILES
    for part in (name.removesuffix(".pbs") for name in PBS_FILES):
        succeed(cluster.call("qsub", f"jobs/{part}.pbs"))
        jobs, calls = cluster.run()
        job = jobs[f"imdb-{part}"]
        assert job["status"] == 0, errors(cluster, job)
        assert (job["name"], job["resources"]["nodes"]) == (f"imdb-{part}", "1:ppn=16:xk")
        assert (cluster.tree.parent / "modules").read_text().endswith("module load cudatoolkit\n")
        if part == "preprocess":
            assert calls == [f"{PREPROCESSING} --output preprocessed_data ALPS_APP_PE=0"]
            continue
        given = "--data preprocessed_data --device cuda"
        result = "test.txt"
        if part == "3b":
            result = "reviews.txt"
            assert calls == [f"3b/generate_review.py {given} --model 3a/language.model ALPS_APP_PE=0"]
        else:
            train, test, model = PARTS[part]
            minutes = 60 * int(job["resources"]["walltime"][:2]) - 5
            language_model = " --language-model 3a/language.model" if part == "3c" else ""
            assert calls == [
                f"{part}/{train} {given} --trial default --max-time {minutes}{language_model} ALPS_APP_PE=0",
                f"{part}/{test} {given} --model {part}/{model} ALPS_APP_PE=0",
            ]
        printed = (cluster.tree / part / result).read_text()
        assert (cluster.tree / f"imdb-{part}.o").read_text().endswith(f".py\n{printed}")
        assert printed != ""


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
    assert (cluster.tree / "jobs/imdb-1a.o").exists()


def test_another_cluster(cluster):
    settings = "MODULES=,LAUNCHER=,PYTHON=other-python"
    write_stand_in("python", cluster.tree.parent / "bin" / "other-python")
    succeed(cluster.call("qsub", "-v", settings, "jobs/2a.pbs"))
    jobs, calls = cluster.run()
    assert jobs["imdb-2a"]["status"] == 0
    assert calls[0] == f"{STEPS_2A[0]} --data preprocessed_data --device cuda --trial default --max-time 235"
    assert not (cluster.tree.parent / "modules").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("MODULES_INIT=/nowhere", "/nowhere: No such file"),
        ("SCHEDULER=lsf", "error: SCHEDULER is lsf: expected torque, pbspro or slurm"),
        ("ARGS=--note 'a", "unmatched single quote"),
    ],
)
def test_a_wrong_setting_is_named(settings, words, cluster):
    succeed(cluster.call("qsub", "-v", settings, "jobs/1a.pbs"))
    jobs, calls = cluster.run()
    assert jobs["imdb-1a"]["status"] != 0
    assert calls == []
    assert words in errors(cluster, jobs["imdb-1a"])


def test_a_job_fails_when_its_script_fails_and_goes_on_from_there(cluster):
    for part, fail, steps in [
        ("preprocess", PREPROCESSING, [PREPROCESSING]),
        ("3b", "3b/generate_review.py", ["3b/generate_review.py"]),
        ("2a", STEPS_2A[0], STEPS_2A[:1]),
        ("2a", STEPS_2A[1], STEPS_2A),
    ]:
        succeed(cluster.call("qsub", f"jobs/{part}.pbs"))
        jobs, calls = cluster.run(FAIL=fail)
        assert jobs[f"imdb-{part}"]["status"] == 1
        assert scripts(calls) == steps
        assert not list(cluster.tree.glob("??/*.txt"))
    assert "--resume" in calls[0].split()  # not trained anew
    # what is done is only tested again, when it is asked for by hand
    for _ in range(2):
        succeed(cluster.call("qsub", "jobs/2a.pbs"))
        assert scripts(cluster.run()[1]) == STEPS_2A[1:]


def test_a_job_of_slurm_by_hand(tmp_path):
    slurm = Cluster(tmp_path, "slurm")
    del slurm.environment["SCHEDULER"]
    needed = ["--parsable", "--requeue", "--mail-type=END", "--kill-on-invalid-dep=yes", "--open-mode=append"]
    named = ["--job-name=1a", "--output=1a.out", "--error=1a.err", "--nodes=1", "--cpus-per-task=8", "--time=01:00:00"]
    succeed(slurm.call("sbatch", "--ignore-pbs", *needed, *named, "--gpus-per-node=1", "jobs/1a.pbs"))
    jobs, calls = slurm.run()
    assert jobs["1a"]["status"] == 0, errors(slurm, jobs["1a"])
    assert scripts(calls) == STEPS_1A
    # as is submitting within a job
    slurm.preprocess()
    succeed(slurm.submit_all("2a", SLURM_JOB_ID="77", SLURM_JOB_NUM_NODES="3"))
    assert slurm.jobs()["2a-default"]["resources"]["nodes"] == "1"


# ----------------------------------------------------------------------------------- several nodes, several GPUs

TORCHRUN = "torchrun --nnodes=2 --nproc_per_node=4 --rdzv_backend=c10d --rdzv_id=2 --rdzv_endpoint"


def test_several_nodes(any_cluster):
    succeed(any_cluster.submit_all("--sample", "3a", "3b", NODES="2", GPUS="4"))
    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    first = os.uname().nodename if any_cluster.kind == "slurm" else "nid00007"
    started = [call for call in calls if call.startswith(TRAIN_3A)]
    assert len(started) == 2
    assert all(f"{TORCHRUN}={first}:20002" in call for call in started)
    # preprocessing and generating are one process's
    assert scripts(calls)[0] == PREPROCESSING
    assert scripts(calls)[-1] == "3b/generate_review.py"
    assert "torchrun" not in calls[0] + calls[-1]


@TWO_KINDS
def test_several_gpus_of_one_node(any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("1a", GPUS="4"))
    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    assert len(calls) == 2
    assert all(call.endswith(" torchrun --standalone --nproc_per_node=4") for call in calls)


def test_a_job_of_pbs_leaves_no_process_behind(cluster):
    succeed(cluster.call("qsub", "jobs/2a.pbs"))
    jobs, _ = cluster.run(LEAVE=STEPS_2A[0], FAIL=STEPS_2A[0])
    assert jobs["imdb-2a"]["status"] == 1
    process = Path("/proc", (cluster.tree / "left").read_text(), "status")
    assert not process.exists() or "State:\tZ" in process.read_text()


def test_a_real_training_on_two_nodes(cluster, sample_data):
    for name in ("1a", "common"):
        shutil.copytree(REPO / name, cluster.tree / name, ignore=shutil.ignore_patterns("*.model", "*.state", "trials"))
    train, test, _ = PARTS["1a"]
    (cluster.tree / "1a" / test).write_text("")
    options = f"PYTHON={sys.executable},DATA={sample_data},DEVICE=cpu,ARGS={TINY['1a']} --epochs 1"
    succeed(cluster.call("qsub", "-l", "nodes=2:ppn=16:xk", "-v", options, "jobs/1a.pbs"))
    inherited = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "RES_OPTIONS")}
    jobs, _ = cluster.run(BATCH_NODES="127.0.0.1 localhost", **inherited)
    assert jobs["imdb-1a"]["status"] == 0, errors(cluster, jobs["imdb-1a"])
    assert json.loads((cluster.tree / "1a" / "run.json").read_text())["processes"] == 2
    # an epoch with its test, from one process
    assert len((cluster.tree / "imdb-1a.o").read_text().partition(f"{train}\n")[2].partition("==")[0].splitlines()) == 2


# ------------------------------------------------------------------------------- a training and its walltime


def test_a_training_longer_than_its_walltime(any_cluster):
    settings = {"WALLTIME": "00:30:00", "STOP_BEFORE": "120", "NODES": "2", "QUEUE": "gpu", "ACCOUNT": "course"}
    any_cluster.preprocess()
    any_cluster.write_trials("3a,slow", "3a,other", "3b,slow", "3c,slow", "3c,other")
    succeed(any_cluster.submit_all("--trials", "all", **settings))
    first, other = (any_cluster.jobs()[name] for name in ("3a-slow", "3a-other"))
    assert any_cluster.jobs()["3c-slow"]["depends_on"] == ["afterany", first["id"]]
    jobs, calls = any_cluster.run(SLOW="slow")
    assert {job["status"] for job in jobs.values()} == {0}
    # both processes, twice
    trained = [call for call in calls if call.startswith(f"{TRAIN_3A} ") and "--trial slow" in call]
    assert ["--resume" in call.split() for call in trained] == [False] * 2 + [True] * 2
    assert all(" --max-time 28 " in call for call in trained)
    if any_cluster.kind == "slurm":
        goes_on = jobs["3a-slow"]
        assert (goes_on["id"], goes_on["restarts"]) == (first["id"], 1)
    else:
        goes_on = jobs["3a-slow+9"]
        assert goes_on["variables"]["MORE_JOBS"] == "9"
        assert goes_on["depends_on"] == ["afterany", first["id"]]
    assert f"{goes_on['id']} " in (any_cluster.tree / first["output"]).read_text()
    for name in ("resources", "queue", "account"):
        assert goes_on[name] == first[name]
    assert (goes_on["queue"], goes_on["account"]) == ("gpu", "course")
    assert (any_cluster.tree / "jobs" / "3a-slow.id").read_text() == goes_on["id"] + "\n"
    # what waits for it waits for its end
    for name in ("3b-slow", "3c-slow"):
        assert jobs[name]["depends_on"] == ["afterany", goes_on["id"]]
    assert jobs["3c-other"]["depends_on"] == ["afterany", other["id"]]
    assert {path.parts[-2] for path in any_cluster.tree.glob("3c/trials/*/test.txt")} >= {"slow", "other"}


def test_the_successor_has_the_same_settings(cluster):
    command = ["qsub", "-l", "walltime=00:20:00", "-l", "nodes=2:ppn=16:xk", "-q", "gpu", "-A", "course"]
    settings = "TRIAL=small,ARGS=--hidden-units 300 --note %27a%2C%27,TEST_ARGS=--reviews %27my%2C own%27"
    first = succeed(cluster.call(*command, "-v", settings, "jobs/3a.pbs")).strip()
    succeed(cluster.call("qsub", "-W", f"depend=afterok:{first}", "jobs/3c.pbs"))
    jobs, calls = cluster.run(SLOW=TRAIN_3A)
    small = jobs["3a-small+9"]
    assert small["resources"] == {"nodes": "2:ppn=16:xk", "walltime": "00:20:00"}
    assert (small["queue"], small["account"], small["status"]) == ("gpu", "course", 0)
    assert jobs["imdb-3c"]["depends_on"] == ["afterok", small["id"]]
    assert [call for call in calls if "--resume --hidden-units 300 --note a, " in call and "--nnodes=2" in call]
    assert any("--reviews my, own" in call for call in calls)


@pytest.mark.parametrize("cut_off", STEPS_2A)
def test_a_job_that_slurm_preempts_goes_on(cut_off, tmp_path):
    slurm = Cluster(tmp_path, "slurm")
    succeed(slurm.submit_all("--sample", "2a"))
    jobs, calls = slurm.run(PREEMPT=cut_off)
    assert [job["status"] for job in jobs.values()] == [0, 0]
    assert scripts(calls).count(cut_off) == 2
    assert jobs["2a-sample"]["restarts"] == 1
    assert (slurm.tree / "2a/trials/sample/test.txt").exists()


@TWO_KINDS
def test_a_training_that_fails_is_not_started_again(any_cluster):
    any_cluster.preprocess()
    succeed(any_cluster.submit_all("2a"))
    jobs, calls = any_cluster.run(FAIL=STEPS_2A[0], FAIL_STATUS="143")
    assert [job["status"] for job in jobs.values()] == [143]
    assert scripts(calls) == STEPS_2A[:1]


def test_it_does_not_submit_itself_for_ever(cluster):
    cluster.preprocess()
    succeed(cluster.submit_all("3a", "3c", MORE_JOBS="0"))
    jobs, calls = cluster.run(SLOW=TRAIN_3A)
    assert scripts(calls) == [TRAIN_3A]
    assert [job["status"] for job in jobs.values()] == [1, 1]
    assert "MORE_JOBS is used up" in errors(cluster, jobs["3a-default"])
    assert "the training of 3a/language.model has not come to its end" in errors(cluster, jobs["3c-default"])


def test_a_walltime_that_is_too_short_and_one_that_is_not_known(cluster):
    succeed(cluster.call("qsub", "-l", "walltime=00:05:00", "jobs/3a.pbs"))
    jobs, calls = cluster.run()
    assert jobs["imdb-3a"]["status"] == 2
    assert calls == []
    assert "error: the walltime 00:05:00 leaves not a minute" in errors(cluster, jobs["imdb-3a"])
    succeed(cluster.call("qsub", "jobs/3a.pbs"))
    (cluster.tree.parent / "bin" / "qstat").unlink()
    jobs, calls = cluster.run()
    assert jobs["imdb-3a"]["status"] == 0
    assert len(calls) == 2
    assert "--max-time" not in calls[0]
    assert "there is no telling here when the walltime ends" in errors(cluster, jobs["imdb-3a"])


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


def test_two_calls_at_once_submit_once(cluster):
    cluster.preprocess()
    # each submits only when the other one has come to the lock
    qsub, hidden = cluster.tree.parent / "bin" / "qsub", cluster.tree.parent / "hidden"
    hidden.mkdir()
    qsub.rename(hidden / "qsub")
    come = cluster.tree / "come"
    come.mkdir()
    cluster.write_command("flock", f"#!/bin/bash\ntouch {come}/$$\nexec {shutil.which('flock')} $1\n")
    cluster.write_command(
        "qsub", f'#!/bin/bash\nuntil [ $(ls {come} | wc -l) = 2 ]; do /bin/sleep 0.05; done\nexec {hidden}/qsub "$@"\n'
    )
    with ThreadPoolExecutor() as pool:
        printed = sorted(map(succeed, pool.map(lambda _: cluster.submit_all("1a"), range(2))))
    (job,) = cluster.jobs().values()
    assert printed == [f"1a-default {job['id']}\n", f"1a-default waits or runs already: {job['id']}\n"]


# ---------------------------------------------------------------------------------------------- submit_all.sh


@TWO_KINDS
def test_everything_in_the_right_order(any_cluster):
    printed = succeed(any_cluster.submit_all("--sample"))
    again = succeed(any_cluster.submit_all("--sample"))  # while all wait
    ids = dict(line.split() for line in printed.splitlines())
    assert list(ids) == ["preprocess-sample", *SAMPLE_JOBS]
    assert again.splitlines() == [f"{name} waits or runs already: {job_id}" for name, job_id in ids.items()]

    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    assert scripts(calls) == ALL_STEPS
    assert jobs["preprocess-sample"]["depends_on"] is None
    for name in SAMPLE_JOBS:
        before = ["afterany", ids["3a-sample"]] if name[:2] in ("3b", "3c") else ["afterok", ids["preprocess-sample"]]
        assert jobs[name]["depends_on"] == before
    assert all("--data preprocessed_data/sample --device cuda " in call for call in calls[1:])
    # the same options as in run_all.sh
    assert "--language-model 3a/trials/sample/language.model --batch-size 50 --hidden-units 100" in calls[-2]
    assert "--length 60" in calls[ALL_STEPS.index("3b/generate_review.py")]
    # and different names in qstat
    assert len({job["name"][:15] for job in jobs.values()}) == len(jobs)
    assert calls[-1].endswith(LAUNCHED[any_cluster.kind])
    # what Blue Waters alone has is asked for there alone
    for job in jobs.values():
        assert ("xk" in str(job["resources"])) == (any_cluster.kind == "torque")
    assert jobs["2a-sample"]["resources"]["walltime"] == "04:00:00"

    # and nothing twice
    printed = succeed(any_cluster.submit_all("--sample"))
    assert printed.splitlines() == [f"{name} done already" for name in SAMPLE_JOBS]
    assert any_cluster.run()[1] == []
    # but for a test that was cut off
    (any_cluster.tree / "2a/trials/sample/test.txt").unlink()
    succeed(any_cluster.submit_all("--sample", "2a"))
    assert scripts(any_cluster.run()[1]) == STEPS_2A[1:]


def test_a_dry_run_shows_what_would_be_submitted(any_cluster):
    any_cluster.write_trials("1a,default", "1a,mine,--note 'a 50%'", "3a,default", "3c,default")
    corpus = any_cluster.tree.parent / "My Data, or 'hers'" / "aclImdb"
    corpus.mkdir(parents=True)
    arguments = ["--imdb", corpus, "--trials", "all"]
    without_qsub = "/usr/bin:/bin" if any_cluster.kind == "torque" else any_cluster.environment["PATH"]
    printed = succeed(any_cluster.submit_all("--dry-run", *arguments, PATH=without_qsub))
    assert any_cluster.jobs() == {}
    # each line can be pasted, but for the ids of the jobs before
    for line in printed.splitlines():
        paste = re.sub(r"(after\w+):\S*", r"\1:1" + ".bw" * (any_cluster.kind != "slurm"), line)
        succeed(any_cluster.call("bash", "-c", paste))
    pasted = any_cluster.jobs()
    (any_cluster.spool / "jobs.json").unlink()
    succeed(any_cluster.submit_all(*arguments))
    assert (
        list(pasted) == list(any_cluster.jobs()) == ["preprocess", "1a-default", "1a-mine", "3a-default", "3c-default"]
    )
    jobs, calls = any_cluster.run()
    assert {job["status"] for job in jobs.values()} == {0}
    assert f"--imdb {corpus}" in calls[0]
    assert any("--trial mine --max-time 55 --note a 50%" in call for call in calls)


@pytest.mark.parametrize("fail", [PREPROCESSING, TRAIN_3A])
def test_a_failing_job_holds_back_what_depends_on_it(fail, cluster):
    succeed(cluster.submit_all("--sample"))
    jobs, calls = cluster.run(FAIL=fail)
    if fail == TRAIN_3A:
        assert [name for name, job in jobs.items() if job["status"]] == SAMPLE_JOBS[-3:]
        assert scripts(calls) == ALL_STEPS[: ALL_STEPS.index(TRAIN_3A) + 1]
    else:
        assert [jobs[name]["status"] for name in SAMPLE_JOBS[:-2]] == [ENDED_BADLY] * 5
    # submitted once more, it goes on from there
    succeed(cluster.submit_all("--sample"))
    jobs, calls = cluster.run()
    assert [step for step in ALL_STEPS if step in scripts(calls)] == scripts(calls)
    for part in ("3a", "3c"):
        assert (cluster.tree / part / "trials/sample/test.txt").exists()


def test_parts_and_trials(any_cluster):
    any_cluster.preprocess()
    printed = succeed(any_cluster.submit_all("--trials", "default,overfits,long", "1a", "2a"))
    ids = dict(line.split() for line in printed.splitlines())
    assert list(ids) == list(any_cluster.jobs()) == ["1a-default", "1a-overfits", "2a-default", "2a-long"]
    again = succeed(any_cluster.submit_all("--trials", "long", "2a"))
    assert again == f"2a-long waits or runs already: {ids['2a-long']}\n"
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


def test_a_trial_of_3c_starts_from_3as_of_the_same_name(cluster):
    cluster.preprocess()
    lines = [f"{part},{trial}" for part in ("3a", "3b", "3c") for trial in ("default", "dusk")]
    cluster.write_trials(*lines, "3c,own", "3c,dusk-in-may")
    # submitted in this call, then waiting from an earlier one; 3a's default is awaited by what has no 3a of its own
    succeed(cluster.submit_all("--trials", "default,dusk", "3a", "3b"))
    succeed(cluster.submit_all("--trials", "own", "3c"))
    waiting = cluster.jobs()
    ids = [waiting[f"3a-{trial}"]["id"] for trial in ("default", "dusk")]
    assert [waiting[f"3b-{trial}"]["depends_on"] for trial in ("default", "dusk")] == [["afterany", one] for one in ids]
    assert waiting["3c-own"]["depends_on"] == ["afterany", ids[0]]
    succeed(cluster.submit_all("--trials", "dusk-in-may", "3c"))
    assert cluster.jobs()["3c-dusk-in-may"]["depends_on"] == ["afterany", ids[1]]
    jobs, calls = cluster.run(FAIL="dusk")
    # that of 3a failed: the default one is not taken in its place
    assert not [call for call in calls if call.startswith("3b") and "dusk" in call]
    assert [jobs[name]["status"] for name in ("3a-dusk", "3b-dusk", "3c-own", "3c-dusk-in-may")] == [1, 1, 0, 1]
    done = cluster.submit_all("--trials", "dusk", "3b", "3c")
    assert succeed(done) == ""
    for part in ("3b", "3c"):
        assert f"{part}-dusk not submitted, there is no 3a/trials/dusk/language.model: submit 3a too" in done.stderr
    succeed(cluster.submit_all("--trials", "default,dusk", "3a", "3b", "3c"))
    calls += cluster.run()[1]
    for script, option in (("3b/generate_review.py", "--model"), ("3c/RNN_sentiment_analysis.py", "--language-model")):
        models = {call.split(f" {option} ")[1].split()[0] for call in calls if call.startswith(script)}
        assert models == {"3a/language.model", "3a/trials/dusk/language.model"}
    # one that is given wins
    (cluster.tree / "3c/trials/dusk/rnn.model").unlink()
    succeed(cluster.submit_all("--trials", "dusk", "3c", LANGUAGE_MODEL="3a/language.model"))
    assert "--language-model 3a/language.model" in cluster.run()[1][0]


# --------------------------------------------------------------------------------------------- side by side

SIDE_BY_SIDE = ["--trials", "all", "--side-by-side"]


def trained_trials(calls):
    return sorted(call.split(" --trial ")[1].split()[0] for call in calls if " --trial " in call)


@TWO_KINDS
def test_one_job_runs_trials_side_by_side(any_cluster):
    any_cluster.preprocess()
    any_cluster.write_trials("1a,alone", "2a,a", "2a,b", "2a,c", "2a,d")
    printed = succeed(any_cluster.submit_all(*SIDE_BY_SIDE, "2"))
    ids = [job["id"] for job in load(any_cluster.spool)]
    assert printed == f"1a-alone {ids[0]}\n2a-trials {ids[1]} (a b c d)\n"
    again = succeed(any_cluster.submit_all(*SIDE_BY_SIDE, "2"))
    assert again.splitlines()[1:] == [f"2a-{trial} waits or runs already: {ids[1]}" for trial in "abcd"]
    jobs, calls = any_cluster.run(FAIL="c")
    assert [job["status"] for job in jobs.values()] == [0, 1]
    assert trained_trials(calls) == ["a", "alone", "b", "c", "d"]
    # they are started where the launcher starts what runs on the node
    assert all(LAUNCHED[any_cluster.kind] in call for call in calls)
    assert all(" --max-time 235 " in call + " " for call in calls if " --trial " in call and "alone" not in call)
    assert "== 2a-c ends with status 1\n" in (any_cluster.tree / "jobs/2a-trials.out").read_text()
    assert "error: failed: 2a-c; " in errors(any_cluster, jobs["2a-trials"])
    # and only that is submitted once more
    succeed(any_cluster.submit_all(*SIDE_BY_SIDE, "2"))
    assert trained_trials(any_cluster.run()[1]) == ["c"]


@pytest.mark.parametrize(
    ("words", "settings", "threads"),
    [
        (["1a"], {}, "8"),
        (["1a"], {"GPUS": "2", "NODE_KIND": "ncpus=8:ngpus=2"}, "4"),
        ([*SIDE_BY_SIDE, "4", "1a"], {}, "2"),
        ([*SIDE_BY_SIDE, "20", "1a"], {}, "1"),
    ],
)
def test_what_runs_in_one_job_of_pbs_pro_shares_its_cores(words, settings, threads, tmp_path):
    cluster = Cluster(tmp_path, "pbspro")
    cluster.preprocess()
    cluster.write_trials("1a,default", "1a,other")
    succeed(cluster.submit_all(*words, **settings))
    assert {job["status"] for job in cluster.run()[0].values()} == {0}
    assert {line.split()[2] for line in (cluster.tree / "alongside").read_text().splitlines()} == {threads}


@TWO_KINDS
def test_trials_side_by_side_go_on_in_a_further_job(any_cluster):
    any_cluster.preprocess()
    any_cluster.write_trials(*(f"{part},{trial}" for part in ("3a", "3c") for trial in "abc"))
    succeed(any_cluster.submit_all(*SIDE_BY_SIDE, "3", QUEUE="gpu", WALLTIME="00:30:00"))
    first, waiting = load(any_cluster.spool)
    assert waiting["depends_on"] == ["afterany", first["id"]]
    _, calls = any_cluster.run(SLOW="c", FAIL="b")
    jobs = load(any_cluster.spool)
    trained = [call for call in calls if call.startswith(TRAIN_3A)]
    # a is done, and b, which failed, has a second try
    assert trained_trials(trained) == ["a", "b", "b", "c", "c"]
    assert len([call for call in trained if "--resume" in call]) == 2
    if any_cluster.kind == "slurm":
        goes_on, waiting = jobs
        assert goes_on["restarts"] == 1
    else:
        _, waiting, goes_on, *_ = jobs  # and that of 3c
        assert goes_on["depends_on"] == ["afterany", first["id"]]
        assert (goes_on["resources"], goes_on["queue"]) == (first["resources"], "gpu")
    assert (any_cluster.tree / "jobs/3a-b.id").read_text() == goes_on["id"] + "\n"
    assert waiting["depends_on"] == ["afterany", goes_on["id"]]
    # the one that fails holds back only what needs it
    assert goes_on["status"] == 1
    for part in ("3a", "3c"):
        assert {path.parts[-2] for path in any_cluster.tree.glob(f"{part}/trials/*/test.txt")} == {"a", "c"}


def test_a_trial_for_which_no_time_is_left_waits_for_the_further_job(cluster):
    cluster.preprocess()
    cluster.write_trials(*(f"2a,{trial}" for trial in "abcd"))
    succeed(cluster.submit_all(*SIDE_BY_SIDE, "2", WALLTIME="00:06:00"))
    # each training takes 40 of the 60 seconds
    cluster.write_command("date", "#!/bin/bash\nset -- 2a/trials/*/rnn.model\n[ -e $1 ] || shift\necho $((40 * $#))\n")
    _, calls = cluster.run()
    assert trained_trials(calls) == ["a", "b", "c", "d"]
    assert all(" --max-time 1 " in call + " " for call in calls if " --trial " in call)
    jobs = load(cluster.spool)
    assert len(jobs) > 1
    assert {job["status"] for job in jobs} == {0}


# ------------------------------------------------------------------------------------------ usage, settings


def test_what_cannot_run_is_not_submitted(cluster):
    refused(cluster.submit_all(), "nothing in preprocessed_data: give --imdb")
    cluster.preprocess()
    done = cluster.submit_all("1b", "3c")
    assert succeed(done) == ""
    assert done.stderr.splitlines() == [
        "1b-default not submitted, there is no preprocessed_data/imdb_train_glove.txt: give --glove FILE",
        "3c-default not submitted, there is no 3a/language.model: submit 3a too",
    ]
    refused(cluster.submit_all("4a"), "4a is no option and no part; bash jobs/submit_all.sh --help")
    for settings in ({"GPUS": "4"}, {"NODES": "2"}):
        refused(cluster.submit_all("--side-by-side", "4", "2a", **settings), "set NODES=1 GPUS=1")
    assert cluster.jobs() == {}
    assert succeed(cluster.submit_all("--help")).startswith("Submits the jobs of all parts")


def test_the_settings_reach_a_job(any_cluster):
    any_cluster.preprocess()
    given = {
        "NLTK_DATA": "/data/nltk",
        "OMP_NUM_THREADS": "4",
        "NCCL_DEBUG": "INFO",
        "OTHER": "1",
        "WALLTIME": "00:10:00",
    }
    word = {"torque": "1:ppn=8", "pbspro": "1:ncpus=4:ngpus=2", "slurm": "8"}[any_cluster.kind]
    kind = "--cpus-per-task=8 --gpus-per-node=1" if any_cluster.kind == "slurm" else word[2:]
    options = "--qos=debug" if any_cluster.kind == "slurm" else "-q debug"
    succeed(any_cluster.submit_all("1a", **given, NODE_KIND=kind, SUBMIT_OPTIONS=options))
    (job,) = any_cluster.jobs().values()
    if any_cluster.kind != "slurm":
        assert "OTHER" not in job["variables"]  # qsub passes what is named
        assert job["umask"] == f"{os.umask(os.umask(0o022)):04o}"
        del given["OTHER"]
    assert given.items() <= job["variables"].items()
    assert word in job["resources"].values()
    assert "debug" in (job["queue"], job.get("qos"))
    assert {job["status"] for job in any_cluster.run()[0].values()} == {0}
    # a second list would hold in place of the first
    options = "--export=NAME=1" if any_cluster.kind == "slurm" else "-v NAME=1"
    refused(any_cluster.submit_all("1a", SUBMIT_OPTIONS=options), "SUBMIT_OPTIONS", "PASS")


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


@pytest.mark.parametrize(("kind", "command"), [("torque", "qsub"), ("slurm", "sbatch")])
def test_without_a_cluster(kind, command, cluster):
    bare = cluster.tree.parent / "bare"  # has no batch system's command
    bare.mkdir()
    for name in ("bash", "dirname", "realpath"):
        (bare / name).symlink_to(shutil.which(name))
    refused(cluster.submit_all("--sample", PATH=str(bare), SCHEDULER=kind), f"no {command}", "--dry-run")
