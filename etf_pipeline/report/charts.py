"""Charts as inline SVG: text stays text, colours follow the page, nothing is loaded."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from cycler import cycler
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from etf_pipeline.risk.correlation import distance

# Okabe & Ito (2008), distinct for every kind of colour vision; grey in place of black.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a8a", "#b8a900")
_INK = "#010203"  # replaced by the page's own text colour
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "etf_pipeline",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.2,
    "grid.color": _INK,
    "path.simplify_threshold": 0.3,
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=PALETTE),
}
_WEEKLY_ABOVE = 800
_LEGEND_ROWS = 6
_NUMBERED = 20  # a heat map of as many has its numbers in the cells
_LABELLED_HEIGHT = 420.0  # points that a heat map has for its labels
_BARS = 30  # of a histogram
Floats = npt.NDArray[np.float64]


def _svg(figure: Any, name: str, title: str, description: str) -> str:
    """The figure as an `<svg>` with a title and a description for those who do not see it."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        buffer, metadata={"Date": None, "Creator": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{name}-\1"', text)
    text = text.replace(_INK, "currentColor")
    head = text[: text.index(">")]
    rest = text[text.index(">") + 1 :]
    head = re.sub(r'\s(width|height)="[^"]*pt"', "", head)
    label = f"{name}-title {name}-desc"
    return (
        f'{head} role="img" aria-labelledby="{label}"><title id="{name}-title">{escape(title)}'
        f'</title><desc id="{name}-desc">{escape(description)}</desc>{rest}'
    )


def _figure(height: float = 3.0) -> tuple[Any, Any]:
    figure = Figure(figsize=(7.4, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    return figure, axes


def _thin(series: pd.Series, how: str = "last") -> pd.Series:
    """Weekly points of a long daily series: its last, or its lowest, of each week."""
    if len(series) <= _WEEKLY_ABOVE:
        return series
    weeks = pd.DatetimeIndex(series.index).to_period("W")
    grouped = series.groupby(weeks)
    values = grouped.min() if how == "min" else grouped.last()
    values.index = pd.DatetimeIndex(series.index.to_series().groupby(weeks).last())
    return values


def lines(
    series: Mapping[str, pd.Series],
    name: str,
    title: str,
    description: str,
    *,
    percent: bool = False,
    fill: bool = False,
    log: bool = False,
) -> str:
    """Lines over time, the first drawn strongest."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure()
        for i, (label, values) in enumerate(series.items()):
            thin = _thin(values, "min" if fill else "last")
            width = 1.8 if i == 0 else 1.1
            axes.plot(thin.index.to_numpy(), thin.to_numpy(), label=label, linewidth=width)
            if fill and i == 0:
                axes.fill_between(thin.index.to_numpy(), thin.to_numpy(), 0, alpha=0.2)
        if log:
            axes.set_yscale("log")
        formatter = PercentFormatter(1.0, 0) if percent else FuncFormatter(lambda v, _: f"{v:,.0f}")
        axes.yaxis.set_major_formatter(formatter)
        if log:
            axes.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
        if len(series) > 1:
            columns = -(-len(series) // _LEGEND_ROWS)
            axes.legend(ncols=max(2, columns) if len(series) > 3 else 1, fontsize=8)
        axes.margins(x=0.01)
        return _svg(figure, name, title, description)


def bars(groups: Mapping[str, Mapping[str, float]], name: str, title: str, description: str) -> str:
    """Horizontal bars of fractions: a bar per group for each label."""
    labels = list(next(iter(groups.values())))
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(0.7 + 0.24 * len(labels) * max(1.6, len(groups)))
        size = 0.8 / len(groups)
        for g, (group, values) in enumerate(groups.items()):
            places = np.arange(len(labels)) + g * size
            drawn = axes.barh(places, [values[x] for x in labels], height=size * 0.92, label=group)
            axes.bar_label(drawn, [f"{values[x]:.1%}" for x in labels], padding=3, fontsize=8)
        axes.set_yticks(np.arange(len(labels)) + 0.4 - size / 2, labels)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, 0))
        axes.margins(x=0.12)
        if len(groups) > 1:
            axes.legend(fontsize=8)
        return _svg(figure, name, title, description)


def frontier(
    points: Sequence[tuple[float, float]],
    assets: Mapping[str, tuple[float, float]],
    chosen: tuple[float, float] | None,
    name: str,
    title: str,
    description: str,
) -> str:
    """Volatility against expected return: the frontier, the assets and the portfolio."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(3.6)
        if points:
            axes.plot(*zip(*points, strict=True), label="efficient frontier", linewidth=1.8)
        for i, (label, (risk, reward)) in enumerate(assets.items()):
            axes.plot(risk, reward, "o", color=PALETTE[6], label="asset" if i == 0 else None)
            axes.annotate(label, (risk, reward), (5, 3), textcoords="offset points", fontsize=8)
        if chosen is not None:
            axes.plot(*chosen, "D", color=PALETTE[4], markersize=8, label="this portfolio")
        axes.set_xlabel("volatility, a year")
        axes.set_ylabel("expected return, a year")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, 1))
        axes.margins(0.08)
        axes.legend(fontsize=8)
        return _svg(figure, name, title, description)


