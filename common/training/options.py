"""The command-line options that the scripts share."""

import argparse
import math
import os
import re
import shlex
from pathlib import Path

from common.errors import InputError
from common.files import REPOSITORY


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action):
        # an option whose default is "nothing" has none to show
        if action.default in (None, "") or action.default is False:
            return action.help
        return super()._get_help_string(action)


class OptionParser(argparse.ArgumentParser):
    """An ArgumentParser that shows defaults in its help and answers bad usage with one line."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=_HelpFormatter, allow_abbrev=False)

    def error(self, message):
        raise InputError(f"{message} (see --help)")


def _checked(convert, is_good, complaint):
    """A `type` for an option: `convert`, but its result must be good, else the text and the complaint are shown."""

    def parse(text):
        try:
            value = convert(text)
            if is_good(value):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} {complaint}")

    return parse


# the types of options
positive_int = _checked(int, lambda number: 1 <= number < 2**31, "is not a whole number from 1 to 2**31 - 1")
seed_number = _checked(int, lambda number: 0 <= number < 2**63, "is not a whole number from 0 to 2**63 - 1")
positive_float = _checked(float, lambda number: 0 < number < math.inf, "is not a number above 0")
probability = _checked(float, lambda number: 0 <= number < 1, "is not a probability from 0 to below 1")
trial_name = _checked(str, re.compile(r"\w[\w.-]*").fullmatch, "is not a name of letters, digits, '.', '_' and '-'")
person_name = _checked(  # such as "van der Berg, Jan"
    str.strip, lambda name: re.fullmatch(r"[^./][^/]*", name) and name.isprintable(), "cannot be the name of a file"
)


def remark(text):
    """An option's text as one line, with "?" for bytes of the command line that are no UTF-8."""
    return " ".join(text.encode(errors="replace").decode().split())


def _add_common_options(parser):
    data = REPOSITORY / "preprocessed_data"
    parser.add_argument("--data", type=Path, default=data, metavar="DIR", help="what preprocess_data.py wrote")
    add_device_option(parser)
    add_precision_option(parser)
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="of all that is drawn at random")
    parser.add_argument("--batch-size", type=positive_int, default=200, metavar="N", help="reviews a step")


def training_options(description, *, epochs, vocab_size=8000, dropout=0.5, lr_drop_epoch=None):
    """A parser with the options of every train script; the arguments are the handout's settings of the part.

    A `vocab_size` of None stands for the whole dictionary.
    """
    parser = OptionParser(description)
    _add_common_options(parser)
    add = parser.add_argument
    add("--output", type=Path, metavar="DIR", help="where the model goes (default: the part's directory)")
    add("--epochs", type=positive_int, default=epochs, metavar="N", help="passes over the training reviews")
    add("--optimizer", choices=["adam", "sgd"], default="adam", help="sgd has momentum 0.9")
    add("--lr", type=positive_float, metavar="X", help="learning rate (default: adam 0.001, sgd 0.01)")
    add(
        "--schedule",
        choices=["constant", "one-cycle", "plateau"],
        default="constant",
        help="one-cycle: the learning rate rises to --lr and falls to nearly nothing, the momentum the other way; "
        "plateau: a tenth of it after two tests without a lower loss",
    )
    add("--lr-drop-epoch", type=positive_int, default=lr_drop_epoch, metavar="N", help="a tenth of --lr after N epochs")
    add("--validation", type=positive_int, metavar="N", help="test on N training reviews that are held out")
    add("--early-stopping", type=positive_int, metavar="N", help="stop after N tests without a better accuracy")
    words = "most frequent words kept" + (", of a smaller dictionary all" if vocab_size else " (default: all)")
    add("--vocab-size", type=positive_int, default=vocab_size, metavar="N", help=words)
    add("--hidden-units", type=positive_int, default=500, metavar="N", help="units of each hidden layer")
    add("--dropout", type=probability, default=dropout, metavar="P", help="share of units dropped; 0: none")
    add("--remove-stop-words", action="store_true", help="make NLTK's English stop words unknown")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--resume", action="store_true", help="go on from the state of a run that was cut off")
    group.add_argument("--overwrite", action="store_true", help="remove what an earlier run left there")
    add("--max-time", type=positive_float, metavar="MINUTES", help="then save and end; --resume goes on from there")
    add("--trial", type=trial_name, default="default", metavar="NAME", help="goes to the part's trials/NAME")
    add("--note", type=remark, default="", metavar="TEXT", help="a remark for the results sheet")
    parser.set_defaults(test_every=1)
    return parser


def add_device_option(parser):
    """`--device`, for `common.distributed.device.choose_device`."""
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: CUDA if there is one")


def add_precision_option(parser):
    """`--precision`, for `common.distributed.device.choose_precision`."""
    parser.add_argument(
        "--precision",
        choices=["fp32", "tf32", "bf16"],
        help="of the matrix products; on CUDA bf16 leaves LSTMs in tf32 (default: tf32 on CUDA, fp32 on the CPU)",
    )


