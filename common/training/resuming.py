"""A run that was cut off can be resumed: what it saves, when it saves it, and how it starts from that again."""

import shutil
import signal
import sys
import time

import torch

from common.distributed import processes
from common.errors import InputError, RunInterruptedError
from common.files import make_directory
from common.training.checkpoints import load_checkpoint, save_checkpoint
from common.training.metrics import Tally
from common.training.options import PLACES, as_words, plain_options
from common.training.results import recorded

# the script's start, but for the import of PyTorch
START = time.monotonic()

# a resumed run may differ from the saved one in these: none changes the mathematics of a step
FREE_OPTIONS = PLACES | {"epochs", "early_stopping", "settings"}

ANEW = "start anew with --overwrite in place of --resume"


def make_room(options, model_path, state_path):
    """Makes room in the output folder for a run that starts anew.

    The files of a finished run go to `previous/` there, in place of those of an earlier one; with `--overwrite` those
    of any run are removed. InputError where a run was cut off that `--resume` could go on from.
    """
    folder = options.output
    # a move that is cut off leaves a state without run.json, which is not touched
    names = ("run.json", "log.csv", "data.npy", "test.txt", "reviews.txt", model_path.name, state_path.name)
    files = [folder / name for name in names if (folder / name).exists()]
    if options.overwrite:
        for file in files:
            file.unlink()
        return
    is_finished = recorded(folder, "finished")
    if state_path.exists() and not is_finished:
        raise InputError(
            f"{state_path} is that of a run that was cut off: go on with --resume, give another --trial or --output, "
            "or start anew over it with --overwrite"
        )
    if is_finished or model_path.exists():
        previous = folder / "previous"
        shutil.rmtree(previous, ignore_errors=True)
        make_directory(previous)
        for file in files:
            file.rename(previous / file.name)
        print(f"the finished run that was in {folder} is in {previous} now", file=sys.stderr)


