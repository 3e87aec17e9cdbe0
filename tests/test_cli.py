"""The command line as a newcomer reads it: every command says what it does, gives an example that parses, and prints
JSON for programs; shells can complete it; errors are one line that says what to do."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from core.cli import app, main

ROOT: Any = typer.main.get_command(app)


def commands(command: Any = ROOT, path: tuple[str, ...] = ("sona",)) -> Iterator[tuple[str, Any]]:
    """(words, command) of everything that can be run."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
    for name, part in getattr(command, "commands", {}).items():
        yield from commands(part, (*path, name))


def parse(line: str) -> None:
    """Parse a command line without running it. Raises where it is wrong."""
    words, command = shlex.split(line.split(" > ")[0])[1:], ROOT
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


EVERY = dict(commands())


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_an_example_that_parses(name: str) -> None:
    examples = re.findall(r"Example: (.+)", EVERY[name].help or "")
    assert examples, f"{name} has no example"
    for example in examples:
        assert example.startswith(name)
        parse(example)


@pytest.mark.parametrize("name", EVERY)
def test_every_command_prints_json_for_programs(name: str) -> None:
    assert "--json" in [option for parameter in EVERY[name].params for option in parameter.opts]


@pytest.mark.parametrize("name", EVERY)
def test_every_option_of_a_command_is_explained(name: str) -> None:
    for parameter in EVERY[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.opts[0]}"


def test_a_wrong_option_is_refused_by_name() -> None:
    answer = CliRunner().invoke(app, ["snapshot", "build", "--activated"])
    assert answer.exit_code == 2
    assert "--activated" in answer.output


def test_a_command_without_a_stack_says_what_to_run_first(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "from core.cli import main; main()", "replay", "nadia", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "sona up" in run.stderr
    assert "Traceback" not in run.stderr


def complaint(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **environment: str
) -> str:
    """What a command says that cannot be done."""
    for name in [name for name in os.environ if name.startswith("SONA_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    return re.sub(r"[\s│]+", " ", capsys.readouterr().err)


def test_without_the_laptop_edition_the_extra_that_brings_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "platformdirs", None)  # as if it were not installed
    assert "--extra local" in complaint("sona snapshot list", monkeypatch, capsys)


def test_a_store_that_does_not_answer_is_named_with_where_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = {
        "SONA_STORES_SQL_DSN": "postgresql://nobody@127.0.0.1:9/none",
        "SONA_STORES_REDIS_URL": "redis://127.0.0.1:9",
    }
    said = complaint("sona replay nadia", monkeypatch, capsys, **stores, SONA_PRIVACY_KEYS="k" * 32)
    assert "cold_store is unavailable" in said
    assert "sona status" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sona evaluate --data absent --protocol forgeting", "'stream', 'global', 'loo', 'cold-items', 'forgetting'"),
        ("sona train router --kind f8", "'f32', 'f16', 'int8'"),
        ("sona train router --encoder absent", "absent holds no encoder"),
        ("sona train attention --encoder absent", "absent holds no encoder"),
    ],
)
def test_a_wrong_word_is_refused_before_the_work_begins(
    line: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in complaint(line, monkeypatch, capsys)
    assert not Path("absent").exists()


def test_snapshots_are_listed_where_only_their_bucket_is_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = {"SONA_STORES_SQL_DSN": "postgresql://unused", "SONA_STORES_STORAGE_ENDPOINT": "http://127.0.0.1:9"}
    assert "bucket" in complaint("sona snapshot list", monkeypatch, capsys, **stores)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    asked = {"_SONA_COMPLETE": f"complete_{shell}", "COMP_WORDS": "sona ev", "COMP_CWORD": "1"}
    asked |= {"_TYPER_COMPLETE_ARGS": "sona ev", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    run = CliRunner().invoke(app, [], prog_name="sona", env=asked)
    assert "evaluate" in run.output
    assert "experiment" not in run.output
