"""What a run leaves behind for the results sheet: data.npy and run.json."""

import json
from datetime import UTC, datetime

import numpy as np
import torch

from common.distributed.processes import count
from common.files import new_file, npy_bytes


def write_results(options, device, no_of_weights, history, finished):
    """Writes `data.npy` and `run.json` into the run's folder.

    `history` is one dict an epoch with "train_loss", "train_accuracy", "train_seconds" and, where the epoch had a
    test, "test_loss", "test_accuracy", "test_seconds". `data.npy` is the handout's array (3, epochs) float64 of
    train loss, train accuracy and test accuracy, NaN where there was no test; accuracies are shares of 1.
    """
    rows = ("train_loss", "train_accuracy", "test_accuracy")
    with new_file(options.output / "data.npy") as file:
        file.write(npy_bytes(np.array([[epoch.get(row, np.nan) for epoch in history] for row in rows])))
    run = {
        "part": options.part,
        "trial": options.trial,
        "note": options.note,
        "finished": finished,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "processes": count(),
        "torch": torch.__version__,
        "no_of_weights": no_of_weights,
        "options": plain_options(options),
        "epochs": history,
    }
    with new_file(options.output / "run.json") as file:
        file.write(json.dumps(run, indent=1).encode() + b"\n")


def plain_options(options):
    """The options that were chosen or left, as a dict of plain values, paths as text."""
    plain = (str, int, float, bool, type(None))
    chosen = {name: value for name, value in vars(options).items() if name != "defaults"}
    return {name: value if isinstance(value, plain) else str(value) for name, value in chosen.items()}
