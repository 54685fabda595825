"""The pictures of the results sheet, and all of it as a PDF. Needs matplotlib."""

import io
import math
import os
import re
import textwrap
from itertools import zip_longest

# a notebook's, which it hands down to what it starts, may not be installed here; nothing is shown, all is written
os.environ["MPLBACKEND"] = "agg"

from matplotlib import ticker
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

LANDSCAPE = (11.7, 8.3)  # A4, inches
TRAIN, VALIDATION, TEST = "tab:blue", "tab:green", "tab:orange"
SPLITS = {"train": "training", "validation": "validation", "test": "test"}
EPOCH = "epoch, counted from 0"
TRIALS_ON_A_PAGE = 4
# of the pages, in points
PAGE_POINTS = 72 * LANDSCAPE[0], 72 * LANDSCAPE[1]
MARGIN, GAP = 36, 10
FONT_SIZE, LINE_HEIGHT = 8, 10
PAGE_LINES = int((PAGE_POINTS[1] - 2 * MARGIN) / LINE_HEIGHT)
# the width of a character, about; the most characters of a column that is not the last, tried in turn until the table
# fits, and the fewest of the last
CHARACTER, WIDEST, NARROWEST = 0.57 * FONT_SIZE, (34, 28, 22, 16), 20


def draw(runs, blocks, damaged, reviews):
    """Yields the files (name, bytes): a PNG a picture, then results.pdf with the blocks, the pictures and the reviews.

    `runs` is a list of `results_sheet.Run`, `blocks` one of (heading, header, rows) as of `results_sheet.part_blocks`,
    the title first, `damaged` lines of text, and `reviews` a dict from trial to lines.
    """
    pictures = list(_pictures(runs))
    for name, figure in pictures:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=110)
        yield f"{name}.png", content.getvalue()
    content = io.BytesIO()
    with PdfPages(content, metadata={"Title": blocks[0][0]}) as pdf:
        for page in _text_pages(_table_blocks(blocks, damaged)):
            pdf.savefig(page)
        for _, figure in pictures:
            pdf.savefig(figure)
        for page in _text_pages(_review_blocks(reviews)):
            pdf.savefig(page)
    yield "results.pdf", content.getvalue()


# ---- pictures


def _pictures(runs):
    for part in dict.fromkeys(run.part for run in runs):
        of_part = [run for run in runs if run.part == part]
        for page, start in enumerate(range(0, len(of_part), TRIALS_ON_A_PAGE), 1):
            name = f"learning_curves_{part}" if page == 1 else f"learning_curves_{part}_{page}"
            yield name, _learning_curves(of_part[start : start + TRIALS_ON_A_PAGE])
        if len(of_part) > 1:
            yield f"all_trials_{part}", _all_trials(of_part)
    by_length = [run for run in runs if run.by_length() and run.part != "3a"]
    if by_length:
        yield "accuracy_by_length", _accuracy_by_length(by_length)
    language_models = [run for run in runs if run.part == "3a"]
    if language_models:
        yield "perplexity", _perplexity(language_models)


def _percent(share):
    return 100 * share


def _curves(accuracy, loss, run, split, scale=lambda value: value, **style):
    """Draws a run's accuracy and loss on the reviews `split`, "train", "validation" or "test", into two panels, either
    of which may be None; `scale` is of the loss."""
    for axes, figure, scaled in ((accuracy, "accuracy", _percent), (loss, "loss", scale)):
        if axes is not None:
            name = f"{split}_{figure}"
            points = {number: scaled(epoch[name]) for number, epoch in enumerate(run.epochs) if name in epoch}
            # a test every third epoch is to be seen as points; a curve without any is in the legend all the same
            style = {"marker": "."} | style
            if split == "test" and run.holds_out():  # the one test, at the end of the validation's curve
                style |= {"marker": "*", "markersize": 13, "markerfacecolor": "none", "linestyle": "", "zorder": 3}
            axes.plot(list(points), list(points.values()), **style)


