"""The pictures of the results sheet, and all of it as a PDF. Needs matplotlib."""

import io
import math
import re
import textwrap
from itertools import zip_longest

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogFormatter

LANDSCAPE = (11.7, 8.3)  # A4, inches
TRAIN, VALIDATION, TEST = "tab:blue", "tab:green", "tab:orange"
TRIALS_ON_A_PAGE = 4
# of the pages, in points
PAGE_POINTS = 72 * LANDSCAPE[0], 72 * LANDSCAPE[1]
MARGIN, GAP = 36, 10
FONT_SIZE, LINE_HEIGHT = 8, 10
PAGE_LINES = int((PAGE_POINTS[1] - 2 * MARGIN) / LINE_HEIGHT)
# the width of a character, about; the most characters of a column that is not the last, and the fewest of the last
CHARACTER, WIDEST, NARROWEST = 0.57 * FONT_SIZE, 34, 20


def draw(runs, tables, damaged, reviews):
    """Yields the files (name, bytes): a PNG a picture, then results.pdf with the tables, the pictures and the reviews.

    `runs` is a list of `results_sheet.Run`, `tables` one of (heading, header, rows), `damaged` lines of text, and
    `reviews` a dict from trial to lines.
    """
    pictures = list(_pictures(runs))
    for name, figure in pictures:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=110)
        yield f"{name}.png", content.getvalue()
    content = io.BytesIO()
    with PdfPages(content, metadata={"Title": "Results"}) as pdf:
        for page in _text_pages(_table_blocks(tables, damaged)):
            pdf.savefig(page)
        for _, figure in pictures:
            pdf.savefig(figure)
        for page in _text_pages(_review_blocks(reviews)):
            pdf.savefig(page)
    plt.close("all")
    yield "results.pdf", content.getvalue()


# ---- pictures


def _pictures(runs):
    for part in dict.fromkeys(run.part for run in runs):
        of_part = [run for run in runs if run.part == part]
        for page, start in enumerate(range(0, len(of_part), TRIALS_ON_A_PAGE), 1):
            name = f"learning_curves_{part}" if page == 1 else f"learning_curves_{part}_{page}"
            yield name, _learning_curves(of_part[start : start + TRIALS_ON_A_PAGE])
    by_length = [run for run in runs if run.part in ("2a", "2b", "3c") and len(run.tested) > 1]
    if by_length:
        yield "accuracy_by_length", _accuracy_by_length(by_length)
    language_models = [run for run in runs if run.part == "3a"]
    if language_models:
        yield "perplexity", _perplexity(language_models)


def _curve(axes, run, name, label, color, scale=lambda value: value):
    points = {number: scale(epoch[name]) for number, epoch in enumerate(run.epochs, 1) if name in epoch}
    # a test every third epoch is to be seen as points; a curve without any is in the legend all the same
    axes.plot(list(points), list(points.values()), marker=".", color=color, label=label)


def _number_epochs(axes):
    # whole numbers, even if there is but one
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _learning_curves(runs):
    """Accuracy and loss by epoch, a row of two panels a trial."""
    figure, axes = plt.subplots(
        len(runs), 2, figsize=(LANDSCAPE[0], max(4, 2.075 * len(runs))), squeeze=False, layout="constrained"
    )
    figure.suptitle(f"{runs[0].part}: learning curves")
    for run, (accuracy, loss) in zip(runs, axes, strict=True):
        _curve(accuracy, run, "train_accuracy", "training", TRAIN, lambda share: 100 * share)
        _curve(accuracy, run, "test_accuracy", "test", TEST, lambda share: 100 * share)
        _curve(loss, run, "train_loss", "training", TRAIN)
        _curve(loss, run, "test_loss", "test", TEST)
        if run.last("validation_loss") is not None:
            _curve(accuracy, run, "validation_accuracy", "validation", VALIDATION, lambda share: 100 * share)
            _curve(loss, run, "validation_loss", "validation", VALIDATION)
            accuracy.legend()
        accuracy.set_ylabel("accuracy, %")
        loss.set_ylabel("loss")
        for panel in (accuracy, loss):
            panel.set_title(run.trial + (f" ({run.state})" if run.state else ""), fontsize="medium", loc="left")
            panel.grid(alpha=0.3)
            _number_epochs(panel)
    for panel in axes[-1]:
        panel.set_xlabel("epoch")
    axes[0][0].legend()
    return figure


