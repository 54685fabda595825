"""A little Torque, PBS Pro or Slurm in the place of a real one: their commands, called by their names, and `run_jobs`.

Its jobs lie in the file jobs.json of the folder BATCH_SPOOL; BATCH_KIND says which it is. What it does not know is an
error. While the file "silent" there holds a number, so many commands that ask something get no answer. A job that is to
be preempted (stand_ins/python) stands in the file "preempted".
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path

ENDED_BADLY = "deleted: what it waited for ended badly"
SPOOL, KIND = Path(os.environ.get("BATCH_SPOOL", ".")), os.environ.get("BATCH_KIND")


def load(spool=SPOOL):
    path = Path(spool) / "jobs.json"
    return json.loads(path.read_text()) if path.exists() else []


def store(jobs, spool=SPOOL):
    (Path(spool) / "jobs.json").write_text(json.dumps(jobs, indent=1))


def answer():
    """Ends the command as one ends that the server does not answer, if it is to be silent."""
    silent = SPOOL / "silent"
    left = int(silent.read_text()) if silent.exists() else 0
    if left:
        silent.write_text(str(left - 1))
        sys.exit("Unable to contact the server: Connection refused")


def add(job, ending, depends_on):
    """Stores the job and prints its id, a number and the `ending`."""
    jobs = load()
    job_id = f"{len(jobs) + 1}{ending}"
    jobs.append({**job, "id": job_id, "workdir": os.getcwd(), "depends_on": dependency_of(depends_on), "status": None})
    store(jobs)
    print(job_id)


def dependency_of(text):
    """["afterok", ids...] from "afterok:id:id..."."""
    if not text:
        return None
    kind, *ids = text.split(":")
    assert kind in ("afterok", "afterany")
    assert {*ids} <= {job["id"] for job in load()}, ids
    return [kind, *ids]


def of_id(jobs, job_id):
    """The job of an id, or all, in a list."""
    return [job for job in jobs if job_id in (None, job["id"])]


# ------------------------------------------------------------------------------------------ Torque and PBS Pro


def job_parser():
    parser = argparse.ArgumentParser("qsub")
    for flag, name in {"-N": "name", "-o": "output", "-e": "error", "-q": "queue", "-A": "account"}.items():
        parser.add_argument(flag, dest=name)
    parser.add_argument("-S", choices=["/bin/bash"])
    parser.add_argument("-m", choices=["ae"])
    parser.add_argument("-l", dest="resources", action="append", default=[])
    parser.add_argument("-W", dest="attributes", action="append", default=[])
    parser.add_argument("-v", dest="variables", default="")  # of several the last one holds
    parser.add_argument("-C", dest="prefix", default="#PBS")
    if KIND == "pbspro":
        parser.add_argument("-k", choices=["doe"])
    return parser


def qsub(arguments):
    parser = job_parser()
    parser.add_argument("script", type=Path)
    options = parser.parse_args(arguments)
    text = options.script.read_text()
    lines = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(options.prefix + " ")]
    directives = job_parser().parse_args([word for line in lines for word in shlex.split(line)])
    resources = dict(text.split("=", 1) for text in directives.resources + options.resources)
    if KIND == "torque":
        assert resources.keys() == {"nodes", "walltime"}
        assert re.fullmatch(r"\d+:ppn=\d+(:\w+)?", resources["nodes"]), resources
    else:  # else "qsub: Cannot be used with select or place: nodes"
        assert {"select", "walltime"} <= resources.keys() <= {"select", "walltime", "place"}
        assert re.fullmatch(r"\d+:ncpus=\d+:ngpus=\d+", resources["select"]), resources
        # where nothing is said of it, chunks may share a node
        assert resources["select"].startswith("1:") or resources["place"] == "scatter"
    assert re.fullmatch(r"\d+:\d\d:\d\d", resources["walltime"]), resources
    attributes = dict(text.split("=", 1) for text in options.attributes)
    assert attributes.keys() <= {"depend", "umask"}
    name = options.name or directives.name
    assert re.fullmatch(r"[A-Za-z]\S{0,14}", name), name  # what Torque allows
    variables = [variable.partition("=") for variable in filter(None, options.variables.split(","))]
    # qsub drops quotes and backslashes, and cuts a text at a comma
    assert not any(re.search(r"""['"\\,]""", os.environ[key]) for key, sign, _ in variables if not sign)
    job = {
        "script": text,
        "name": name,
        "output": options.output or f"{name}.o",
        "error": options.error or f"{name}.e",
        "resources": resources,
        "queue": options.queue,
        "account": options.account,
        "variables": {key: value if sign else os.environ[key] for key, sign, value in variables},
        "umask": attributes.get("umask", "077"),
    }
    add(job, ".bw", attributes.get("depend"))


def qalter(arguments):
    answer()
    (option, depend, job_id) = arguments
    assert (option, depend[:7]) == ("-W", "depend=")
    jobs = load()
    (job,) = of_id(jobs, job_id)
    job["depends_on"] = dependency_of(depend[7:])
    store(jobs)


def qstat(arguments):
    answer()
    (option, job_id) = (*arguments, None)[:2]
    assert option == "-f"
    jobs = of_id(load(), job_id)
    if not jobs and job_id:
        sys.exit(f"qstat: Unknown Job Id {job_id}")
    if KIND == "pbspro":
        jobs = [job for job in jobs if job["status"] is None]
        if not jobs and job_id:
            sys.exit(f"qstat: {job_id} Job has finished")
    for job in jobs:
        print(f"Job Id: {job['id']}\n    job_state = {'R' if job['status'] is None else 'C'}")
        # what waits for this job is not told: OpenPBS tells those that waited when it was asked first
        if job["depends_on"]:
            kind, *ids = job["depends_on"]
            # a long line goes on in the next one, after a tab
            line = f"    depend = {kind}{''.join(f':{one}@bw' for one in ids)}"
            print("\n\t".join(re.findall(".{1,16}", line)))
        if job["account"]:
            print(f"    Account_Name = {job['account']}")
        for name, value in job["resources"].items():
            print(f"    Resource_List.{name} = {value}")
        print("    Variable_List = PBS_O_HOME=/home/student,\n\tPBS_O_HOST=bw\n")


# ------------------------------------------------------------------------------------------------------ Slurm


def sbatch(arguments):
    parser = argparse.ArgumentParser("sbatch", allow_abbrev=False)
    for flag in ("parsable", "ignore-pbs", "requeue"):
        parser.add_argument(f"--{flag}", action="store_true", required=True)
    for name in ("job-name", "output", "error", "nodes", "time", "cpus-per-task", "gpus-per-node", "mail-type"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--open-mode", choices=["append"], required=True)
    parser.add_argument("--kill-on-invalid-dep", choices=["yes"], required=True)
    for name in ("dependency", "partition", "account", "qos"):
        parser.add_argument(f"--{name}")
    parser.add_argument("script", type=Path)
    options = parser.parse_args(arguments)
    job = {
        "script": options.script.read_text(),
        "name": options.job_name,
        "output": options.output,
        "error": options.error,
        "resources": {"nodes": options.nodes, "cpus": options.cpus_per_task, "walltime": options.time},
        "queue": options.partition,
        "qos": options.qos,
        "account": options.account,
        "variables": dict(os.environ),
        "restarts": 0,
    }
    add(job, "", options.dependency)


def squeue(arguments):
    answer()
    (no_header, option, job_id, format_option, output) = arguments
    assert (no_header, option) == ("-h", "-j")
    (job,) = of_id(load(), job_id) or sys.exit("slurm_load_jobs error: Invalid job id specified")
    preempted = SPOOL / "preempted"
    if job["status"] is None:
        is_preempted = preempted.exists() and preempted.read_text() == job["id"]
        told = {
            # Slurm leaves out hours that are none
            ("-o", "%L"): job["resources"]["walltime"].removeprefix("00:"),
            ("-o", "job_state = %i"): f"job_state = {job['id']}",
            ("-O", "PreemptTime"): "2026-11-26T14:03:20 " if is_preempted else "N/A                 ",
        }
        print(told[format_option, output])


def sinfo(arguments):
    answer()
    (no_header, *partition, option, output) = arguments
    assert (no_header, partition[:1], option, output) == ("-h", ["-p"] if partition else [], "-o", "%P %l")
    for name, limit in {"gpu": "infinite", "normal*": "1-00:00:00", "short": "30:00"}.items():
        if not partition or partition[1] == name:
            print(name, limit)


def scontrol(arguments):
    answer()
    (command, job_id) = arguments
    assert command == "requeue"
    jobs = load()
    (job,) = of_id(jobs, job_id)
    job["requeued"], job["status"] = True, None
    store(jobs)


# --------------------------------------------------------------------------------------------------- launchers

# what each is told, and the variable in which it tells a process its number
CPUS = os.environ.get("SLURM_CPUS_ON_NODE")
LAUNCHERS = {
    "aprun": (r"-n (\d+) -N 1 -d 16", "ALPS_APP_PE"),
    "mpiexec": (r"-n (\d+) -ppn 1", "PMI_RANK"),
    "srun": (rf"--nodes=(\d+) --ntasks-per-node=1 --cpus-per-task={CPUS}", "SLURM_PROCID"),
}


def launch(name, arguments):
    """Starts the processes and waits for them all."""
    pattern, rank_name = LAUNCHERS[name]
    options = re.match(pattern + " ", " ".join(arguments))
    command = arguments[len(options[0].split()) :]
    ranks = [{**os.environ, rank_name: str(n)} for n in range(int(options[1]))]
    processes = [os.posix_spawnp(command[0], command, environment) for environment in ranks]
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) % 256 for process in processes))


