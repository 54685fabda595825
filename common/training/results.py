"""The files that tell of a run: data.npy, log.csv and, for the results sheet, run.json."""

import csv
import io
import json
from datetime import UTC, datetime

import numpy as np
import torch

from common.distributed.device import threads
from common.distributed.processes import count
from common.files import new_file, npy_bytes
from common.training.options import plain_options

# log.csv has these figures of each epoch
LOG_COLUMNS = (
    "learning_rate",
    *(f"{split}_{figure}" for split in ("train", "validation", "test") for figure in ("loss", "accuracy")),
    "train_seconds",
)


def write_results(options, data, device, model, model_epoch, vectors, history, finished):
    """Writes `data.npy`, `log.csv` and `run.json` into the run's folder.

    `data`, plain values, tells the training reviews from others, and `finished` whether the run is done and saved.
    `history` is one dict an epoch with "learning_rate", "train_loss", "train_accuracy", "train_seconds" and, where the
    epoch had a test, "test_loss", "test_accuracy", "test_seconds", or the same of "validation". `data.npy` is the
    handout's array (3, epochs) float64 of train loss, train accuracy and test accuracy, NaN where there was no test;
    accuracies are shares of 1. `model_epoch` is the number, from 0, of the epoch whose weights the model has, and
    `vectors` the GloVe vectors (words + 1, dimensions) that it was trained on, or None.
    """
    rows = ("train_loss", "train_accuracy", "test_accuracy")
    with new_file(options.output / "data.npy") as file:
        file.write(npy_bytes(np.array([[epoch.get(row, np.nan) for epoch in history] for row in rows])))
    log = io.StringIO()
    writer = csv.writer(log, lineterminator="\n")
    writer.writerow(["epoch", *(column.replace("_", " ") for column in LOG_COLUMNS)])
    for number, epoch in enumerate(history):
        writer.writerow([number, *(epoch.get(column, "") for column in LOG_COLUMNS)])
    with new_file(options.output / "log.csv") as file:
        file.write(log.getvalue().encode())
    run = {
        "part": options.part,
        "trial": options.trial,
        "note": options.note,
        "finished": finished,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {threads()}",
        "processes": count(),
        "torch": torch.__version__,
        "model": str(model),
        "no_of_weights": sum(weight.numel() for weight in model.parameters()),
        "model_epoch": model_epoch,
        "vectors": None if vectors is None else _about_vectors(options.data, vectors),
        "data": data,
        "options": plain_options(options),
        "epochs": history,
    }
    _write_run(options.output, run)


def write_note(options):
    """Writes the `--note` into the `run.json` of a finished run, and leaves all else as it is."""
    run = json.loads((options.output / "run.json").read_bytes())
    run["note"] = run["options"]["note"] = options.note
    _write_run(options.output, run)


def _write_run(folder, run):
    with new_file(folder / "run.json") as file:
        file.write(json.dumps(run, indent=1).encode() + b"\n")


def _about_vectors(data, vectors):
    about = {"words": len(vectors) - 1, "dimensions": vectors.shape[1]}
    path = data / "glove_name.txt"  # the handout's own script writes none
    return ({"file": path.read_text(encoding="utf-8").strip()} if path.exists() else {}) | about


def recorded(folder, name):
    """The value by this `name` in the `run.json` in `folder`; None where that is missing or damaged."""
    try:
        return json.loads((folder / "run.json").read_bytes())[name]
    except (OSError, ValueError):
        return None
