"""What surrounds the training step: epochs, printing, rate drop, early stop, saving, signals, resuming."""

import math
import signal
import sys
from contextlib import contextmanager, nullcontext

import torch
from tqdm import tqdm

from common.distributed import processes
from common.errors import InputError, RunInterruptedError
from common.files import make_directory, sole_use
from common.models.layers import BatchNorm
from common.training.checkpoints import load_checkpoint, save_checkpoint
from common.training.metrics import Tally, figures_line
from common.training.options import PLACES
from common.training.results import plain_options, write_results

# a resumed run may differ from the saved one in these: none changes the mathematics of a step
FREE_OPTIONS = PLACES | {"epochs", "early_stopping", "settings"}


def make_optimizer(options, parameters):
    """The optimizer that `--optimizer` and `--lr` ask for (handout, part 1a)."""
    # fused: each weight is read and written once a step, not once an operation
    if options.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=options.lr, fused=True)
    return torch.optim.SGD(parameters, lr=options.lr, momentum=0.9, fused=True)


def make_scheduler(options, optimizer, no_of_reviews):
    """The schedule that `--schedule`, `--lr` and `--lr-drop-epoch` ask for: its `step()` goes behind each step of the
    optimizer and sets the next one's learning rate.

    `no_of_reviews` is that of an epoch. One-cycle: Smith and Topin 2018; the drop to a tenth: handout, part 3a.
    """
    steps_an_epoch = math.ceil(no_of_reviews / options.batch_size)
    if options.schedule == "one-cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, options.epochs * steps_an_epoch)
    first_low = math.inf if options.lr_drop_epoch is None else options.lr_drop_epoch * steps_an_epoch
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 if step >= first_low else 1.0)


def _check_batch_size(batch_size, no_of_reviews):
    if batch_size > no_of_reviews:
        raise InputError(f"--batch-size {batch_size} is larger than the {no_of_reviews} training reviews")
    last = no_of_reviews % batch_size or batch_size
    if last == 1:
        raise InputError(
            f"--batch-size {batch_size} leaves a last batch of one of the {no_of_reviews} training reviews, "
            "which batch norm cannot normalise; choose another"
        )
    if last < processes.count():
        raise InputError(
            f"--batch-size {batch_size} gives a batch of {last} reviews to {processes.count()} processes, and each "
            "needs one at least; choose a larger one, or fewer processes"
        )