# ---------------------------------------------------------------------------------------------------- its work


def is_ready(job, jobs):
    """Whether what the job waits for has ended as it must; what never will is marked."""
    if job["status"] is not None or job["depends_on"] is None:
        return job["status"] is None
    kind, *ids = job["depends_on"]
    before = [other["status"] for other in jobs if other["id"] in ids]
    if None in before:
        return False
    if kind == "afterok" and any(before):
        job["status"] = ENDED_BADLY
    return job["status"] is None


def told(job, spool):
    """What the batch system sets in the job's environment."""
    if "restarts" not in job:
        cores = re.search(r":ncpus=(\d+)", job["resources"].get("select", ""))
        return {
            **({"OMP_NUM_THREADS": cores[1]} if cores else {}),  # PBS Pro's, in place of the user's
            "PBS_JOBID": job["id"],
            "PBS_JOBCOOKIE": f"{spool} {job['id']}",
            "PBS_O_WORKDIR": job["workdir"],
            "PBS_O_QUEUE": job["queue"] or "batch",
            "PBS_NODEFILE": str(spool / "nodes"),
        }
    return {
        "SLURM_JOB_ID": job["id"],
        "SLURM_CPUS_ON_NODE": job["resources"]["cpus"],
        "SLURM_SUBMIT_DIR": job["workdir"],
        "SLURM_JOB_NUM_NODES": job["resources"]["nodes"],
        **({"SLURM_RESTART_COUNT": str(job["restarts"])} if job["restarts"] else {}),
    }