def _accuracy_by_length(runs):
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    colors = {"2a": "tab:blue", "2b": "tab:green", "3c": "tab:red"}
    styles = ["-", "--", ":", "-."]
    for run in runs:
        of_part = [other for other in runs if other.part == run.part]
        axes.plot(
            [tested.length for tested in run.tested],
            [tested.accuracy for tested in run.tested],
            marker=".",
            color=colors[run.part],
            linestyle=styles[of_part.index(run) % len(styles)],
            label=f"{run.part} {run.trial}",
        )
    axes.set(title="Test accuracy by the length of the crops", xlabel="tokens of a crop", ylabel="accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _perplexity_of(loss):
    return math.exp(min(loss, 700))  # exp overflows where a training blows up


def _perplexity(runs):
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for run in runs:
        label = "" if len(runs) == 1 else f"{run.trial}, "
        _curve(axes, run, "train_loss", f"{label}training", TRAIN, _perplexity_of)
        _curve(axes, run, "test_loss", f"{label}test", TEST, _perplexity_of)
        if run.last("validation_loss") is not None:
            _curve(axes, run, "validation_loss", f"{label}validation", VALIDATION, _perplexity_of)
    axes.set(title="3a: perplexity of the language model", xlabel="epoch", ylabel="perplexity", yscale="log")
    _number_epochs(axes)
    # 200, not a power of ten
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


# ---- pages of tables and text


def _table_blocks(tables, damaged):
    yield from tables
    if damaged:
        yield "Not read", None, [[text] for text in damaged]


def _review_blocks(reviews):
    for trial, texts in reviews.items():
        yield f"3b: generated reviews, {trial}", None, [[text] for text in texts if text]


def _text_pages(blocks):
    """Figures with the `blocks` (heading, header or None, rows of cells); one that does not fit begins a new page."""
    page, used = None, PAGE_LINES
    for heading, header, rows in blocks:
        columns, lines = _layout(header, rows)
        above = 2 if header is None else 3.5
        while heading is not None:
            if used + min(above + sum(height for height, _ in lines), PAGE_LINES) > PAGE_LINES:
                if page is not None:
                    yield page
                page, used = plt.figure(figsize=LANDSCAPE), 0
            _put(page, MARGIN, used, heading, weight="bold")
            if header is not None:
                _put_line(page, columns, used + 2, header, color="dimgray")
            used += above
            while lines and used + lines[0][0] <= PAGE_LINES:
                height, cells = lines.pop(0)
                if header is not None and height > 1:
                    _rule(page, used)
                used += height
                _put_line(page, columns, used - 1, cells)
            used += 2
            heading = f"{heading}, continued" if lines else None
    if page is not None:
        yield page


def _layout(header, rows):
    """A table's columns, (position in points from the left edge, alignment), and its lines, (height, cells).

    A column is as wide as its widest cell needs; the last one takes what the others leave. Long cells go on in the next
    line, and a row's first line is higher.
    """
    columns, wrapped, left = [], [], MARGIN
    for number, cells in enumerate(zip(*rows, strict=True)):
        is_last = number == len(rows[0]) - 1
        width = max(NARROWEST, int((PAGE_POINTS[0] - MARGIN - left) / CHARACTER)) if is_last else WIDEST
        wrapped.append([textwrap.wrap(cell, width) or [""] for cell in cells])
        texts = [text for cell in wrapped[-1] for text in cell]
        right = left + max(map(_width, texts if header is None else [header[number], *texts]))
        is_number = all(re.fullmatch(r"[\d.]*", text) for text in texts)
        columns.append((right, "right") if is_number else (left, "left"))
        left = right + GAP
    lines = []
    for row in zip(*wrapped, strict=True):
        lines += [(1.5 if number == 0 else 1, cells) for number, cells in enumerate(zip_longest(*row, fillvalue=""))]
    return columns, lines


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
