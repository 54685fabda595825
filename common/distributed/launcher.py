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


class Launch(NamedTuple):
    """One process among those that a launcher started: its `rank`, from 0, their `count`, and where they meet."""

    rank: int
    count: int
    master_addr: str
    master_port: int


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
        port = _number("MASTER_PORT", 1) if "MASTER_PORT" in environment else _port_of_job()
        return Launch(rank, count, _master(count, local_count), port)
    return Launch(0, 1, "127.0.0.1", 0)


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


def _port_of_job():
    """A port from 20000 to 39999 that the processes of a job agree on, and two jobs on a node hardly ever share."""
    names = ("PBS_JOBID", "SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "ALPS_APP_ID")
    return 20000 + zlib.crc32(" ".join(os.environ.get(name, "") for name in names).encode()) % 20000