def end_all(spool):
    """Ends the processes of the jobs; a Python prints what each of its threads does."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it may have ended by itself
            if f"BATCH_SPOOL={spool}".encode() in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGABRT)
    time.sleep(1)  # they print


def run_jobs(spool, environment):
    """Runs all jobs that can run, one after the other, each with `environment` and its own; returns them all."""
    import subprocess  # the commands need not load it

    while True:
        jobs = load(spool)
        ready = [job for job in jobs if is_ready(job, jobs)]
        store(jobs, spool)
        if not ready:
            return jobs
        job = ready[0]
        nodes = int(job["resources"].get("nodes", job["resources"].get("select")).split(":")[0])
        names = environment.get("BATCH_NODES", "7 8 9 10").split()
        (spool / "nodes").write_text("".join(f"{name}\n" * 16 for name in names[:nodes]))
        (spool / "script").write_text(job["script"])
        workdir = Path(job["workdir"])
        mode = "a" if "restarts" in job else "w"
        with open(workdir / job["output"], mode) as output, open(workdir / job["error"], mode) as error:
            try:
                status = subprocess.run(
                    ["/bin/bash", spool / "script"],
                    cwd=spool,
                    stdout=output,
                    stderr=error,
                    timeout=300,
                    umask=int(job.get("umask", "022"), 8),
                    env={**environment, **job["variables"], **told(job, spool), "PYTHONFAULTHANDLER": "1"},
                ).returncode
            except subprocess.TimeoutExpired:
                end_all(spool)
                texts = ((workdir / job[name]).read_text() for name in ("output", "error"))
                raise AssertionError("\n".join(["the job does not end; its output and its stacks:", *texts])) from None
        jobs = load(spool)  # the job may have submitted others
        job = next(other for other in jobs if other["id"] == job["id"])
        (spool / "preempted").unlink(missing_ok=True)
        if job.pop("requeued", False):
            job["restarts"] += 1
        else:
            job["status"] = status
        store(jobs, spool)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    if name in LAUNCHERS:
        launch(name, sys.argv[1:])
    {f.__name__: f for f in (qsub, qstat, qalter, sbatch, squeue, sinfo, scontrol)}[name](sys.argv[1:])
