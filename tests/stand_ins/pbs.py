"""A little PBS in the place of a real one: `qsub`, `qstat -f` and `qalter`, called by these names, and `run_jobs`.

Its jobs lie in the file jobs.json of the folder PBS_SPOOL. Anything that it does not know is an error.
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


def job_parser():
    parser = argparse.ArgumentParser("qsub")
    parser.add_argument("-N", dest="name")
    parser.add_argument("-o", dest="output")
    parser.add_argument("-e", dest="error")
    parser.add_argument("-S", dest="shell", choices=["/bin/bash"])
    parser.add_argument("-m", dest="mail", choices=["a", "ae", "abe"])
    parser.add_argument("-l", dest="resources", action="append", default=[])
    parser.add_argument("-W", dest="attributes", action="append", default=[])
    parser.add_argument("-v", dest="variables", default="")
    return parser


def dependency_of(attributes, jobs):
    """("afterok", id) from ["depend=afterok:id"]."""
    if not attributes:
        return None
    (attribute,) = attributes
    kind, job_id = re.fullmatch(r"depend=(afterok|afterany):([\w.]+)", attribute).groups()
    assert job_id in [job["id"] for job in jobs], job_id
    return [kind, job_id]


def qsub(arguments, spool):
    parser = job_parser()
    parser.add_argument("script", type=Path)
    options = parser.parse_args(arguments)
    text = options.script.read_text()
    lines = [shlex.split(line.removeprefix("#PBS ")) for line in text.splitlines() if line.startswith("#PBS ")]
    directives = job_parser().parse_args([word for line in lines for word in line])
    resources = dict(text.split("=", 1) for text in directives.resources + options.resources)
    assert resources.keys() == {"nodes", "walltime"}
    assert re.fullmatch(r"\d+:ppn=16:xk", resources["nodes"]), resources
    name = options.name or directives.name
    assert re.fullmatch(r"[A-Za-z]\S{0,14}", name), name  # what Torque allows
    variables = {}
    for variable in filter(None, options.variables.split(",")):
        key, sign, value = variable.partition("=")
        variables[key] = value if sign else os.environ[key]
    jobs = load(spool)
    job = {
        "id": f"{len(jobs) + 1}.bw",
        "script": text,
        "name": name,
        "output": options.output or directives.output,
        "error": options.error or directives.error,
        "mail": directives.mail,
        "resources": resources,
        "variables": variables,
        "workdir": os.getcwd(),
        "depends_on": dependency_of(options.attributes, jobs),
        "status": None,
    }
    store(spool, [*jobs, job])
    print(job["id"])


def qalter(arguments, spool):
    parser = argparse.ArgumentParser("qalter")
    parser.add_argument("-W", dest="attributes", action="append", required=True)
    parser.add_argument("job_id")
    options = parser.parse_args(arguments)
    jobs = load(spool)
    (job,) = [job for job in jobs if job["id"] == options.job_id]
    job["depends_on"] = dependency_of(options.attributes, jobs)
    store(spool, jobs)


def qstat(arguments, spool):
    parser = argparse.ArgumentParser("qstat")
    parser.add_argument("-f", dest="job_id", required=True)
    job_id = parser.parse_args(arguments).job_id
    jobs = load(spool)
    (job,) = [job for job in jobs if job["id"] == job_id]
    print(f"Job Id: {job_id}\n    Job_Name = {job['name']}\n    job_state = R")
    waiting = []
    for kind in ("ok", "any"):
        ids = [f"{other['id']}@bw" for other in jobs if other["depends_on"] == [f"after{kind}", job_id]]
        waiting += [f"before{kind}:{':'.join(ids)}"] if ids else []
    if waiting:
        # a long line goes on in the next one, after a tab
        print("\n\t".join(re.findall(".{1,30}", f"    depend = {','.join(waiting)}")))
    print(f"    Resource_List.nodes = {job['resources']['nodes']}")
    print(f"    Resource_List.walltime = {job['resources']['walltime']}")
    print("    Variable_List = PBS_O_HOME=/home/student,\n\tPBS_O_HOST=bw\n")


def is_ready(job, jobs):
    """Whether what the job waits for has ended as it must; what never will is marked."""
    if job["status"] is not None:
        return False
    if job["depends_on"] is None:
        return True
    kind, job_id = job["depends_on"]
    (before,) = [other for other in jobs if other["id"] == job_id]
    if before["status"] is not None and kind == "afterok" and before["status"] != 0:
        job["status"] = ENDED_BADLY
    return before["status"] is not None and job["status"] is None


def run_jobs(spool, environment):
    """Runs all jobs that can run, one after the other, each with `environment` and what PBS sets; returns all jobs."""
    while True:
        jobs = load(spool)
        ready = [job for job in jobs if is_ready(job, jobs)]
        store(spool, jobs)
        if not ready:
            return jobs
        job = ready[0]
        nodes = int(job["resources"]["nodes"].split(":")[0])
        (Path(spool) / "nodes").write_text("".join(f"{7 + node}\n" * 16 for node in range(nodes)))
        (Path(spool) / "script").write_text(job["script"])
        workdir = Path(job["workdir"])
        with open(workdir / job["output"], "w") as output, open(workdir / job["error"], "w") as error:
            status = subprocess.run(
                ["/bin/bash", Path(spool) / "script"],
                cwd=spool,
                stdout=output,
                stderr=error,
                timeout=120,
                env={
                    **environment,
                    "PBS_JOBID": job["id"],
                    "PBS_JOBNAME": job["name"],
                    "PBS_O_WORKDIR": job["workdir"],
                    "PBS_NODEFILE": str(Path(spool) / "nodes"),
                    **job["variables"],
                },
            ).returncode
        jobs = load(spool)  # the job may have submitted others
        next(other for other in jobs if other["id"] == job["id"])["status"] = status
        store(spool, jobs)


if __name__ == "__main__":
    commands = {"qsub": qsub, "qstat": qstat, "qalter": qalter}
    commands[Path(sys.argv[0]).name](sys.argv[1:], os.environ["PBS_SPOOL"])
