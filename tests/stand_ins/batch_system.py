"""A little Torque, PBS Pro or Slurm in the place of a real one: their commands, called by their names, and `run_jobs`.

Its jobs lie in the file jobs.json of the folder BATCH_SPOOL; BATCH_KIND says which it is. What it does not know is an
error.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ENDED_BADLY = "deleted: what it waited for ended badly"


def load(spool):
    path = Path(spool) / "jobs.json"
    return json.loads(path.read_text()) if path.exists() else []


def store(spool, jobs):
    (Path(spool) / "jobs.json").write_text(json.dumps(jobs, indent=1))


def add(spool, new_id, count, job):
    """Stores the job, or one for each index of an array, and returns the id, `new_id` of the number and the index."""
    jobs = load(spool)
    number = len({other["submitted_as"] for other in jobs}) + 1
    whole = new_id(number, "" if count else None)
    for index in range(1, count + 1) if count else [None]:
        jobs.append({**job, "id": new_id(number, index), "submitted_as": whole, "index": index, "status": None})
    store(spool, jobs)
    return whole


def dependency_of(text, jobs):
    """["afterok", id] from "afterok:id"."""
    if not text:
        return None
    kind, job_id = re.fullmatch(r"(afterok|afterany):([\w.\[\]]+)", text).groups()
    assert job_id in [job["submitted_as"] for job in jobs], job_id
    return [kind, job_id]


# ------------------------------------------------------------------------------------------ Torque and PBS Pro


def job_parser(kind):
    parser = argparse.ArgumentParser("qsub")
    parser.add_argument("-N", dest="name")
    parser.add_argument("-o", dest="output")
    parser.add_argument("-e", dest="error")
    parser.add_argument("-S", dest="shell", choices=["/bin/bash"])
    parser.add_argument("-m", dest="mail", choices=["a", "ae", "abe"])
    parser.add_argument("-l", dest="resources", action="append", default=[])
    parser.add_argument("-W", dest="attributes")
    parser.add_argument("-v", dest="variables", default="")
    parser.add_argument("-q", dest="queue")
    parser.add_argument("-A", dest="account")
    parser.add_argument("-C", dest="prefix", default="#PBS")
    parser.add_argument("-t" if kind == "torque" else "-J", dest="array")
    return parser


def qsub(arguments, spool, kind):
    parser = job_parser(kind)
    parser.add_argument("script", type=Path)
    options = parser.parse_args(arguments)
    text = options.script.read_text()
    lines = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(options.prefix + " ")]
    directives = job_parser(kind).parse_args([word for line in lines for word in shlex.split(line)])
    resources = dict(text.split("=", 1) for text in directives.resources + options.resources)
    if kind == "torque":
        assert resources.keys() == {"nodes", "walltime"}
        assert re.fullmatch(r"\d+:ppn=16:xk", resources["nodes"]), resources
    else:  # else "qsub: Cannot be used with select or place: nodes"
        assert resources.keys() == {"select", "walltime"}
        assert re.fullmatch(r"\d+:ncpus=\d+:ngpus=\d+", resources["select"]), resources
    assert re.fullmatch(r"\d+:\d\d:\d\d", resources["walltime"]), resources
    name = options.name or directives.name
    assert re.fullmatch(r"[A-Za-z]\S{0,14}", name), name  # what Torque allows
    variables = {}
    for variable in filter(None, options.variables.split(",")):
        key, sign, value = variable.partition("=")
        variables[key] = value if sign else os.environ[key]
    job = {
        "script": text,
        "name": name,
        "output": options.output or directives.output,
        "error": options.error or directives.error,
        "mail": options.mail or directives.mail,
        "resources": resources,
        "queue": options.queue,
        "account": options.account,
        "variables": variables,
        "workdir": os.getcwd(),
        "depends_on": dependency_of((options.attributes or "").removeprefix("depend="), load(spool)),
    }
    count = int(re.fullmatch(r"1-(\d+)", options.array)[1]) if options.array else 0
    print(add(spool, lambda number, index: f"{number}.bw" if index is None else f"{number}[{index}].bw", count, job))


def qalter(arguments, spool, kind):
    parser = argparse.ArgumentParser("qalter")
    parser.add_argument("-W", dest="attributes", required=True)
    parser.add_argument("job_id")
    options = parser.parse_args(arguments)
    jobs = load(spool)
    waiting = [job for job in jobs if job["submitted_as"] == options.job_id]
    assert waiting
    for job in waiting:
        job["depends_on"] = dependency_of(options.attributes.removeprefix("depend="), jobs)
    store(spool, jobs)


def qstat(arguments, spool, kind):
    parser = argparse.ArgumentParser("qstat")
    parser.add_argument("-f", dest="job_id", required=True)
    job_id = parser.parse_args(arguments).job_id
    jobs = load(spool)
    (job,) = [job for job in jobs if job["id"] == job_id] or sys.exit("qstat: Unknown Job Id")
    state = "R" if job["status"] is None else "C" if kind == "torque" else sys.exit("qstat: Job has finished")
    print(f"Job Id: {job_id}\n    Job_Name = {job['name']}\n    job_state = {state}")
    waiting = []
    for end in ("ok", "any"):
        ids = {other["submitted_as"]: 1 for other in jobs if other["depends_on"] == [f"after{end}", job_id]}
        waiting += [f"before{end}:{':'.join(f'{other}@bw' for other in ids)}"] if ids else []
    if waiting:
        # a long line goes on in the next one, after a tab
        print("\n\t".join(re.findall(".{1,30}", f"    depend = {','.join(waiting)}")))
    if job["account"]:
        print(f"    Account_Name = {job['account']}")
    for name, value in job["resources"].items():
        print(f"    Resource_List.{name} = {value}")
    print("    Variable_List = PBS_O_HOME=/home/student,\n\tPBS_O_HOST=bw\n")


# ------------------------------------------------------------------------------------------------------ Slurm


def sbatch(arguments, spool, kind):
    parser = argparse.ArgumentParser("sbatch", allow_abbrev=False)
    for flag in ("parsable", "ignore-pbs", "requeue"):
        parser.add_argument(f"--{flag}", action="store_true", required=True)
    for name in ("job-name", "output", "error", "nodes", "time", "open-mode", "mail-type", "kill-on-invalid-dep"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("ntasks-per-node", "cpus-per-task", "gpus-per-node"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("dependency", "array", "partition", "account"):
        parser.add_argument(f"--{name}")
    parser.add_argument("script", type=Path)
    options = parser.parse_args(arguments)
    assert (options.open_mode, options.kill_on_invalid_dep) == ("append", "yes")
    job = {
        "script": options.script.read_text(),
        "name": options.job_name,
        "output": options.output,
        "error": options.error,
        "mail": options.mail_type,
        "resources": {"nodes": options.nodes, "gpus": options.gpus_per_node, "walltime": options.time},
        "queue": options.partition,
        "account": options.account,
        "variables": {**os.environ, "SLURM_NTASKS": str(int(options.nodes) * options.ntasks_per_node)},
        "workdir": os.getcwd(),
        "depends_on": dependency_of(options.dependency, load(spool)),
        "restarts": 0,
    }
    count = int(re.fullmatch(r"1-(\d+)", options.array)[1]) if options.array else 0
    print(add(spool, lambda number, index: f"{number}_{index}" if index else str(number), count, job))


def squeue(arguments, spool, kind):
    parser = argparse.ArgumentParser("squeue", add_help=False)
    parser.add_argument("-h", dest="no_header", action="store_true", required=True)
    parser.add_argument("-j", dest="job_id", required=True)
    parser.add_argument("-o", dest="format", choices=["%L"])
    options = parser.parse_args(arguments)
    for job in load(spool):
        if job["id"] == options.job_id and job["status"] is None:
            left = job["resources"]["walltime"]
            # Slurm leaves out hours that are none
            print(left.removeprefix("00:") if options.format else f"{job['id']} gpu {job['name']} student R")


def scontrol(arguments, spool, kind):
    (command, job_id) = arguments
    assert command == "requeue"
    jobs = load(spool)
    (job,) = [job for job in jobs if job["id"] == job_id]
    job["requeued"] = True
    store(spool, jobs)


# ---------------------------------------------------------------------------------------------------- its work


def is_ready(job, jobs):
    """Whether what the job waits for has ended as it must; what never will is marked."""
    if job["status"] is not None:
        return False
    if job["depends_on"] is None:
        return True
    kind, job_id = job["depends_on"]
    before = [other["status"] for other in jobs if other["submitted_as"] == job_id]
    if None in before:
        return False
    if kind == "afterok" and any(before):
        job["status"] = ENDED_BADLY
    return job["status"] is None


def told(job, spool):
    """What the batch system sets in the job's environment."""
    if "restarts" in job:
        variables = {
            "SLURM_JOB_ID": job["id"],
            "SLURM_SUBMIT_DIR": job["workdir"],
            "SLURM_JOB_NUM_NODES": job["resources"]["nodes"],
            **({"SLURM_RESTART_COUNT": str(job["restarts"])} if job["restarts"] else {}),
        }
        index_name = "SLURM_ARRAY_TASK_ID"
    else:
        variables = {
            "PBS_JOBID": job["id"],
            "PBS_JOBNAME": job["name"],
            "PBS_O_WORKDIR": job["workdir"],
            "PBS_O_QUEUE": job["queue"] or "batch",
            "PBS_NODEFILE": str(Path(spool) / "nodes"),
        }
        index_name = "PBS_ARRAYID" if "nodes" in job["resources"] else "PBS_ARRAY_INDEX"
    return {**variables, **({index_name: str(job["index"])} if job["index"] else {})}


