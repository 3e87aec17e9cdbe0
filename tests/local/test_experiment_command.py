"""`sona experiment` on the real database: what it plans, it lists, starts, judges and stops."""

import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.config import Settings, StoreSettings
from core.errors import InvalidInput
from core.experiments.experiment import Variant
from core.local.experiment_command import experiment_app, parse_variant


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("control", Variant("control")),
        ("control:2.5", Variant("control", 2.5)),
        ("bold:1:mmr_lambda=0.5,fusion=scores", Variant("bold", 1.0, {"mmr_lambda": 0.5, "fusion": "scores"})),
        ("bold:slow_tier=0.0", Variant("bold", 1.0, {"slow_tier": 0.0})),
    ],
)
def test_a_variant_is_written_in_one_word(text: str, variant: Variant) -> None:
    assert parse_variant(text) == variant


@pytest.mark.parametrize("text", ["a:heavy", "a:1:mmr_lambda"])
def test_what_is_no_variant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_variant(text)


def test_an_experiment_from_its_plan_to_its_end(postgres_dsn: str, tmp_path: Path) -> None:
    settings = Settings(edition="laptop", stores=StoreSettings(sql_dsn=postgres_dsn, redis_url="redis://127.0.0.1:9"))
    app, name = experiment_app(lambda home: settings), f"cli-{uuid.uuid4().hex[:8]}"

    def run(*arguments: str) -> dict:
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    variants = ("--variant", "control", "--variant", "bold:3:pool_size=50")
    [created] = run("create", name, *variants, "--start")["experiments"]
    assert (created["status"], created["variants"][1]["weight"]) == ("running", 3.0)
    assert created in run("list")["experiments"]
    assert [row["users"] for row in run("report", name)["variants"]] == [0, 0]
    page = tmp_path / "report.html"
    run("report", name, "--html", str(page))
    assert f"<h1>Experiment {name}</h1>" in page.read_text()
    assert run("pause", name)["experiments"][0]["status"] == "paused"
    assert run("stop", name)["experiments"][0]["status"] == "completed"
    assert "Decision: open" in CliRunner().invoke(app, ["report", name]).stdout
