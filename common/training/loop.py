"""What surrounds the training step: epochs, batches, progress, printing, tests when due, early stop, saving."""

import math
import sys
from contextlib import ExitStack, contextmanager, redirect_stdout

import torch
import torch.nn as nn

from common.data.batches import like_lengths_together
from common.distributed import processes
from common.distributed.device import cpu_is_fast_in_bf16
from common.distributed.ending import LastingStream
from common.errors import InputError
from common.files import make_directory, sole_use
from common.models.sharing import share_batches
from common.training.checkpoints import save_model
from common.training.metrics import ProgressBar, Tally, figures_line, perplexity_of
from common.training.options import plain_options
from common.training.results import recorded, write_note, write_results
from common.training.resuming import RunState, Signals, copy_of_weights, make_room


def make_optimizer(options, parameters):
    """The optimizer that `--optimizer` and `--lr` ask for (handout, part 1a)."""
    # fused: each weight is read and written once a step, not once an operation
    if options.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=options.lr, fused=True)
    return torch.optim.SGD(parameters, lr=options.lr, momentum=0.9, fused=True)


class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
    """A tenth of the rate after two tests without a lower loss (handout, part 1a, "Learning rate schedule")."""

    def __init__(self, optimizer):
        super().__init__(optimizer, factor=0.1, patience=1)

    def step(self, loss=None):
        """Looks at the loss of a test; after a step of the optimizer, which has none, it changes nothing."""
        if loss is not None:
            super().step(loss)


def make_scheduler(options, optimizer, no_of_reviews):
    """The schedule that `--schedule`, `--lr` and `--lr-drop-epoch` ask for: its `step()` comes after each step of the
    optimizer and sets the next one's learning rate.

    `no_of_reviews` is that of an epoch. One-cycle: Smith and Topin 2018; the drop to a tenth: handout, part 3a.
    """
    # the handout's rate changes between two epochs, a cycle's with each batch: so all schedules count batches
    steps_an_epoch = math.ceil(no_of_reviews / options.batch_size)
    if options.schedule == "one-cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, options.epochs * steps_an_epoch)
    if options.schedule == "plateau":
        return Plateau(optimizer)
    first_low = math.inf if options.lr_drop_epoch is None else options.lr_drop_epoch * steps_an_epoch
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 if step >= first_low else 1.0)


