"""The dashboard and the alerts show what the code measures: the same names, kinds and attributes, both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from terraform_files import INFRA, braces, read

from core.telemetry import METRICS

ROOT = Path(__file__).parents[2]
MONITORING = "\n".join(re.sub(r"(?m)(^|\s)#.*$", "", read(name)) for name in ("monitoring.tf", "dashboard.tf"))
KINDS = {"count": "counter", "measure": "histogram", "level": "gauge"}


def watched() -> dict[str, str]:
    """Name -> kind, as monitoring.tf has them."""
    start = re.search(r"(?m)^  metrics = \{", read("monitoring.tf"))
    assert start is not None
    return dict(re.findall(r'"([\w.]+)" += "(\w+)"', braces(read("monitoring.tf"), start.end() - 1)))


def measured() -> Iterator[tuple[str, str, set[str]]]:
    """(function, name, attributes) of every call of the code that measures something."""
    for path in sorted((ROOT / "core").rglob("*.py")):
        if path.name == "telemetry.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and str(first.value).startswith("sona."):
                    yield node.func.id, str(first.value), {str(keyword.arg) for keyword in node.keywords}


def test_what_the_code_measures_is_in_its_list_with_its_attributes() -> None:
    found = list(measured())
    assert {name for _, name, _ in found} == set(METRICS) - {"sona.stage.duration"}  # `stage` measures that one
    for function, name, attributes in found:
        assert METRICS[name].kind == KINDS[function], name
        assert attributes == set(METRICS[name].attributes), name


def test_monitoring_knows_the_codes_metrics_and_no_others() -> None:
    assert watched() == {name: metric.kind for name, metric in METRICS.items()}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_on_the_dashboard(name: str) -> None:
    assert f'metric = "{name}"' in read("dashboard.tf")


def test_alerts_and_charts_use_attributes_that_the_metric_has() -> None:
    lines = [line for line in MONITORING.splitlines() if re.search(r'"sona\.[a-z.]+[a-z]"\]|metric = "sona\.', line)]
    assert len(lines) > len(METRICS)
    for line in lines:
        for name in re.findall(r'"(sona\.[a-z.]+)"', line):
            used = set(re.findall(r"metric\.labels\.(\w+)", line.replace("local.asked", "metric.labels.path")))
            assert used <= set(METRICS[name].attributes), line.strip()


def test_a_promise_about_latency_ends_where_a_bucket_does() -> None:
    [limit] = re.findall(r"max = (\d+)\n", read("monitoring.tf"))
    assert float(limit) in METRICS["sona.request.duration"].buckets


def test_percentiles_are_of_histograms_and_rates_of_counters() -> None:
    shown = re.findall(r'metric = "([\w.]+)".*? show = "(\w+)"', read("dashboard.tf"))
    allowed = {"histogram": {"p50", "p95", "p99"}, "counter": {"rate", "sum"}, "gauge": {"max"}}
    for name, show in shown:
        assert show in allowed[METRICS[name].kind], (name, show)


def test_names_are_such_as_googles_telemetry_api_accepts() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_:./]*", name)
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.]*", attribute) for attribute in metric.attributes)
        assert list(metric.buckets) == sorted(metric.buckets)


def test_every_file_about_monitoring_is_read_here() -> None:
    using = {path.name for path in INFRA.glob("*.tf") if "sona.request" in path.read_text()}
    assert using == {"monitoring.tf", "dashboard.tf"}
