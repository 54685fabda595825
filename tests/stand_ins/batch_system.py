"""A little Torque, PBS Pro or Slurm in the place of a real one: their commands, called by their names, and `run_jobs`.

Its jobs lie in the file jobs.json of the folder BATCH_SPOOL; BATCH_KIND says which it is. What it does not know is an
error. While the file "silent" there holds a number, so many commands that ask something get no answer. A job that is to
be preempted (stand_ins/python) stands in the file "preempted".
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
        # Slurm gives an array's tasks numbers of their own when they start, but the last one the array's
        own = whole if index in (None, count) else f"{number}00{index}"
        names = {"id": new_id(number, index), "submitted_as": whole, "number": own, "index": index}
        jobs.append({**job, **names, "status": None})
    store(spool, jobs)
    return whole


def answer(spool):
    """Ends the command as one ends that the server does not answer, if it is to be silent."""
    silent = Path(spool) / "silent"
    left = int(silent.read_text()) if silent.exists() else 0
    if left:
        silent.write_text(str(left - 1))
        sys.exit("Unable to contact the server: Connection refused")


def dependency_of(text, jobs):
    """["afterok", id] from "afterok:id"."""
    if not text:
        return None
    kind, job_id = re.fullmatch(r"(afterok|afterany):([\w.\[\]]+)", text).groups()
    assert job_id in [job["submitted_as"] for job in jobs], job_id
    return [kind, job_id]


def throttle_of(text):
    """How many of the array "1-3%2" may run at once, as text; None for all."""
    return re.fullmatch(r"1-\d+(?:%(\d+))?", text)[1] if text else None


# ------------------------------------------------------------------------------------------ Torque and PBS Pro


def job_parser(kind):
    parser = argparse.ArgumentParser("qsub")
    parser.add_argument("-N", dest="name")
    parser.add_argument("-o", dest="output")
    parser.add_argument("-e", dest="error")
    parser.add_argument("-S", dest="shell", choices=["/bin/bash"])
    parser.add_argument("-m", dest="mail", choices=["a", "ae", "abe"])
    parser.add_argument("-l", dest="resources", action="append", default=[])
    parser.add_argument("-W", dest="attributes", action="append", default=[])
    parser.add_argument("-v", dest="variables", default="")  # of several the last one holds
    parser.add_argument("-q", dest="queue")
    parser.add_argument("-A", dest="account")
    parser.add_argument("-C", dest="prefix", default="#PBS")
    parser.add_argument("-t" if kind == "torque" else "-J", dest="array")
    if kind == "pbspro":
        parser.add_argument("-k", dest="keep", choices=["doe"])
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
        assert {"nodes", "walltime"} <= resources.keys() <= {"nodes", "walltime", "mem", "qos"}
        assert re.fullmatch(r"\d+:ppn=\d+(:\w+)?", resources["nodes"]), resources
    else:  # else "qsub: Cannot be used with select or place: nodes"
        assert {"select", "walltime"} <= resources.keys() <= {"select", "walltime", "place"}
        assert re.fullmatch(r"\d+:ncpus=\d+(:ngpus=\d+)?(:mem=\w+)?", resources["select"]), resources
        # where nothing is said of it, chunks may share a node
        assert resources["select"].startswith("1:") or resources["place"] == "scatter"
    assert re.fullmatch(r"\d+:\d\d:\d\d", resources["walltime"]), resources
    attributes = dict(text.split("=", 1) for text in options.attributes)
    assert attributes.keys() <= {"depend", "umask"}
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
        "depends_on": dependency_of(attributes.get("depend"), load(spool)),
        "umask": attributes.get("umask", "077"),
        "throttle": throttle_of(options.array),
    }
    count = int(re.match(r"1-(\d+)", options.array)[1]) if options.array else 0
    print(add(spool, lambda number, index: f"{number}.bw" if index is None else f"{number}[{index}].bw", count, job))


def qalter(arguments, spool, kind):
    answer(spool)
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
    answer(spool)
    parser = argparse.ArgumentParser("qstat")
    parser.add_argument("-f", action="store_true", required=True)
    parser.add_argument("job_id", nargs="?")
    job_id = parser.parse_args(arguments).job_id
    jobs = [job for job in load(spool) if job_id in (None, job["id"])]
    if not jobs and job_id:
        sys.exit(f"qstat: Unknown Job Id {job_id}")
    for job in jobs:
        if job["status"] is not None and kind == "pbspro" and job_id:
            sys.exit(f"qstat: {job_id} Job has finished")
        if job["status"] is None or kind == "torque":
            print_job(job)


def print_job(job):
    name = job["submitted_as"] if job["depends_on"] else job["id"]  # an array that waits is one job
    print(f"Job Id: {name}\n    Job_Name = {job['name']}\n    job_state = {'R' if job['status'] is None else 'C'}")
    # what waits for this job is not told: OpenPBS tells those that waited when it was asked first
    if job["depends_on"]:
        # a long line goes on in the next one, after a tab
        print("\n\t".join(re.findall(".{1,16}", f"    depend = {':'.join(job['depends_on'])}@bw")))
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
    for name in ("cpus-per-task", "gpus-per-node"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("dependency", "array", "partition", "account", "qos", "mem"):
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
        "resources": {
            "nodes": options.nodes,
            "cpus": options.cpus_per_task,
            "gpus": options.gpus_per_node,
            "mem": options.mem,
            "walltime": options.time,
        },
        "queue": options.partition,
        "qos": options.qos,
        "account": options.account,
        "variables": dict(os.environ),
        "workdir": os.getcwd(),
        "depends_on": dependency_of(options.dependency, load(spool)),
        "throttle": throttle_of(options.array),
        "restarts": 0,
    }
    count = int(re.match(r"1-(\d+)", options.array)[1]) if options.array else 0
    print(add(spool, lambda number, index: f"{number}_{index}" if index else str(number), count, job))


def of_id(jobs, job_id):
    """The jobs that Slurm takes an id for: the number of an array is all its tasks."""
    return [job for job in jobs if job_id in (job["id"], job["submitted_as"])]


def squeue(arguments, spool, kind):
    answer(spool)
    parser = argparse.ArgumentParser("squeue", add_help=False)
    parser.add_argument("-h", dest="no_header", action="store_true", required=True)
    parser.add_argument("-j", dest="job_id", required=True)
    parser.add_argument("-o", dest="format", choices=["%L", "job_state = %i"])
    parser.add_argument("-O", dest="long_format", choices=["PreemptTime"])
    options = parser.parse_args(arguments)
    jobs = of_id(load(spool), options.job_id) or sys.exit("slurm_load_jobs error: Invalid job id specified")
    preempted = Path(spool) / "preempted"
    for job in jobs:
        if job["status"] is None and options.long_format:
            is_preempted = preempted.exists() and preempted.read_text() == job["id"]
            print("2026-11-26T14:03:20 " if is_preempted else "N/A                 ")
        elif job["status"] is None:
            left = job["resources"]["walltime"]
            # Slurm leaves out hours that are none
            print(left.removeprefix("00:") if options.format == "%L" else f"job_state = {job['id']}")


def sinfo(arguments, spool, kind):
    answer(spool)
    parser = argparse.ArgumentParser("sinfo", add_help=False)
    parser.add_argument("-h", dest="no_header", action="store_true", required=True)
    parser.add_argument("-p", dest="partition")
    parser.add_argument("-o", dest="format", choices=["%P %l"], required=True)
    options = parser.parse_args(arguments)
    partitions = {"gpu": "infinite", "normal*": "1-00:00:00", "short": "30:00"}
    for name, limit in partitions.items():
        if options.partition in (None, name):
            print(name, limit)


def scontrol(arguments, spool, kind):
    answer(spool)
    (command, job_id) = arguments
    assert command == "requeue"
    jobs = load(spool)
    for job in of_id(jobs, job_id):
        job["requeued"], job["status"] = True, None
    store(spool, jobs)


# --------------------------------------------------------------------------------------------------- launchers


def launcher_parser(name):
    parser = argparse.ArgumentParser(name, allow_abbrev=False)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def start(parser, arguments, count_name, told):
    """Starts the processes, each with what the launcher tells it of its number, and waits for them all."""
    options = parser.parse_args(arguments)
    count = getattr(options, count_name)
    processes = [
        subprocess.Popen(options.command, env={**os.environ, **{key: value.format(n) for key, value in told.items()}})
        for n in range(count)
    ]
    sys.exit(max(process.wait() % 256 for process in processes))


def aprun(arguments, spool, kind):
    parser = launcher_parser("aprun")
    parser.add_argument("-n", dest="count", type=int, required=True, help="processes")
    parser.add_argument("-N", type=int, choices=[1], required=True, help="processes of a node")
    parser.add_argument("-d", type=int, choices=[16], required=True, help="cores of a process")
    start(parser, arguments, "count", {"ALPS_APP_PE": "{}"})


def mpiexec(arguments, spool, kind):
    parser = launcher_parser("mpiexec")
    parser.add_argument("-n", dest="count", type=int, required=True, help="processes")
    parser.add_argument("-ppn", type=int, choices=[1], required=True, help="processes of a node")
    start(parser, arguments, "count", {"PMI_RANK": "{}"})


def srun(arguments, spool, kind):
    parser = launcher_parser("srun")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--ntasks-per-node", type=int, choices=[1], required=True)
    parser.add_argument("--cpus-per-task", type=int, choices=[int(os.environ["SLURM_CPUS_ON_NODE"])], required=True)
    start(parser, arguments, "nodes", {"SLURM_PROCID": "{}"})


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
            "SLURM_JOB_ID": job["number"],
            **({"SLURM_ARRAY_JOB_ID": job["submitted_as"]} if job["index"] else {}),
            "SLURM_CPUS_ON_NODE": str(job["resources"]["cpus"]),
            "SLURM_SUBMIT_DIR": job["workdir"],
            "SLURM_JOB_NUM_NODES": job["resources"]["nodes"],
            **({"SLURM_RESTART_COUNT": str(job["restarts"])} if job["restarts"] else {}),
        }
        index_name = "SLURM_ARRAY_TASK_ID"
    else:
        variables = {
            "PBS_JOBID": job["id"],
            "PBS_JOBCOOKIE": f"{spool} {job['id']}",
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
        names = environment.get("BATCH_NODES", "7 8 9 10").split()
        (Path(spool) / "nodes").write_text("".join(f"{name}\n" * 16 for name in names[:nodes]))
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
                umask=int(job.get("umask", "022"), 8),
                env={**environment, **job["variables"], **told(job, spool)},
            ).returncode
        jobs = load(spool)  # the job may have submitted others
        job = next(other for other in jobs if other["id"] == job["id"])
        (Path(spool) / "preempted").unlink(missing_ok=True)
        if job.pop("requeued", False):
            job["restarts"] += 1
        else:
            job["status"] = status
        store(spool, jobs)


if __name__ == "__main__":
    functions = (qsub, qstat, qalter, sbatch, squeue, sinfo, scontrol, aprun, mpiexec, srun)
    commands = {f.__name__: f for f in functions}
    commands[Path(sys.argv[0]).name](sys.argv[1:], os.environ["BATCH_SPOOL"], os.environ["BATCH_KIND"])