class RunState:
    """What a run needs to go on with the same result, bit for bit on a CPU: in memory, and in the file `path`.

    `history` is one dict of figures an epoch. In an epoch, `rows` are the training reviews, shuffled, (reviews,) int64,
    of which `batches_done` batches are done, with their `tally`; between two epochs `rows` is None. `best_weights` is
    the state_dict of the best test, with `--early-stopping`. `data`, plain values, tells the data from others.
    """

    def __init__(self, path, options, model, optimizer, scheduler, data, no_of_batches, device):
        self.path = path
        self.options = options
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.data = data
        self.no_of_batches = no_of_batches
        self.device = device
        self.history = []
        self.best_weights = None
        self.rows = None
        self.batches_done = 0
        self.tally = None
        # shuffles and crops draw from a generator of their own, so that a change of the model does not shift them
        self.generator = torch.Generator(device).manual_seed(options.seed)
        # a finished run with early stopping gives the model its best weights; these are the last ones, to go on from
        self._last_weights = None

    def position(self):
        """Where the run is in its epoch, None between two epochs; all processes call it together."""
        if self.rows is None:
            return None
        return {"rows": self.rows, "batches_done": self.batches_done, "tally": self.tally.state()}

    def __str__(self):
        epoch = len(self.history) - 1
        if self.rows is None:
            return f"after epoch {epoch}"
        return f"in epoch {epoch}, {self.batches_done} of {self.no_of_batches} batches done"

    def save(self, position):
        """Writes the file; `position` is where it goes on."""
        save_checkpoint(
            self.path,
            {
                "part": self.options.part,
                "options": plain_options(self.options),
                "data": self.data,
                "history": self.history,
                "position": position,
                "weights": self._last_weights or self.model.state_dict(),
                "best_weights": self.best_weights,
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "generator": self.generator.get_state(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            },
        )

    def give_best_weights(self):
        """Gives the model the weights of its best test, if there are any."""
        if self.best_weights is not None:
            self._last_weights = copy_of_weights(self.model)
            self.model.load_state_dict(self.best_weights)

    def resume(self):
        """Reads the file; where there is none, says so. InputError where the run cannot go on from it."""
        if not self.path.exists():
            print(f"{self.path} does not exist: nothing to resume, starting anew", file=sys.stderr)
            return
        state = load_checkpoint(self.path, self.options.part, ("data", "history", "position", "scheduler"), ANEW)
        self._check_options(state["options"])
        if state["data"] != self.data:
            raise InputError(
                f"{self.path} was saved with other reviews or words than those in {self.options.data}; give the --data "
                f"that it was saved with, or {ANEW}"
            )
        try:
            self.model.load_state_dict(state["weights"])
        except RuntimeError as error:
            advice = f"give the --data that it was saved with, or {ANEW}"
            raise InputError(f"the weights in {self.path} do not fit this model; {advice}") from error
        # without early stopping, the last weights are the model
        self.best_weights = state["best_weights"] if self.options.early_stopping else None
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.history += state["history"]
        if (state["cuda_rng"] is None) == (self.device.type == "cpu"):
            self.generator.set_state(state["generator"])
            torch.set_rng_state(state["rng"])
            if state["cuda_rng"] is not None:
                torch.cuda.set_rng_state(state["cuda_rng"])
        else:  # generators of different kinds, which cannot go on from each other
            self.generator.manual_seed(self.options.seed + len(self.history))
            torch.manual_seed(self.options.seed + len(self.history))
            saved_on = "the CPU" if state["cuda_rng"] is None else "CUDA"
            print(
                f"{self.path} was saved on {saved_on}: from here on, the run draws other random numbers",
                file=sys.stderr,
            )
        if state["position"] is not None:
            self.rows = state["position"]["rows"].to(self.device)
            self.batches_done = state["position"]["batches_done"]
            self.tally = Tally(state["position"]["tally"])

    def _check_options(self, saved):
        """InputError where an option that has to be the same is another one than in the `saved` ones."""
        # a cycle of the learning rate ends with the last epoch
        free = FREE_OPTIONS - {"epochs"} if self.options.schedule == "one-cycle" else FREE_OPTIONS
        now = plain_options(self.options)
        changed = [name for name in now if name not in free and now[name] != saved.get(name)]
        if changed:
            listed = ", ".join(
                f"with {words}" if (words := as_words(name, saved.get(name))) else f"without {as_words(name, True)}"
                for name in changed
            )
            raise InputError(f"{self.path} was saved {listed}; give the same, or {ANEW}")


def copy_of_weights(model):
    """A copy of the model's state_dict."""
    return {name: value.clone() for name, value in model.state_dict().items()}


class Signals:
    """In a `with` block, saves the state and ends the run when a user, a scheduler or `--max-time` asks for it.

    SIGTERM, SIGINT, SIGUSR1 and SIGHUP, of a closed terminal, end the run at its next `end_if_asked()` or, in a test,
    at once; `--max-time` does so at its next `end_if_asked()`, once the run `has_got_on`: RunInterruptedError.
    """

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    NOT_ASKED, TIME_IS_UP = -1, 0  # a signal, whose number is larger, goes before

    def __init__(self, state):
        self.state = state
        self._is_testing = False
        self._position_of_test = None
        # whether it has done a batch or a test: a run whose time is short gets on all the same
        self.has_got_on = False
        self._asked = self.NOT_ASKED
        self._handlers_before = {}

    def __enter__(self):
        for number in self.NUMBERS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves it
                self._handlers_before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *error):
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def begin_test(self):
        """As `end_if_asked`; from here to `end_test`, a signal ends the run at once, and it resumes with the test."""
        self.end_if_asked()
        self._position_of_test, self._is_testing = self.state.position(), True

    def end_test(self):
        """From here on, a signal waits for `end_if_asked` again."""
        self._is_testing, self.has_got_on = False, True

    def end_if_asked(self):
        """Saves the state and ends the run, if a signal came to one of the processes or the time of one is up."""
        minutes = self.state.options.max_time
        if minutes is not None and self.has_got_on and time.monotonic() >= START + 60 * minutes:
            self._asked = max(self._asked, self.TIME_IS_UP)
        asked = processes.largest(self._asked)  # meanwhile a signal may come, and count at the next batch
        if asked != self.NOT_ASKED:
            self._asked = asked
            self.state.save(self.state.position())
            processes.largest(0)  # torchrun ends all when one has ended: the state is to be whole by then
            raise self._interruption()

    def _on_signal(self, number, frame):
        self._asked = number
        # the other processes find the first gone when they are through with their share of the test
        if self._is_testing and processes.rank() == 0:
            self._is_testing = False  # one more signal is not to save once more
            self.state.save(self._position_of_test)
            raise self._interruption()

    def _interruption(self):
        by = "--max-time" if self._asked == self.TIME_IS_UP else signal.Signals(self._asked).name
        return RunInterruptedError(
            f"interrupted by {by} {self.state}; saved in {self.state.path}: the same command with --resume goes on "
            "from there",
            status={self.TIME_IS_UP: 0, signal.SIGINT: 130}.get(self._asked, 143),
        )
