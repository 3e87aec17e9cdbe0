"""`sona down --erase` deletes what the laptop edition made, and nothing else."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.cli import app
from core.errors import ConfigurationError
from core.local.stack import FILES, Stack

MADE = (*FILES, "cache/titles.jsonl", "cache-models/model.onnx", "postgres/postgres.log", "valkey/dump.rdb")


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_a_folder_that_is_not_ours_keeps_everything(tmp_path: Path) -> None:
    fill(tmp_path, "thesis.tex", "postgres/pg_hba.conf", "cache/page.html")
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, ["down", "--erase", "--home", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_folder_is_gone_and_erasing_it_again_is_no_mistake(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home, *MADE)
    for _ in range(2):
        done = CliRunner().invoke(app, ["down", "--erase", "--home", str(home)])
        assert done.exit_code == 0, done.output
        assert not home.exists()
    assert "was deleted" in done.output


def test_what_else_lies_in_a_data_folder_stays(tmp_path: Path) -> None:
    fill(tmp_path, *MADE, "thesis.tex")
    Stack(tmp_path, None).erase()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("sign", ["sona.toml", "supervisor.log", "broker/pubsub.log"])
def test_a_start_that_broke_off_can_be_erased(sign: str, tmp_path: Path) -> None:
    fill(tmp_path / "home", sign)
    Stack(tmp_path / "home", None).erase()
    assert not (tmp_path / "home").exists()
