"""The pictures of the results sheet, and all of it as a PDF. Needs matplotlib."""

import io
import textwrap

from matplotlib import ticker
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

A4 = (8.3, 11.7)  # inches
SPLITS = {"train": "training", "validation": "validation", "test": "test"}
COLORS = {"train": "tab:blue", "validation": "tab:green", "test": "tab:orange"}
EPOCH = "epoch, counted from 0"
TRIALS_ON_A_PAGE = 4
# of the pages of tables and text: in points; in characters; in lines
FONT_SIZE, HEADER_WIDTH, CELL_WIDTH, PAGE_WIDTH, PAGE_LINES = 8, 11, 32, 110, 80


def draw(runs, sections):
    """The files, a dict from name to bytes: a PNG a picture, then results.pdf with the sections and the pictures.

    `runs` is a list of `results_sheet.Run`, `sections` one of `results_sheet.Section`, the title first.
    """
    pictures = list(_pictures(runs))
    files = {}
    for name, figure in pictures:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=110)
        files[f"{name}.png"] = content.getvalue()
    content = io.BytesIO()
    with PdfPages(content, metadata={"Title": sections[0].heading}) as pdf:
        for section in sections:
            for page in _pages(section):
                pdf.savefig(page, bbox_inches="tight" if page.axes else None)  # a table as large as it needs
        for _, figure in pictures:
            pdf.savefig(figure)
    return files | {"results.pdf": content.getvalue()}


# ---- pictures


def _pictures(runs):
    for part in dict.fromkeys(run.part for run in runs):
        of_part = [run for run in runs if run.part == part]
        for page, start in enumerate(range(0, len(of_part), TRIALS_ON_A_PAGE), 1):
            name = f"learning_curves_{part}" if page == 1 else f"learning_curves_{part}_{page}"
            yield name, _learning_curves(of_part[start : start + TRIALS_ON_A_PAGE])
        if len(of_part) > 1:
            yield f"all_trials_{part}", _all_trials(of_part)
    by_length = [run for run in runs if run.part != "3a" and any(tested.length for tested in run.tested)]
    if by_length:
        yield "accuracy_by_length", _accuracy_by_length(by_length)
    language_models = [run for run in runs if run.part == "3a"]
    if language_models:
        yield "perplexity", _perplexity(language_models)


def _curves(run, split, panels, **style):
    """Draws a run's figures by epoch on the reviews `split`: "train", "validation" or "test". `panels` is a dict from a
    figure's name, such as "accuracy", to the axes that show it."""
    # points show where there was a test; a curve without any is in the legend all the same
    style = {"marker": "."} | style
    if split == "test" and run.holds_out():  # the one test, at the end of the validation's curve
        style |= {"marker": "*", "markersize": 13, "markerfacecolor": "none", "linestyle": "", "zorder": 3}
    for figure, axes in panels.items():
        name = f"{split}_{figure}"
        points = {number: epoch[name] for number, epoch in enumerate(run.epochs) if name in epoch}
        axes.plot(list(points), list(points.values()), **style)


def _dress(panels):
    """Gives the axes of `panels`, a dict as in `_curves`, a label, a grid, and whole numbers for the epochs."""
    for figure, axes in panels.items():
        axes.set_ylabel("accuracy, %" if figure == "accuracy" else figure)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _learning_curves(runs):
    """Accuracy and loss by epoch, a row of two panels a trial."""
    figure = Figure(figsize=(A4[1], max(4, 2.075 * len(runs))), layout="constrained")
    axes = figure.subplots(len(runs), 2, squeeze=False)
    figure.suptitle(f"{runs[0].part}: learning curves")
    for run, (accuracy, loss) in zip(runs, axes, strict=True):
        panels = {"accuracy": accuracy, "loss": loss}
        for split, label in SPLITS.items():
            if split != "validation" or run.holds_out():
                _curves(run, split, panels, color=COLORS[split], label=label)
        _dress(panels)
        for panel in (accuracy, loss):
            panel.set_title(run.trial + (f" ({run.state})" if run.state else ""), fontsize="medium", loc="left")
        if run is runs[0] or run.holds_out():
            accuracy.legend()
    for panel in axes[-1]:
        panel.set_xlabel(EPOCH)
    return figure


