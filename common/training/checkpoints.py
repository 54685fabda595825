"""Model and state files: tensors and plain values only, so that reading one never runs code from it."""

import io
import sys
import zipfile
from contextlib import contextmanager

import torch

from common.data.reviews import Vocabulary
from common.distributed.processes import rank
from common.errors import InputError
from common.files import new_file
from common.models.average import AverageOfModels


def save_checkpoint(path, content):
    """Writes `content`, a dict of tensors and plain values, whole or not at all; of several processes, one does."""
    if rank() > 0:
        return
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with new_file(path) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path, part, keys, advice):
    """Reads the dict that `save_checkpoint` wrote for `part`, onto the CPU.

    InputError with `advice` (what to run first) where there is no such file, and where it is damaged, lacks one
    of `keys` or belongs to another part.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # PyTorch does not compare the check sums
                raise zipfile.BadZipFile
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not {"part", *keys} <= content.keys():
            raise KeyError
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except Exception as error:  # torch.load meets damage with a dozen kinds of exception
        raise InputError(f"{path} is damaged or not a model or state file of part {part}; {advice}") from error
    if content["part"] != part:
        raise InputError(f"{path} belongs to part {content['part']}, not to part {part}; {advice}")
    return content


def save_model(path, part, model, hyperparameters, vocabulary, epochs_done, finished):
    """Writes a model: its constructor's arguments, its weights, what its ids mean, and how far its training is."""
    save_checkpoint(
        path,
        {
            "part": part,
            "hyperparameters": hyperparameters,
            "state_dict": model.state_dict(),
            "vocabulary": vocabulary.description(),
            "epochs_done": epochs_done,
            "finished": finished,
        },
    )


def load_model_file(path, part, script):
    """The dict that `save_model` wrote for `part`; `script`, the part's train script, makes one.

    Says on standard error if its training is not finished. InputError as of `load_checkpoint`.
    """
    keys = ("hyperparameters", "state_dict", "vocabulary")
    saved = load_checkpoint(path, part, keys, _advice(path, part, script))
    if not saved.get("finished", True):
        print(f"{path} is not trained to its end: it is that of epoch {saved['epochs_done'] - 1}", file=sys.stderr)
    return saved


def _advice(path, part, script):
    """How to come by the model at `path`, which is missing or cannot be used."""
    command = f"{part}/{script}" + (f" --trial {path.parent.name}" if path.parent.parent.name == "trials" else "")
    advice = f"run {command} first"
    if path.exists():
        return advice
    if path.with_suffix(".state").exists():
        return f"its training was cut off: the command of {command} with --resume goes on"
    found = sorted(path.parent.glob(f"trials/*/{path.name}"))
    return f"{advice}, or take a trial's: --trial {found[0].parent.name} has {found[0]}" if found else advice


def load_model(path, part, model_class, script):
    """A trained model, on the CPU, and the description of its `Vocabulary`.

    InputError where `path` holds no model of this part, one of another `model_class`, or none yet: the train script
    `script` makes one.
    """
    saved = load_model_file(path, part, script)
    with fitting_model_file(path, part):
        model = model_class(**saved["hyperparameters"])
        model.load_state_dict(saved["state_dict"])
    return model, saved["vocabulary"]


@contextmanager
def fitting_model_file(path, part):
    """A `with` block that makes a model of the content of `path`: InputError where that does not fit the class."""
    try:
        yield
    except (TypeError, RuntimeError) as error:  # other arguments, other weights
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is of another version of part {part}'s model ({reason}): train it again") from error


def load_models(paths, part, model_class, script, data):
    """The trained sentiment model at one of the `paths`, or the `AverageOfModels` at several, on the CPU, and the
    `Vocabulary` with which to read the reviews in the folder `data`.

    InputError as of `load_model` and `Vocabulary.of_model`.
    """
    models, words = zip(*(load_model(path, part, model_class, script) for path in paths), strict=True)
    model = models[0] if len(models) == 1 else AverageOfModels(models)
    return model, Vocabulary.of_model(data, *words)