def clustered(matrix: Floats) -> list[int]:
    """Order in which similar assets are neighbours (average linkage on √((1 − ρ)/2))."""
    if len(matrix) < 3:
        return list(range(len(matrix)))
    tree = linkage(squareform(distance(matrix), checks=False), "average", optimal_ordering=True)
    return [int(i) for i in leaves_list(tree)]


def heatmap(matrix: Floats, labels: Sequence[str], name: str, title: str, description: str) -> str:
    """A correlation matrix in clustered order, with its numbers while they fit.

    The cells are one picture of N by N pixels, whatever N.
    """
    order = clustered(matrix)
    values = matrix[np.ix_(order, order)]
    names = [labels[i] for i in order]
    n = len(names)
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(min(7.4, 1.2 + 0.42 * n))
        axes.grid(visible=False)
        axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none", aspect="auto")
        small = min(_STYLE["font.size"], _LABELLED_HEIGHT / n)
        axes.set_xticks(np.arange(n), names, rotation=90, fontsize=small)
        axes.set_yticks(np.arange(n), names, fontsize=small)
        if n <= _NUMBERED:
            for i, j in np.ndindex(n, n):
                ink = "#ffffff" if abs(values[i, j]) > 0.6 else "#111111"
                text = f"{values[i, j]:z.2f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
        return _svg(figure, name, title, description)


def histograms(
    panels: Mapping[str, Mapping[str, Floats]],
    name: str,
    title: str,
    description: str,
    plain: Sequence[str] = (),
) -> str:
    """How values are spread, two panels beside each other, in per cent unless `plain` names them.

    What lies beyond the first or the last percentile is counted in the outermost bar, as one value
    far out would leave the others a single bar.

    Args:
        panels: by heading, values by label, finite ones.
        name: of the chart on its page.
        title: for those who do not see it.
        description: the same, in more words.
        plain: headings whose values are no fractions.
    """
    lines_of_panels = -(-len(panels) // 2)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.4, 2.2 * lines_of_panels), layout="constrained")
        figure.patch.set_alpha(0.0)
        for i, (heading, groups) in enumerate(panels.items()):
            axes = figure.add_subplot(lines_of_panels, 2, i + 1)
            axes.patch.set_alpha(0.0)
            low, high = np.percentile(np.concatenate(list(groups.values())), [1, 99])
            edges = np.linspace(low, high if high > low else low + 1e-9, _BARS + 1)
            for label, values in groups.items():
                inside = np.clip(values, edges[0], edges[-1])
                axes.hist(
                    inside, edges.tolist(), label=label, alpha=0.75 if len(groups) > 1 else 1.0
                )
            axes.set_title(heading, fontsize=9)
            axes.locator_params(axis="x", nbins=5)
            if heading not in plain:
                axes.xaxis.set_major_formatter(PercentFormatter(1.0, 0))
            if len(groups) > 1:
                axes.legend(fontsize=8)
        return _svg(figure, name, title, description)
