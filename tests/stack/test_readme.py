"""The README is true: its commands run, its answers have the fields that are shown, its links lead somewhere."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.local.demo_story import Client, curl_line
from core.local.stack import Stack
from tests.benchmarks.__main__ import ALONE, WITH_WORLD
from tests.test_cli import EVERY, parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPANS = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", README)]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block_with(kind: str, text: str) -> str:
    [found] = [block for block in blocks(kind) if text in block]
    return found


FREE = ("score_parts", "experiments", "weights", "degraded")  # which depend on the viewer and on the machine's load


def shape(value: Any) -> Any:
    """The fields and kinds of a JSON answer, lists by their first element."""
    if isinstance(value, dict):
        return {name: "free" if name in FREE else shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def ratings_release(path: Path) -> None:
    """A release of MovieLens's form: 120 users whose likes tell one of two tastes, over 100 days."""
    rng = np.random.default_rng(5)
    rows = ["userId,movieId,rating,timestamp"]
    for user in range(120):
        liked, begun = user % 2 * 20, 86_400 * 90 * user // 120
        for step, movie in enumerate(rng.permutation(20)[:12]):
            rows.append(f"{user + 1},{liked + movie + 1},{4 + step % 2},{1_000_000_000 + begun + step * 3600}")
    movies = [
        "movieId,title,genres",
        *(f"{n},Film {n} (19{50 + n}),{'Drama|War' if n > 20 else 'Comedy'}" for n in range(1, 41)),
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-latest-small/ratings.csv", "\n".join(rows) + "\n")
        archive.writestr("ml-latest-small/movies.csv", "\n".join(movies) + "\n")


def run(script: str, folder: Path, **environment: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_two_commands_are_the_ones_that_ci_runs() -> None:
    ci = (ROOT / ".ci/run").read_text()
    for command in ("sona demo", "pytest"):
        assert block_with("sh", command).strip() in ci.splitlines()


def test_the_curl_line_answers_with_the_fields_that_are_shown(stack: Stack, tmp_path: Path) -> None:
    token = re.search(r"Bearer ([^']+)", curl_line(stack.gateway.url, stack.secret_path, "ann"))
    assert token is not None
    line = block_with("sh", "curl -s").replace("http://127.0.0.1:8080", stack.gateway.url)
    line = line.replace("eyJhbGciOi...", token[1])
    answer, shown = json.loads(run(line, tmp_path)), json.loads(block_with("json", '"recommendations"'))
    assert shape(answer) == shape(shown)
    assert len(answer["recommendations"]) == len(shown["recommendations"])


def test_the_event_that_is_shown_is_accepted(stack: Stack) -> None:
    client = Client(stack.gateway.url, stack.secret_path, "dan")
    event = json.loads(block_with("json", '"event_id"'))
    assert client.post("/api/v1/interactions", event)["accepted"] == 1


def test_the_commands_for_own_data_run_as_they_stand(tmp_path: Path) -> None:
    ratings_release(tmp_path / "ml-latest-small.zip")
    own = Stack(tmp_path / "home", None)
    try:
        own.start(demo=False)
        run(block_with("sh", "sona import"), tmp_path, SONA_HOME=str(own.home))
        versions = json.loads(run("sona snapshot list --json", tmp_path, SONA_HOME=str(own.home)))
    finally:
        own.erase()
    assert not own.home.exists()
    assert [version["active"] for version in versions] == [True]
    assert "ml-latest-small" in (tmp_path / "report.html").read_text()


def test_the_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block_with("python", "SonaEngine"), "README.md", "exec"), {})
    assert (tmp_path / "engine.sona").exists()


@pytest.mark.parametrize("line", sorted({span for span in SPANS if span.startswith("sona ") and span.isascii()}))
def test_every_command_that_the_text_names_exists(line: str) -> None:
    if line in EVERY or re.search(r"\.\.\.|--help", line):  # named, without what it needs to run
        return
    parse(line)


def test_every_benchmark_that_the_text_names_exists() -> None:
    named = re.findall(r"python -m tests\.benchmarks((?: [a-z-]+)*)", " ".join(README.split()))
    for name in {name for names in named for name in names.split()}:
        assert name in {**ALONE, **WITH_WORLD} or name.startswith("--")


def test_the_steps_of_a_deployment_are_shell_and_name_variables_that_exist() -> None:
    variables = (ROOT / "infra/variables.tf").read_text()
    steps = [
        block_with("sh", "export PROJECT"),
        *(span for span in SPANS if span.startswith(("gcloud ", "terraform "))),
    ]
    for step in steps:
        subprocess.run(["bash", "-n", "-c", step], check=True)
        for name in re.findall(r"-var=(\w+)=", step):
            assert f'variable "{name}"' in variables


def test_every_link_leads_to_a_file_of_the_project() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
