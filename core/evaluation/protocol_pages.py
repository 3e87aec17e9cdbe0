"""The HTML reports of the protocols that answer a question of their own: forgetting, and cold items."""

from __future__ import annotations

from html import escape
from typing import Any

from core.evaluation.cold_items import METRICS, READINGS
from core.evaluation.plots import Plot
from core.evaluation.report import number, page, table, with_error

ACCURACY = "auc"
WITHOUT_GATE = ", every update taken"


def forgetting_page(report: dict[str, Any]) -> str:
    """What keeps an old taste, as a page. Raises ConfigurationError without matplotlib."""
    asked = report["questions"]
    facts = (
        f"<p>{report['lives']} users are given somebody else's taste at a known time. The slow tier is asked about "
        f"{asked['old']} held-back titles of the old taste, before the shift and at the end, and {asked['new']} of the "
        f"new one, against popular titles that were passed over (AUC). {report['shifts_found']:.0%} of the shifts were "
        f"found, with {report['false_alarms']:.2f} false alarms per user; ± is the standard error, clustered by user."
        "</p>"
    )
    rows = [
        [escape(name), *(with_error(row, f"{part}_{ACCURACY}") for part in ("old_before", "old_after", "new")),
         *(_share(row[f"{part}_{ACCURACY}"]) for part in ("kept", "gain_kept"))]
        for name, row in report["systems"].items()
    ]  # fmt: skip
    header = ["what keeps the old taste", "old, before", "old, after", "new", "kept", "of the adapter's gain"]
    return page(report, [facts, table(header, rows)], FORGETTING_PLOTS)


def cold_items_page(report: dict[str, Any]) -> str:
    """How new titles find their audience, as a page. Raises ConfigurationError without matplotlib."""
    facts = (
        f"<p>{report['titles']} titles were taken out of everything that is learned from. {report['users']} users who "
        "liked some of them get one list each: of those titles alone, and of all that they have not rated.</p>"
    )
    columns = [(reading, metric) for reading in READINGS for metric in METRICS]
    rows = [
        [escape(name), *(with_error(row[reading], metric) for reading, metric in columns)]
        for name, row in report["systems"].items()
    ]
    header = ["system", *(f"{metric}, {reading.replace('_', ' ')}" for reading, metric in columns)]
    return page(report, [facts, table(header, rows)], COLD_ITEMS_PLOTS)


def _share(value: dict[str, float]) -> str:
    if value["share"] != value["share"]:  # nothing that could be kept
        return "-"
    return f"{value['share']:.1%} <small>({number(value['low'], 2)} to {number(value['high'], 2)})</small>"


def old_and_new(axes: Any, report: dict[str, Any]) -> bool:
    """Each method's place between remembering and learning: up and to the right is better."""
    for name, row in report["systems"].items():
        if WITHOUT_GATE in name:
            continue
        old, new = f"old_after_{ACCURACY}", f"new_{ACCURACY}"
        errors = {"xerr": 1.96 * row[f"{old}_se"], "yerr": 1.96 * row[f"{new}_se"]}
        axes.errorbar(row[old], row[new], **errors, marker="o", elinewidth=0.6, label=name)
    axes.set_xlabel("AUC on the old taste, at the end")
    axes.set_ylabel("AUC on the new taste")
    axes.legend(fontsize=7)
    return True


def new_titles(axes: Any, report: dict[str, Any]) -> bool:
    """Accuracy among titles that nobody has met, with its 95 % interval."""
    rows = {name: row[READINGS[0]] for name, row in report["systems"].items()}
    values = [row[METRICS[0]] for row in rows.values()]
    errors = [1.96 * row[f"{METRICS[0]}_se"] for row in rows.values()]
    axes.barh(
        list(rows), values, xerr=errors, color=["tab:orange" if "encoder" in name else "tab:blue" for name in rows]
    )
    axes.set_xlabel(f"{METRICS[0].upper()} among new titles, 95 % interval clustered by user")
    return True


FORGETTING_PLOTS: tuple[Plot, ...] = (("Remembering and learning", old_and_new),)
COLD_ITEMS_PLOTS: tuple[Plot, ...] = (("New titles find their audience", new_titles),)
