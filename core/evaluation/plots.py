"""Plots of an evaluation as inline SVG, drawn by matplotlib (extra `evaluate`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

from core.errors import ConfigurationError

Plot = tuple[str, Callable[[Any, dict[str, Any]], bool]]
"""A caption, and what draws it on axes; False when the report has no data for it."""

WIDTH, HEIGHT = 7.2, 3.4  # inches
CURVES = ("sona", "sona, learning off", "hybrid", "ease", "popularity_decayed", "popularity")
METRIC = "ndcg@10"
GENRES_SHOWN = 14


def drawing_library() -> Any:
    """matplotlib.pyplot, set to SVG. Raises ConfigurationError without it: ask before long work that ends in a page."""
    try:
        import matplotlib

        matplotlib.use("svg")
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ConfigurationError("the HTML report needs matplotlib: install the extra `evaluate`") from error
    return pyplot


def drawings(report: dict[str, Any], plots: Sequence[Plot]) -> list[tuple[str, str]]:
    """(caption, SVG) of every plot that the report has data for. Raises ConfigurationError without matplotlib."""
    pyplot = drawing_library()
    drawn = []
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sona", "font.size": 9, "axes.grid": True}):
        for caption, draw in plots:
            figure, axes = pyplot.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
            if draw(axes, report):
                drawn.append((caption, _svg(figure)))
            pyplot.close(figure)
    return drawn


def _svg(figure: Any) -> str:
    """The drawing alone: no XML header, no metadata that names other sites or the time."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def _curve_systems(report: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    return [(name, report["systems"][name][key]) for name in CURVES if key in report["systems"].get(name, {})]


def accuracy_bars(axes: Any, report: dict[str, Any]) -> bool:
    """NDCG@10 of every system with its 95 % interval."""
    rows = sorted(report["systems"].items(), key=lambda row: row[1][METRIC])
    names, values = [name for name, _ in rows], [row[METRIC] for _, row in rows]
    errors = [1.96 * (row[f"{METRIC}_se"] or 0.0) for _, row in rows]
    colours = ["tab:orange" if name.startswith("sona") else "tab:blue" for name in names]
    axes.barh(names, values, xerr=errors, color=colours)
    axes.set_xlabel("NDCG@10, 95 % interval clustered by user")
    return True


def stream_curve(axes: Any, report: dict[str, Any]) -> bool:
    """NDCG@10 along the stream, in tenths of the events."""
    systems = _curve_systems(report, "by_tenth")
    for name, values in systems:
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    axes.set_xlabel("tenth of the foretold events, in order of time")
    axes.set_ylabel("NDCG@10")
    return _legend(axes, systems)


def new_user_curve(axes: Any, report: dict[str, Any]) -> bool:
    """NDCG@10 of new users by the number of their interactions."""
    systems = _curve_systems(report, "new_users")
    for name, table in systems:
        known = {steps: row for steps, row in table.items() if row["events"] and row[METRIC] is not None}
        errors = [1.96 * (row[f"{METRIC}_se"] or 0.0) for row in known.values()]
        values = [row[METRIC] for row in known.values()]
        axes.errorbar(list(known), values, yerr=errors, capsize=3, marker="o", markersize=3, label=name)
    axes.set_xlabel("interactions of a new user so far (at least)")
    axes.set_ylabel("NDCG@10")
    return _legend(axes, systems)


def ablation_bars(axes: Any, report: dict[str, Any]) -> bool:
    """What each change of the default configuration costs or brings, paired on the same events."""
    gaps = {name: row["against_default"] for name, row in report["systems"].items() if "against_default" in row}
    rows = {name: gap[METRIC] for name, gap in gaps.items()}
    if not rows:
        return False
    errors = [1.96 * (row["se"] or 0.0) for row in rows.values()]
    axes.barh(list(rows), [row["difference"] for row in rows.values()], xerr=errors, color="tab:orange")
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("NDCG@10 minus that of the default configuration, 95 % interval")
    return True


def lift_bars(axes: Any, report: dict[str, Any]) -> bool:
    """How much more accurate learning from every event is, over all users and by the interactions of new ones."""
    rows = {name: row for name, row in report.get("lift", {}).items() if name != "over"}
    known = {name: row[METRIC] for name, row in rows.items() if row[METRIC]["low"] is not None}
    if not known:
        return False
    values = [gap["difference"] for gap in known.values()]
    errors = [
        [gap["difference"] - gap["low"] for gap in known.values()],
        [gap["high"] - gap["difference"] for gap in known.values()],
    ]
    axes.barh(list(known), values, xerr=errors, color="tab:orange")
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.xaxis.set_major_formatter("{x:+.0%}")
    axes.set_xlabel(f"NDCG@10 over {report['lift']['over']}, 95 % interval")
    return True


def latency_bars(axes: Any, report: dict[str, Any]) -> bool:
    """Milliseconds of each part of a request's ranking, median and 99th percentile, on the evaluating machine."""
    rows = report.get("latency_ms")
    if not rows:
        return False
    names = sorted(rows, key=lambda name: rows[name]["p50"])
    axes.barh(names, [rows[name]["p99"] for name in names], color="lightgray", label="99th percentile")
    axes.barh(names, [rows[name]["p50"] for name in names], color="tab:orange", label="median")
    axes.set_xlabel("milliseconds")
    axes.legend()
    return True


def popularity_bias(axes: Any, report: dict[str, Any]) -> bool:
    """Where in the popularity order the recommendations lie, next to what users went on to like."""
    systems = [("what users liked", report["behaviour"]["popularity_tenths"])]
    systems += _curve_systems(report, "popularity_tenths")
    for name, values in systems:
        style = {"color": "black", "linestyle": "--"} if name == "what users liked" else {}
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name, **style)
    axes.set_xlabel("tenth of the catalogue, most popular first")
    axes.set_ylabel("share")
    axes.set_yscale("log")
    return _legend(axes, systems)


def genre_calibration(axes: Any, report: dict[str, Any]) -> bool:
    """Shares of genres in histories and in recommendations."""
    liked = report["behaviour"]["genre_shares"]
    shown = report["systems"]["sona"]["genre_shares"]
    if not liked:
        return False
    names = sorted(liked, key=lambda name: -liked[name])[:GENRES_SHOWN]
    places = range(len(names))
    axes.bar([place - 0.2 for place in places], [liked[name] for name in names], width=0.4, label="liked before")
    axes.bar([place + 0.2 for place in places], [shown[name] for name in names], width=0.4, label="sona")
    axes.set_xticks(list(places), names, rotation=40, ha="right")
    axes.set_ylabel("share")
    axes.legend()
    return True


def _legend(axes: Any, systems: list[tuple[str, Any]]) -> bool:
    if systems:
        axes.legend(fontsize=7)
    return bool(systems)


PLOTS: tuple[Plot, ...] = (
    ("Accuracy of every system", accuracy_bars),
    ("Learning along the stream", stream_curve),
    ("Learning curve of new users", new_user_curve),
    ("Lift of learning from every event", lift_bars),
    ("Ablation: what each part of the serving flow contributes", ablation_bars),
    ("Calibration: genres of histories and of recommendations", genre_calibration),
    ("Popularity bias", popularity_bias),
    ("Latency by part of the ranking", latency_bars),
)