def _style_of(number):
    """The color and marker of a trial, by its `number` in a picture of several."""
    return {"color": f"C{number % 10}", "marker": ".sv^D"[number // 10 % 5]}


def _all_trials(runs):
    """Accuracy and loss of all trials of a part by epoch: on test or validation reviews, and in training."""
    figure = Figure(figsize=(A4[1], 5), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    panels = {"accuracy": accuracy, "loss": loss}
    star = "; star: the one test of a run with validation" if any(run.holds_out() for run in runs) else ""
    figure.suptitle(f"{runs[0].part}: all trials; dashed: in training{star}")
    for number, run in enumerate(runs):
        style = _style_of(number)
        _curves(run, "train", panels, linestyle="--", alpha=0.6, **style)
        _curves(run, "test", panels, **style, label="" if run.holds_out() else f"{run.trial}, test")
        if run.holds_out():
            _curves(run, "validation", panels, **style, label=f"{run.trial}, validation")
    _dress(panels)
    for panel in (accuracy, loss):
        panel.set_xlabel(EPOCH)
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


def _accuracy_by_length(runs):
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    crops = [tested.length for run in runs for tested in run.tested if tested.length != "whole"]
    # whole reviews differ in length: they stand to the right of all crops
    whole = max(crops, default=0) * 1.15
    for number, run in enumerate(runs):
        style, label = _style_of(number), f"{run.part} {run.trial}"
        in_crops = sorted(tested[:2] for tested in run.tested if tested.length != "whole")
        if in_crops:
            axes.plot(*zip(*in_crops, strict=True), **style, label=label)
        on_whole = [tested.accuracy for tested in run.tested if tested.length == "whole"]
        if on_whole:
            style |= {"marker": "*", "markersize": 10}
            axes.plot([whole], on_whole[-1:], linestyle="", **style, label=f"{label}, whole reviews")
    if any(tested.length == "whole" for run in runs for tested in run.tested):
        ticks = [tick for tick in axes.get_xticks() if crops and 0 <= tick <= max(crops)]
        axes.set_xticks([*ticks, whole], [*(f"{tick:g}" for tick in ticks), "whole\nreviews"])
    axes.set(title="Test accuracy by the length of the crops", xlabel="tokens of a crop", ylabel="accuracy, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small")
    return figure


def _perplexity(runs):
    """Of all trials of 3a by epoch; the legend has each trial's last figure on the reviews that tell most."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    for number, run in enumerate(runs):
        last = {name: value for epoch in run.epochs for name, value in epoch.items()}
        splits = [split for split in SPLITS if f"{split}_perplexity" in last]
        for split in splits:
            style = _style_of(number) | {"linestyle": "--" if split == "train" else "-"}
            if split == splits[-1]:
                style["label"] = f"{run.trial}, {SPLITS[split]}: {last[f'{split}_perplexity']:.2f} at the end"
            _curves(run, split, {"perplexity": axes}, **style)
    axes.set(title="3a: perplexity of the language model; dashed: in training", xlabel=EPOCH, yscale="log")
    _dress({"perplexity": axes})
    # plain numbers, 60 and not a power of ten, and lines so close that 48 can be told from 50
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set_minor_locator(ticker.LogLocator(subs=[tenth / 10 for tenth in range(10, 100, 2)]))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.5)
    axes.grid(alpha=0.2, which="minor")
    figure.legend(loc="outside right center", fontsize="small")
    return figure


# ---- pages of tables and text


def _pages(section):
    """The pages of a `results_sheet.Section`: one for each of its tables, of the size that it needs, and of text."""
    for table in section.tables:
        yield _table_page(section.heading, table)
    text = "\n\n".join([section.heading, *section.paragraphs, *map("\n".join, section.details)])
    lines = [part for line in text.splitlines() for part in _wrapped(line, PAGE_WIDTH) or [""]]
    for start in range(0, len(lines), PAGE_LINES):
        page = Figure(figsize=A4)
        text = "\n".join(lines[start : start + PAGE_LINES])
        page.text(0.05, 0.96, text, va="top", family="monospace", fontsize=FONT_SIZE, parse_math=False)
        yield page


def _wrapped(text, width):
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=width > HEADER_WIDTH)


def _table_page(heading, rows):
    page = Figure(figsize=(A4[1], 1))
    axes = page.subplots()
    axes.axis("off")
    axes.set_title(heading, loc="left")
    widths = [HEADER_WIDTH, *[CELL_WIDTH] * len(rows)]
    cells = [["\n".join(_wrapped(cell, width)) for cell in row] for row, width in zip(rows, widths, strict=False)]
    table = axes.table(cells, loc="upper left", cellLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(FONT_SIZE)
    table.auto_set_column_width(range(len(rows[0])))
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor("lightgray")
        cell.set_height(cell.get_height() * max(text.count("\n") + 1 for text in cells[row]))
        cell.get_text().set_parse_math(False)  # a dollar sign is no formula here
    return page