def add_bag_of_words_options(parser):
    """`--hidden-layers` and `--precise-batch-norm` of parts 1a and 1b."""
    parser.add_argument("--hidden-layers", type=int, choices=[1, 2, 3], default=1, help="hidden layers")
    precise = "before each test, measure batch norm's running figures on all training reviews"
    parser.add_argument("--precise-batch-norm", action="store_true", help=precise)


def add_sequence_options(parser, *, train_length, test_length, test_every, layers):
    """The options of the parts with LSTM layers; the arguments are the handout's settings of the part."""
    add = parser.add_argument
    add("--train-length", type=positive_int, default=train_length, metavar="N", help="tokens of a training crop")
    add("--test-length", type=positive_int, default=test_length, metavar="N", help="tokens of a test crop")
    add("--test-every", type=positive_int, default=test_every, metavar="N", help="test after every N epochs")
    add("--layers", type=int, choices=[1, 2, 3], default=layers, help="LSTM layers")


def add_pool_option(parser):
    """`--pool` of parts 2a, 2b and 3c."""
    pools = "how the timesteps become one vector; concat: the last one, maximum and mean side by side"
    parser.add_argument("--pool", choices=["max", "mean", "concat"], default="max", help=pools)


def evaluation_options(description, *, model, several_models=False):
    """A parser with the options of every test script.

    `model` is the place of the model file of the handout's settings. With `several_models`, `--model` takes several
    files, and is a list.
    """
    parser = OptionParser(description)
    _add_common_options(parser)
    several = "; of several, the probabilities are averaged" if several_models else ""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--model",
        type=Path,
        nargs="+" if several_models else None,
        metavar="FILE",
        help=f"the trained model (default: that of --trial){several}",
    )
    group.add_argument("--trial", type=trial_name, default="default", metavar="NAME", help="of the part's trials/NAME")
    parser.model, parser.several_models = model, several_models
    return parser


def add_input_options(parser, *, recurrent=True, sentiment=True):
    """What a test script tests on, one at a time: `--lengths` of a `recurrent` model (the default is the handout's) and
    `--review`; of a `sentiment` model `--reviews` and `--mistakes` too, and `--whole` if it is recurrent.
    """
    add = parser.add_mutually_exclusive_group().add_argument
    if recurrent:
        lengths = list(range(50, 501, 50))
        add("--lengths", type=positive_int, nargs="+", default=lengths, metavar="N", help="tokens of a test crop")
    add("--review", metavar="TEXT", help="score this review instead; - reads standard input")
    if sentiment:
        add("--reviews", type=Path, metavar="FILE", help="score these instead: one a line, or a folder of .txt files")
        mistakes = "test on whole reviews instead; how many of each kind it recognises, and the N surest mistakes"
        add("--mistakes", type=positive_int, metavar="N", help=mistakes)
    if recurrent and sentiment:
        add("--whole", action="store_true", help="test on whole reviews instead, their padding left out")


def folder_of_trial(part_directory, trial):
    """Where a trial's results go: that of "default" to the part's directory itself."""
    return part_directory if trial == "default" else part_directory / "trials" / trial


# where a run happens, not what it is
PLACES = {"data", "output", "device", "resume", "overwrite", "max_time", "trial", "note", "language_model"}


def as_words(name, value):
    """An option as on a command line, "--batch-size 50"; nothing for one that is not given, None or False."""
    if value is None or value is False:
        return ""
    values = value if isinstance(value, list) else [] if value is True else [value]
    return " ".join([f"--{name.replace('_', '-')}", *(shlex.quote(str(value)) for value in values)])


def plain_options(options):
    """The options, as a dict of plain values, with paths as text: from the top directory on, where they lie in it or
    are relative ones."""
    return {name: _plain(value) for name, value in vars(options).items()}


def _plain(value):
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        # a run.json that is passed on need not tell where its owner's home is
        is_elsewhere = value.is_absolute() and not value.is_relative_to(REPOSITORY)
        return str(value) if is_elsewhere else os.path.relpath(value, REPOSITORY)
    return value


def parse_training_options(parser, script, arguments=None):
    """The options of the train script at the path `script`, with `part`, `settings`, `lr` and `output` filled in.

    They are those of the command line, or of a list of `arguments`. `settings` are those that differ from the
    handout's, as the words of a command line.
    """
    options = parser.parse_args(arguments)
    options.settings = " ".join(
        as_words(name, value)
        for name, value in plain_options(options).items()
        if name not in PLACES and value != parser.get_default(name)
    )
    part_directory = Path(script).resolve().parent
    options.part = part_directory.name
    if options.lr is None:
        options.lr = 0.001 if options.optimizer == "adam" else 0.01
    if options.schedule != "constant":
        if options.lr_drop_epoch != parser.get_default("lr_drop_epoch"):
            parser.error("--lr-drop-epoch goes with --schedule constant")
        options.lr_drop_epoch = None
    if options.output is None:
        options.output = folder_of_trial(part_directory, options.trial)
    return options


def parse_evaluation_options(parser, arguments=None):
    """The options of a test script, with `model` filled in: of the command line, or of a list of `arguments`."""
    options = parser.parse_args(arguments)
    if options.model is None:
        path = folder_of_trial(parser.model.parent, options.trial) / parser.model.name
        options.model = [path] if parser.several_models else path
    return options
