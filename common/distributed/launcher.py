"""What torchrun, aprun, mpirun and srun tell a process in its environment: which one of how many it is."""

import os
import re
import zlib
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError

# launcher: the variables with a process's number, how many there are, and how many of them are on its node; where
# launchers are nested, the innermost comes first
LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    "PMI": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    "ALPS": ("ALPS_APP_PE", "WORLD_SIZE", None),  # aprun tells its processes no more than their number
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", None),
}


# what launchers are called as processes
LAUNCHER_PROCESSES = {
    *("mpiexec", "mpiexec.hydra", "hydra_pmi_proxy", "mpirun", "orterun", "orted", "prterun", "prted"),
    *("slurmstepd", "apinit", "apshepherd"),
}


class Launch(NamedTuple):
    """One process among those that a launcher started: its `rank`, from 0, their `count`, where they meet, and the
    `run` that they are of, as far as it can be told: text that those of another run do not have."""

    rank: int
    count: int
    master_addr: str
    master_port: int
    run: str


def find_launch():
    """The `Launch` that the environment tells of; a script started without a launcher is process 0 of 1.

    MASTER_ADDR and MASTER_PORT, where they are set, say where the processes meet: on the node of process 0. InputError
    for an environment that contradicts itself.
    """
    environment = os.environ
    for launcher, (rank_name, count_name, local_count_name) in LAUNCHERS.items():
        if rank_name not in environment:
            continue
        if count_name not in environment and launcher == "Slurm":
            continue  # a batch script has a number too, but only srun starts processes
        rank = _number(rank_name, 0)
        if count_name not in environment and launcher == "ALPS" and rank == 0:
            continue  # `aprun -n 1`
        if count_name not in environment:
            raise InputError(
                f"{rank_name} is {rank}, but {count_name} is not set: set it to the number of processes started"
            )
        count = _number(count_name, 1)
        if rank >= count:
            raise InputError(
                f"{rank_name} is {rank}, but {count_name} is {count}: the processes are numbered from 0 to "
                f"{count - 1}; start them all with one launcher"
            )
        has_local_count = local_count_name is not None and local_count_name in environment
        local_count = _number(local_count_name, 1) if has_local_count else None
        if local_count is not None and local_count > count:
            raise InputError(f"{local_count_name} is {local_count}, but {count_name} is only {count}")
        run = _run(is_on_one_node=local_count == count)
        # hardly ever that of another run on the node
        port = _number("MASTER_PORT", 1) if "MASTER_PORT" in environment else 20000 + zlib.crc32(run.encode()) % 20000
        return Launch(rank, count, _master(count, local_count), port, run)
    return Launch(0, 1, "127.0.0.1", 0, "")


def _number(name, smallest):
    text = os.environ[name]
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < smallest:
        raise InputError(f"{name} is {text!r}: expected a whole number from {smallest} on")
    return int(text)


def _master(count, local_count):
    """The node of process 0."""
    environment = os.environ
    if "MASTER_ADDR" in environment:
        return environment["MASTER_ADDR"]
    if local_count == count or count == 1:
        return "127.0.0.1"
    if "SLURM_STEP_NODELIST" in environment:
        return _first_host(environment["SLURM_STEP_NODELIST"])
    try:
        return Path(environment["PBS_NODEFILE"]).read_text().split()[0]
    except (KeyError, OSError, IndexError):
        raise InputError(
            f"{count} processes were started, but MASTER_ADDR is not set: set it to the node of process 0 "
            "(127.0.0.1 if all are on one)"
        ) from None


def _first_host(node_list):
    """The first of Slurm's nodes: "nid[007-009,012],gpu1" begins with nid007."""
    prefix, number = re.match(r"([^,\[]*)(?:\[(\d+))?", node_list).groups()
    return prefix + (number or "")


def _run(is_on_one_node):
    """What the processes of a run have in common, and those of other runs have not."""
    names = ("PBS_JOBID", "SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "ALPS_APP_ID", "TORCHELASTIC_RUN_ID")
    told = [os.environ.get(name, "") for name in names]
    return " ".join([*told, _launcher_process() if is_on_one_node else ""])


def _launcher_process():
    """The number of the nearest process above this one that is a launcher, as text; "" where none is found.

    Without a scheduler, MPICH's mpiexec tells its processes nothing that the next mpiexec does not tell its own.
    """
    number = os.getppid()
    try:
        while number > 1:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{number}/status").read_text().splitlines())
            if status["Name"].strip() in LAUNCHER_PROCESSES:
                return str(number)
            number = int(status["PPid"])
    except OSError:  # no /proc, as on macOS, or a process of somebody else's
        pass
    return ""