def _number_epochs(axes):
    # whole numbers, even if there is but one
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _learning_curves(runs):
    """Accuracy and loss by epoch, a row of two panels a trial."""
    figure = Figure(figsize=(LANDSCAPE[0], max(4, 2.075 * len(runs))), layout="constrained")
    axes = figure.subplots(len(runs), 2, squeeze=False)
    figure.suptitle(f"{runs[0].part}: learning curves")
    for run, (accuracy, loss) in zip(runs, axes, strict=True):
        _curves(accuracy, loss, run, "train", color=TRAIN, label="training")
        if run.holds_out():
            _curves(accuracy, loss, run, "validation", color=VALIDATION, label="validation")
        _curves(accuracy, loss, run, "test", color=TEST, label="test")
        accuracy.set_ylabel("accuracy, %")
        loss.set_ylabel("loss")
        for panel in (accuracy, loss):
            panel.set_title(run.trial + (f" ({run.state})" if run.state else ""), fontsize="medium", loc="left")
            panel.grid(alpha=0.3)
            _number_epochs(panel)
        if run is runs[0] or run.holds_out():
            accuracy.legend()
    for panel in axes[-1]:
        panel.set_xlabel(EPOCH)
    return figure


def _style_of(number):
    """How the curves of the trial of that number look where several are in a picture."""
    return {"color": f"C{number % 10}", "marker": ".sv^D"[number // 10 % 5]}


def _all_trials(runs):
    """Accuracy and loss of all trials of a part by epoch: on the reviews where they are compared, and in training."""
    figure = Figure(figsize=(LANDSCAPE[0], 5), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    star = "; star: the one test of a run with validation" if any(run.holds_out() for run in runs) else ""
    figure.suptitle(f"{runs[0].part}: all trials; dashed: in training{star}")
    for number, run in enumerate(runs):
        style = _style_of(number)
        _curves(accuracy, loss, run, "train", linestyle="--", alpha=0.6, **style)
        _curves(accuracy, loss, run, "test", **style, label="" if run.holds_out() else f"{run.trial}, test")
        if run.holds_out():
            _curves(accuracy, loss, run, "validation", **style, label=f"{run.trial}, validation")
    accuracy.set_ylabel("accuracy, %")
    loss.set_ylabel("loss")
    for panel in (accuracy, loss):
        panel.set_xlabel(EPOCH)
        panel.grid(alpha=0.3)
        _number_epochs(panel)
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


def _accuracy_by_length(runs):
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    lengths = sorted({tested.length for run in runs for tested in run.tested} - {"whole"})
    # whole reviews have no length in common: to the right of all crops
    whole = lengths[-1] * 1.15 if lengths else 0
    for number, run in enumerate(runs):
        in_crops = sorted(tested[:2] for tested in run.tested if tested.length != "whole")
        style, label = _style_of(number), f"{run.part} {run.trial}"
        if in_crops:
            axes.plot(*zip(*in_crops, strict=True), **style, label=label)
        on_whole = [tested.accuracy for tested in run.tested if tested.length == "whole"]
        if on_whole:
            style |= {"marker": "*", "markersize": 10}
            axes.plot([whole], on_whole[-1:], linestyle="", **style, label=f"{label}, whole reviews")
    if any(tested.length == "whole" for run in runs for tested in run.tested):
        ticks = [tick for tick in axes.get_xticks() if lengths and 0 <= tick <= lengths[-1]]
        axes.set_xticks([*ticks, whole], [*(f"{tick:g}" for tick in ticks), "whole\nreviews"])
    axes.set(title="Test accuracy by the length of the crops", xlabel="tokens of a crop", ylabel="accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _perplexity_of(loss):
    return math.exp(min(loss, 700))  # exp overflows where a training blows up


def _perplexity(runs):
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for number, run in enumerate(runs):
        color = _style_of(number)["color"]
        for split, linestyle in (("train", "--"), ("validation", "-"), ("test", "-")):
            losses = [epoch[f"{split}_loss"] for epoch in run.epochs if f"{split}_loss" in epoch]
            if losses:
                label = f"{run.trial}, {SPLITS[split]}: {_perplexity_of(losses[-1]):.2f} at the end"
                _curves(None, axes, run, split, _perplexity_of, color=color, linestyle=linestyle, label=label)
    axes.set(title="3a: perplexity of the language model", xlabel=EPOCH, ylabel="perplexity", yscale="log")
    _number_epochs(axes)
    # plain numbers, 60 and not a power of ten, and lines so close that 48 can be told from 50
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set_minor_locator(ticker.LogLocator(subs=[tenth / 10 for tenth in range(10, 100, 2)]))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.5)
    axes.grid(alpha=0.2, which="minor")
    axes.legend()
    return figure


# ---- pages of tables and text


def _table_blocks(blocks, damaged):
    yield from blocks
    if damaged:
        yield "Not read", None, [[text] for text in damaged]


def _review_blocks(reviews):
    for trial, texts in reviews.items():
        yield f"3b: generated reviews, {trial}", None, [[text] for text in texts]


def _text_pages(blocks):
    """Figures with the `blocks` (heading, header or None, rows of cells). A block, or else a row, that does not fit
    begins a new page, unless a page is too small for it."""
    page, used = None, PAGE_LINES
    for title, header, rows in blocks:
        columns, lines = next(layout for layout, fits in _layouts(header, rows) if fits)
        heading, above = title, 2 if header is None else 3.5
        while heading is not None:
            needs = above + sum(height for height, _, _ in lines)
            if needs > PAGE_LINES:
                needs = above + lines[0][1]
            if used + needs > PAGE_LINES:
                if page is not None:
                    yield page
                page, used = Figure(figsize=LANDSCAPE), 0
            _put(page, MARGIN, used, heading, weight="bold")
            if header is not None:
                _put_line(page, columns, used + 2, header, color="dimgray")
            used += above
            while lines and used + lines[0][1] <= PAGE_LINES:
                height, _, cells = lines.pop(0)
                if header is not None and height > 1:
                    _rule(page, used)
                used += height
                _put_line(page, columns, used - 1, cells)
            used += 2
            heading = f"{title}, continued" if lines else None
    if page is not None:
        yield page


def _layouts(header, rows):
    """The ways to set a table: (columns, lines), and whether it fits on the page, which the last is taken to do.

    A column is (position in points from the left edge, alignment), as wide as its widest cell needs; the last one takes
    what the others leave. Long cells go on in the next line. A line is (height, the height that has to be left on the
    page, cells); a row's first line is higher, and the row is to stay together.
    """
    for widest in WIDEST:
        columns, wrapped, left = [], [], MARGIN
        for number, cells in enumerate(zip(*rows, strict=True)):
            is_last = number == len(rows[0]) - 1
            room = int((PAGE_POINTS[0] - MARGIN - left) / CHARACTER)
            wrapped.append([_wrapped(cell, max(NARROWEST, room) if is_last else widest) for cell in cells])
            texts = [text for cell in wrapped[-1] for text in cell]
            right = left + max(map(_width, texts if header is None else [header[number], *texts]))
            is_number = all(re.fullmatch(r"[\d.]*", text) for text in texts)
            columns.append((right, "right") if is_number else (left, "left"))
            left = right + GAP
        lines = []
        for row in zip(*wrapped, strict=True):
            together = min(max(map(len, row)) + 0.5, PAGE_LINES / 2)
            for number, cells in enumerate(zip_longest(*row, fillvalue="")):
                lines.append((1.5, together, cells) if number == 0 else (1, 1, cells))
        yield (columns, lines), left - GAP <= PAGE_POINTS[0] - MARGIN / 2 or widest == WIDEST[-1]


def _wrapped(cell, width):
    """The cell's lines, those that are too long in several."""
    return [part for line in cell.splitlines() for part in textwrap.wrap(line, width, break_on_hyphens=False)] or [""]


def _width(text):
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT_SIZE), ismath=False)[0]


def _height(line):
    """Where a line of the page is, as a share of the page's height from its lower edge."""
    return 1 - (MARGIN + line * LINE_HEIGHT) / PAGE_POINTS[1]


def _put_line(page, columns, line, cells, **style):
    for (position, alignment), cell in zip(columns, cells, strict=True):
        _put(page, position, line, cell, ha=alignment, **style)


def _put(page, position, line, text, **style):
    # a dollar sign is no formula here
    page.text(position / PAGE_POINTS[0], _height(line), text, fontsize=FONT_SIZE, va="top", parse_math=False, **style)


def _rule(page, line):
    y = _height(line)
    margin = MARGIN / PAGE_POINTS[0]
    page.add_artist(Line2D([margin, 1 - margin], [y, y], color="lightgray", linewidth=0.5))