def run_jobs(spool, environment):
    """Runs all jobs that can run, one after the other, each with `environment` and its own; returns them all."""
    while True:
        jobs = load(spool)
        ready = [job for job in jobs if is_ready(job, jobs)]
        store(spool, jobs)
        if not ready:
            return jobs
        job = ready[0]
        nodes = int(job["resources"].get("nodes", job["resources"].get("select")).split(":")[0])
        (Path(spool) / "nodes").write_text("".join(f"{7 + node}\n" * 16 for node in range(nodes)))
        (Path(spool) / "script").write_text(job["script"])
        workdir = Path(job["workdir"])
        mode = "a" if "restarts" in job else "w"
        with open(workdir / job["output"], mode) as output, open(workdir / job["error"], mode) as error:
            status = subprocess.run(
                ["/bin/bash", Path(spool) / "script"],
                cwd=spool,
                stdout=output,
                stderr=error,
                timeout=120,
                env={**environment, **job["variables"], **told(job, spool)},
            ).returncode
        jobs = load(spool)  # the job may have submitted others
        job = next(other for other in jobs if other["id"] == job["id"])
        if job.pop("requeued", False):
            job["restarts"] += 1
        else:
            job["status"] = status
        store(spool, jobs)


if __name__ == "__main__":
    commands = {f.__name__: f for f in (qsub, qstat, qalter, sbatch, squeue, scontrol)}
    commands[Path(sys.argv[0]).name](sys.argv[1:], os.environ["BATCH_SPOOL"], os.environ["BATCH_KIND"])