class Training:
    """One training run: everything but the step, in a `with` block, in which no other run gets its output folder.

    The trained model goes to the file `model_name` there, and beside it the state for `--resume`, after each epoch and
    when a signal or `--max-time` ends the run (`common.training.resuming`). `reviews` are the training reviews, in the
    ids of `vocabulary`; `by_length` gives each batch reviews of like length; `vectors` are the GloVe vectors that stand
    for their words, if any. InputError for a batch size that does not fit their number or that of the processes, a
    folder that cannot be written to, that another run uses or that holds one that was cut off, and a state that cannot
    be resumed.

    In each of the `epochs()` a script calls `tally()` first, then goes through the `batches()`, whose progress bar
    shows the tally.
    """

    def __init__(
        self,
        options,
        model_name,
        model,
        optimizer,
        scheduler,
        reviews,
        vocabulary,
        device,
        by_length=False,
        vectors=None,
    ):
        last_batch = len(reviews) % options.batch_size or options.batch_size
        if last_batch < max(2, processes.count()):
            raise InputError(
                f"--batch-size {options.batch_size} leaves a last batch of {last_batch} of the {len(reviews)} training "
                "reviews: batch norm needs two, and each process one; choose another"
            )
        self.options = options
        self.model_path = options.output / model_name
        self.model = model
        self.optimizer = optimizer
        self.no_of_reviews = len(reviews)
        self.lengths = reviews.lengths if by_length else None
        self.vocabulary = vocabulary
        self.vectors = vectors
        # the reviews that decide on the best epoch and on the early stop: those held out, or else the test's
        self.deciding = "test" if options.validation is None else "validation"
        self.device = device
        no_of_batches = math.ceil(len(reviews) / options.batch_size)
        data = {"vocabulary": vocabulary.description(), "sha256_of_reviews": reviews.sha256()}
        path = self.model_path.with_suffix(".state")
        self.state = RunState(path, options, model, optimizer, scheduler, data, no_of_batches, device)
        self.history = self.state.history  # one dict of figures an epoch
        self.generator = self.state.generator  # what shuffles and crops draw from
        self.signals = Signals(self.state)
        self._was_finished = False
        if processes.count() > 1:
            share_batches(model)

    def __enter__(self):
        make_directory(self.options.output)
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(LastingStream(sys.stdout)))  # a closed terminal costs lines, no weights
            if processes.rank() == 0:
                stack.enter_context(sole_use(self.options.output))
            if self.options.resume:
                self.state.resume()
                self._was_finished = recorded(self.options.output, "finished") and self._is_finished()
                if not self._was_finished:  # run.json is written anew, and its note may be newer than the state
                    self.options.note = self.options.note or recorded(self.options.output, "note") or ""
                if self.history:
                    going_on = f"going on {self.state}"
                    finished = f"finished already: epoch {len(self.history) - 1} was the last"
                    print(finished if self._was_finished else going_on, file=sys.stderr)
            elif (
                "train_length" in self.options
                and self.options.precision is None
                and self.device.type == "cpu"
                and cpu_is_fast_in_bf16()
            ):
                print("with --precision bf16 this CPU needs half to two thirds of the time", file=sys.stderr)
            if processes.rank() == 0 and not self.history:
                make_room(self.options, self.model_path, self.state.path)
            self._check_processes_are_alike()
            stack.enter_context(self.signals)
            self._leave = stack.pop_all().__exit__
        return self

    def __exit__(self, *error):
        return self._leave(*error)

    def epochs(self):
        """The epochs still to do, counted from 0.

        When they are done, with `--early-stopping`, the model gets the weights of its best test back.
        """
        if not self._is_finished():
            self._write_results(finished=False)  # over those of an earlier run, which may be finished
        while not self._is_finished():
            if self.state.rows is None:
                self.history.append({"learning_rate": max(group["lr"] for group in self.optimizer.param_groups)})
            yield len(self.history) - 1
        self.state.give_best_weights()

    def tally(self):
        """The `Tally` of the epoch, before its `batches()`; of a resumed one with what it has counted already."""
        self.state.tally = self.state.tally or Tally()
        return self.state.tally

    def batches(self, tokens=None):
        """The rows of the training reviews, shuffled, in batches: int64 tensors (batch,), the last may be shorter.

        The `tally()` comes before. Of several processes, each gets its own rows of each batch. While a script works on
        a batch, `processes.shared_batch` keeps how many rows all of it has: `random_crops`, dropout and batch norm read
        this without being told, so that they draw and average over the whole batch. The progress bar counts reviews
        or, for a language model, the `tokens` that it takes of each.
        """
        state = self.state
        batches = self._batches_to_do()
        done = state.batches_done * self.options.batch_size
        with ProgressBar(len(self.history) - 1, done, self.no_of_reviews, state.tally, tokens) as bar:
            for rows in batches:
                self.signals.end_if_asked()
                with processes.shared_batch(rows) as own_rows:
                    yield own_rows
                state.batches_done += 1
                self.signals.has_got_on = True
                bar.update(len(rows) * (tokens or 1))
        self.signals.end_if_asked()

    def reduce_each_batch(self, reduce, numbers):
        """For each batch that `batches()` will give in this epoch, `reduce`, torch.sum or torch.max, of its rows of
        `numbers` (reviews,) int64: a list.

        It waits for the device once, for all batches.
        """
        figures = []
        for rows in self._batches_to_do():
            with processes.shared_batch(rows) as own_rows:
                figures.append(reduce(numbers[own_rows]))
        return torch.stack(figures).tolist() if figures else []

    def _batches_to_do(self):
        """The rows of the epoch's batches that are not done yet; the epoch's first call shuffles."""
        state = self.state
        if state.rows is None:
            rows = torch.randperm(self.no_of_reviews, generator=self.generator, device=self.device)
            if self.lengths is not None:
                rows = like_lengths_together(rows, self.lengths, self.options.batch_size, self.generator)
            state.rows = rows
        return state.rows.split(self.options.batch_size)[state.batches_done :]

    def report_training(self, figures, perplexity=False):
        """Records the epoch's `Tally.figures` and prints them after its number."""
        if "train_loss" not in self.history[-1]:  # else a run that was interrupted in its test has printed them
            self._record("train", figures)
            print(len(self.history) - 1, figures_line(figures, perplexity), flush=True)

    def test_is_due(self):
        """Whether this epoch ends with a test: every `--test-every`-th one does, and the last.

        With `--validation`, that test is on the reviews held out.
        """
        done = len(self.history)
        is_due = done % self.options.test_every == 0 or done >= self.options.epochs
        if is_due:
            self.signals.begin_test()
        return is_due

    @contextmanager
    def precise_batch_norm(self):
        """For one forward pass over all training reviews, whose rows it gives: it sets batch norm's running figures.

        They are then those of the present weights, where a running average mixes in those of earlier weights (Wu and
        Johnson 2021, "Rethinking 'Batch' in BatchNorm"). Dropout is off, as in the test that follows.
        """
        self.model.eval()
        norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm1d)]
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
        """Records the test's `Tally.figures` and prints them, indented, after a word if they are of `--validation`."""
        self.signals.end_test()
        self._record(self.deciding, figures)
        if self.options.schedule == "plateau":
            self.state.scheduler.step(self.history[-1][f"{self.deciding}_loss"])
        word = "" if self.deciding == "test" else "validation "
        print("  ", word + figures_line(figures, perplexity), flush=True)

    def end_epoch(self):
        """Saves the state that `--resume` goes on from, and the results so far."""
        tested = f"{self.deciding}_loss" in self.history[-1]
        if self.options.early_stopping and tested and self._tests_since_best() == 0:
            self.state.best_weights = copy_of_weights(self.model)
        self.state.rows, self.state.batches_done, self.state.tally = None, 0, None
        self.state.save(position=None)
        self._write_results(finished=False)

    def save_model(self, hyperparameters, finished=False):
        """Saves the model as it is now, with its constructor's arguments, and whether its run is `finished`."""
        part, epochs_done = self.options.part, len(self.history)
        save_model(self.model_path, part, self.model, hyperparameters, self.vocabulary, epochs_done, finished)

    def finish(self, hyperparameters, evaluate, perplexity=False):
        """Saves the trained model, then the final results, which say that the run is finished.

        With `--validation`, `evaluate()` first gives the figures of the test reviews, which no epoch has looked at;
        they are printed and recorded with those of the epoch whose weights the model has. In the folder of a run that
        was finished before, nothing changes but a new `--note`, and a model that was removed comes back.
        """
        if self._was_finished:
            if not self.model_path.exists():
                self.save_model(hyperparameters, finished=True)
            if self.options.note and processes.rank() == 0:
                write_note(self.options)
            return
        epoch = self.history[self._epoch_of_the_model()]
        if self.options.validation is not None and "test_loss" not in epoch:
            self.signals.begin_test()
            figures = evaluate()
            self.signals.end_test()
            self._record("test", figures, epoch)
            print("  ", figures_line(figures, perplexity), flush=True)
            self.state.save(position=None)
        self.save_model(hyperparameters, finished=True)
        print(f"saved {self.model_path}", file=sys.stderr)
        self._write_results(finished=True)

    def _record(self, name, figures, epoch=None):
        accuracy, loss, seconds = figures
        # a training loss whose exponential overflows is more than a wrong step: no later step mends it
        if not math.isfinite(perplexity_of(loss) if name == "train" else loss):
            raise InputError(
                f"the {name} loss of epoch {len(self.history) - 1} is {loss}: the training has run away; lower --lr "
                f"({self.options.lr} now) and start again"
            )
        epoch = self.history[-1] if epoch is None else epoch
        epoch |= {f"{name}_accuracy": accuracy, f"{name}_loss": loss, f"{name}_seconds": seconds}

    def _accuracies(self):
        """The accuracies that decide, a dict from the epochs that were tested."""
        name = f"{self.deciding}_accuracy"
        return {number: epoch[name] for number, epoch in enumerate(self.history) if name in epoch}

    def _tests_since_best(self):
        """How many tests came after the one with the best accuracy."""
        accuracies = list(self._accuracies().values())
        return len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0

    def _epoch_of_the_model(self):
        """The number, from 0, of the epoch whose weights the model has when all are done."""
        accuracies = self._accuracies()
        return len(self.history) - 1 if self.state.best_weights is None else max(accuracies, key=accuracies.get)

    def _is_finished(self):
        if self.state.rows is not None:
            return False
        patience = self.options.early_stopping
        stops_early = patience is not None and self._tests_since_best() >= patience
        return stops_early or len(self.history) >= self.options.epochs

    def _write_results(self, finished):
        if processes.rank() == 0:
            about = self.options, self.state.data, self.device, self.model
            trained = [epoch for epoch in self.history if "train_loss" in epoch]
            write_results(*about, self._epoch_of_the_model(), self.vectors, trained, finished)

    def _check_processes_are_alike(self):
        """InputError where a process has another device, other options or data, or another state than the first."""
        position = len(self.history), self.state.batches_done
        runs = processes.gather((self.device.type, plain_options(self.options), self.state.data, position))
        for number, run in enumerate(runs):
            if run != runs[0]:
                raise InputError(
                    f"process {number} has other options, other data, another {self.state.path.name} or another device "
                    f"({run[0]}, not {runs[0][0]}) than process 0; start all with the same command, on nodes that see "
                    "the same files and have their GPUs (see nvidia-smi)"
                )