@contextmanager
def _handled(handler):
    """Lets `handler` take the signals that a user or a scheduler sends before the process is killed."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


class Training:
    """One training run: everything but the step.

    The state for `--resume` goes to the file `state_name` in the output folder, after each epoch and, on SIGTERM,
    SIGINT or SIGUSR1, at the next batch: then RunInterruptedError ends the run. InputError for a batch size that does
    not fit the `no_of_reviews` or the number of processes, a folder that cannot be made or that another run uses, and a
    state that cannot be gone on from.
    """

    def __init__(self, options, state_name, model, optimizer, scheduler, no_of_reviews, device):
        _check_batch_size(options.batch_size, no_of_reviews)
        make_directory(options.output)
        self.options = options
        self.state_path = options.output / state_name
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.no_of_reviews = no_of_reviews
        self.device = device
        # shuffles and crops draw from a generator of their own, so that a change of the model does not shift them
        self.generator = torch.Generator(device).manual_seed(options.seed)
        self.history = []
        self.best_weights = None
        self._last_weights = None
        # the place in the running epoch: its rows, shuffled, how many batches of them are done, and their tally
        self._rows = None
        self._batches_done = 0
        self._tally = None
        self._signal = 0
        # while a test runs, the place that it started from: it changes nothing that is saved
        self._place_of_test = None
        self._gradient_sums = processes.GradientSums(
            weight for group in optimizer.param_groups for weight in group["params"]
        )
        if options.resume:
            self._resume()
        self._check_processes_are_alike()

    def epochs(self):
        """The epochs still to do, counted from 0.

        When they are done, with `--early-stopping`, the model gets the weights of its best test back.
        """
        sole = sole_use(self.options.output) if processes.rank() == 0 else nullcontext()
        with sole, _handled(self._on_signal):
            while not self._is_finished():
                if self._rows is None:
                    self.history.append({})
                yield len(self.history) - 1
        if self.best_weights is not None:
            self._last_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.model.load_state_dict(self.best_weights)

    def tally(self):
        """The `Tally` of the epoch, empty but for what a resumed one has of it already."""
        self._tally = self._tally or Tally()
        return self._tally

    def batches(self):
        """The rows of the training reviews, shuffled, in batches: int64 tensors (batch,), the last may be shorter.

        Of several processes, each gets its own rows of each batch.
        """
        if self._rows is None:
            self._rows = torch.randperm(self.no_of_reviews, generator=self.generator, device=self.device)
        batches = self._rows.split(self.options.batch_size)
        epoch = len(self.history) - 1
        bar = tqdm(total=len(batches), initial=self._batches_done, desc=f"epoch {epoch}", leave=False, disable=None)
        with bar:
            for rows in batches[self._batches_done :]:
                self._end_if_asked()
                with processes.shared_batch(rows) as own_rows:
                    yield own_rows
                self._batches_done += 1
                bar.update()
        self._end_if_asked()

    def backward(self, loss):
        """`loss.backward()` for the mean loss of a batch; of several processes, all get the whole batch's gradients."""
        if processes.count() == 1:
            loss.backward()
            return
        (loss * processes.share_of_batch()).backward()
        self._gradient_sums.wait()

    def report_training(self, figures, perplexity=False):
        """Keeps the epoch's `Tally.figures` and prints them after its number."""
        if "train_loss" not in self.history[-1]:  # else a run that was interrupted in its test has printed them
            self._keep("train", figures)
            print(len(self.history) - 1, figures_line(figures, perplexity), flush=True)

    def test_is_due(self):
        """Whether this epoch ends with a test: every `--test-every`-th one does, and the last.

        With `--validation`, that test is on the reviews held out.
        """
        done = len(self.history)
        is_due = done % self.options.test_every == 0 or done >= self.options.epochs
        if is_due:
            self._end_if_asked()
            self._place_of_test = self._place()
        return is_due

    @contextmanager
    def precise_batch_norm(self):
        """For one forward pass over all training reviews, whose rows it gives: it sets batch norm's running figures.

        They are then those of the present weights, where a running average mixes in those of earlier weights (Wu and
        Johnson 2021, "Rethinking 'Batch' in BatchNorm"). Dropout is off, as in the test that follows.
        """
        self.model.eval()
        norms = [module for module in self.model.modules() if isinstance(module, BatchNorm)]
        momentum = norms[0].momentum
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = 1  # the running figures are those of the latest batch
        all_rows = torch.arange(self.no_of_reviews, device=self.device)
        with torch.no_grad(), processes.shared_batch(all_rows) as own_rows:
            yield own_rows
        for norm in norms:
            norm.momentum = momentum

    def report_test(self, figures, perplexity=False):
        """Keeps the test's `Tally.figures` and prints them, indented."""
        self._place_of_test = None
        if self._measure() == "test":
            self._keep("test", figures)
            print("  ", figures_line(figures, perplexity), flush=True)
        else:
            self._keep("validation", figures)
            print("   validation", figures_line(figures, perplexity), flush=True)

    def final_test_is_due(self):
        """Whether, with `--validation`, the test reviews are still to be looked at, once, when all epochs are done."""
        return self.options.validation is not None and "test_loss" not in self._epoch_of_the_model()

    def report_final_test(self, figures, perplexity=False):
        """Keeps the figures of the final test with those of the epoch whose weights the model has, and prints them."""
        self._keep("test", figures, self._epoch_of_the_model())
        print("  ", figures_line(figures, perplexity), flush=True)
        self._save(None)

    def end_epoch(self):
        """Saves the state that `--resume` goes on from, and the results so far."""
        tested = f"{self._measure()}_loss" in self.history[-1]
        if self.options.early_stopping and tested and self._tests_since_best() == 0:
            self.best_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        self._rows, self._batches_done, self._tally = None, 0, None
        self._save(self._place())
        self._write_results(finished=False)

    def finish(self):
        """Writes the final results."""
        self._write_results(finished=True)

    def _place(self):
        """The place in the running epoch, None between two; the processes find it together."""
        if self._rows is None:
            return None
        return {"rows": self._rows, "batches_done": self._batches_done, "tally": self._tally.state()}

    def _save(self, place):
        save_checkpoint(
            self.state_path,
            {
                "part": self.options.part,
                "options": plain_options(self.options),
                "history": self.history,
                "place": place,
                "weights": self._last_weights or self.model.state_dict(),
                "best_weights": self.best_weights,
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            },
        )

    def _on_signal(self, number, frame):
        self._signal = number
        # the other processes find the first gone when they are through with their share of the test
        if self._place_of_test is not None and processes.rank() == 0:
            place, self._place_of_test = self._place_of_test, None  # one more signal is not to save once more
            self._save(place)
            raise self._interruption()

    def _end_if_asked(self):
        """Saves the state and ends the run, if a signal came to one of the processes."""
        asked = processes.largest(self._signal)  # meanwhile one may come, and count at the next batch
        if asked:
            self._signal = asked
            self._save(self._place())
            processes.wait_for_all()  # a launcher may kill all when the first ends
            raise self._interruption()

    def _interruption(self):
        return RunInterruptedError(
            f"interrupted by {signal.Signals(self._signal).name} in epoch {len(self.history) - 1}, "
            f"after {self._batches_done} batches; "
            f"saved in {self.state_path}: the same command with --resume goes on from there",
            status=130 if self._signal == signal.SIGINT else 143,
        )

    def _keep(self, name, figures, epoch=None):
        accuracy, loss, seconds = figures
        if not math.isfinite(loss):
            raise InputError(
                f"the {name} loss of epoch {len(self.history) - 1} is {loss}: the training has run away; lower --lr "
                f"({self.options.lr} now) and start anew"
            )
        epoch = self.history[-1] if epoch is None else epoch
        epoch |= {f"{name}_accuracy": accuracy, f"{name}_loss": loss, f"{name}_seconds": seconds}

    def _measure(self):
        """Which reviews decide on the best epoch and on the early stop: those held out, or else the test's."""
        return "test" if self.options.validation is None else "validation"

    def _accuracies(self):
        """The accuracies that decide, a dict from the epochs that were tested."""
        name = f"{self._measure()}_accuracy"
        return {number: epoch[name] for number, epoch in enumerate(self.history) if name in epoch}

    def _tests_since_best(self):
        """How many tests came after the one with the best accuracy."""
        accuracies = list(self._accuracies().values())
        return len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0

    def _epoch_of_the_model(self):
        """The figures of the epoch whose weights the model has when all are done."""
        accuracies = self._accuracies()
        return self.history[max(accuracies, key=accuracies.get) if self.best_weights is not None else -1]

    def _is_finished(self):
        if self._rows is not None:
            return False
        stops_early = (
            self.options.early_stopping is not None and self._tests_since_best() >= self.options.early_stopping
        )
        return stops_early or len(self.history) >= self.options.epochs

    def _write_results(self, finished):
        if processes.rank() > 0:
            return
        no_of_weights = sum(weight.numel() for weight in self.model.parameters())
        write_results(self.options, self.device, no_of_weights, self.history, finished)

    def _set_schedule(self, place):
        """Sets the learning rate of the next step, by how many steps are done."""
        steps_an_epoch = math.ceil(self.no_of_reviews / self.options.batch_size)
        steps = len(self.history) * steps_an_epoch
        if place is not None:
            steps += place["batches_done"] - steps_an_epoch
        if steps > 0:
            # a schedule is a function of the step alone: from the one before it goes to this one
            self.scheduler.load_state_dict({"last_epoch": steps - 1, "_step_count": steps + 1})
            self.scheduler.step()

    def _check_processes_are_alike(self):
        """InputError where a process has other options or data, or has found another state than the first."""
        runs = processes.gather(
            (plain_options(self.options), self.no_of_reviews, len(self.history), self._batches_done)
        )
        for number, run in enumerate(runs):
            if run != runs[0]:
                raise InputError(
                    f"process {number} has other options, other data or another {self.state_path.name} than process 0; "
                    "start all with the same command, on nodes that see the same files"
                )

    def _resume(self):
        if not self.state_path.exists():
            print(f"{self.state_path} does not exist: nothing to resume, starting anew", file=sys.stderr)
            return
        keys = ("options", "history", "place", "weights", "best_weights", "optimizer", "generator", "rng", "cuda_rng")
        state = load_checkpoint(self.state_path, self.options.part, keys, "start anew, without --resume")
        # a state of a version that did not know an option was saved with its default
        now, then = plain_options(self.options), self.options.defaults | state["options"]
        # a cycle ends with the last epoch
        free = FREE_OPTIONS - {"epochs"} if self.options.schedule == "one-cycle" else FREE_OPTIONS
        changed = [name for name in now if name not in free and now[name] != then[name]]
        if changed:
            listed = ", ".join(f"--{name.replace('_', '-')} {then[name]}" for name in changed)
            raise InputError(f"{self.state_path} was saved with {listed}; give the same, or start without --resume")
        try:
            self.model.load_state_dict(state["weights"])
        except RuntimeError as error:
            advice = "give the --data that it was saved with, or start without --resume"
            raise InputError(f"the weights in {self.state_path} do not fit this model; {advice}") from error
        # without early stopping, the last weights are the model
        self.best_weights = state["best_weights"] if self.options.early_stopping else None
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = state["history"]
        torch.set_rng_state(state["rng"])
        was_on_cuda = state["cuda_rng"] is not None
        if was_on_cuda == (self.device.type == "cuda"):  # CPU and CUDA have generators of different kinds
            self.generator.set_state(state["generator"])
            if was_on_cuda:
                torch.cuda.set_rng_state(state["cuda_rng"])
        self._set_schedule(state["place"])
        if state["place"] is not None:
            self._rows = state["place"]["rows"].to(self.device)
            self._batches_done = state["place"]["batches_done"]
            self._tally = Tally(state["place"]["tally"])
            print(f"going on in epoch {len(self.history) - 1}, after {self._batches_done} batches", file=sys.stderr)
        elif self._is_finished():
            print(f"finished already: {len(self.history)} epochs are done", file=sys.stderr)
        else:
            print(f"going on after epoch {len(self.history) - 1}", file=sys.stderr)
