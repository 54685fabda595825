"""The pictures of the results sheet, and all of it as a PDF. Needs matplotlib."""

import io
import math
import textwrap

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.backends.backend_pdf import PdfPages

LANDSCAPE = (11.7, 8.3)  # A4, inches
TRAIN, TEST = "tab:blue", "tab:orange"
FONT_SIZE = 8
LINE_HEIGHT = 1.2 * FONT_SIZE / 72 / LANDSCAPE[1]
# characters of the monospaced font on a page, lines, and the widest column of a table
PAGE_WIDTH, PAGE_LINES, WIDEST = 155, 54, 34


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
        yield f"learning_curves_{part}", _learning_curves([run for run in runs if run.part == part])
    by_length = [run for run in runs if run.part in ("2a", "2b", "3c") and len(run.tested) > 1]
    if by_length:
        yield "accuracy_by_length", _accuracy_by_length(by_length)
    language_models = [run for run in runs if run.part == "3a"]
    if language_models:
        yield "perplexity", _perplexity(language_models)


def _curve(axes, run, name, label, color, scale=lambda value: value):
    points = [(number, scale(epoch[name])) for number, epoch in enumerate(run.epochs, 1) if name in epoch]
    if points:
        # a test every third epoch is to be seen as points
        axes.plot(*zip(*points, strict=True), marker=".", color=color, label=label)


def _learning_curves(runs):
    """Accuracy and loss by epoch, a row of two panels a trial."""
    figure, axes = plt.subplots(
        len(runs), 2, figsize=(LANDSCAPE[0], max(4, 2.1 * len(runs))), squeeze=False, layout="constrained"
    )
    figure.suptitle(f"{runs[0].part}: learning curves")
    for run, (accuracy, loss) in zip(runs, axes, strict=True):
        _curve(accuracy, run, "train_accuracy", "training", TRAIN, lambda share: 100 * share)
        _curve(accuracy, run, "test_accuracy", "test", TEST, lambda share: 100 * share)
        _curve(loss, run, "train_loss", "training", TRAIN)
        _curve(loss, run, "test_loss", "test", TEST)
        accuracy.set_ylabel("accuracy, %")
        loss.set_ylabel("loss")
        for panel in (accuracy, loss):
            panel.set_title(run.trial + (f" ({run.state})" if run.state else ""), fontsize="medium", loc="left")
            panel.grid(alpha=0.3)
            panel.xaxis.get_major_locator().set_params(integer=True)
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
    axes.set(title="3a: perplexity of the language model", xlabel="epoch", ylabel="perplexity", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


# ---- text


def _text_pages(blocks):
    """Figures with the `blocks`, pairs of heading and lines; a block that does not fit begins a new page."""
    page, used = None, PAGE_LINES
    for heading, lines in blocks:
        while heading is not None:
            if used + min(len(lines) + 3, PAGE_LINES) > PAGE_LINES:
                if page is not None:
                    yield page
                page, used = plt.figure(figsize=LANDSCAPE), 0
            _put(page, used, [heading], weight="bold")
            shown, lines = lines[: PAGE_LINES - used - 3], lines[PAGE_LINES - used - 3 :]
            _put(page, used + 2, shown, family="monospace")
            used += len(shown) + 4
            heading = f"{heading}, continued" if lines else None
    if page is not None:
        yield page


def _put(page, line, lines, **style):
    y = 0.95 - line * LINE_HEIGHT
    # a dollar sign is no formula here
    page.text(0.04, y, "\n".join(lines), fontsize=FONT_SIZE, va="top", linespacing=1.2, parse_math=False, **style)


def _table_blocks(tables, damaged):
    """The tables with columns as wide as they need, but for long texts, which are wrapped."""
    for heading, header, rows in tables:
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        widths = [min(width, WIDEST) for width in widths]
        lines = [*_row_lines(header, widths), *_row_lines(["-" * width for width in widths], widths)]
        for row in rows:
            lines += _row_lines(row, widths)
        yield heading, lines
    if damaged:
        yield "Not read", [line for text in damaged for line in textwrap.wrap(text, PAGE_WIDTH)]


def _row_lines(row, widths):
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        cells = [cell[number] if number < len(cell) else "" for cell in wrapped]
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _review_blocks(reviews):
    for trial, texts in reviews.items():
        wrapped = [[*textwrap.wrap(text, PAGE_WIDTH), ""] for text in texts if text]
        yield f"3b: generated reviews, {trial}", [line for lines in wrapped for line in lines]
