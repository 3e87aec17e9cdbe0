"""`sona maintain` on real stores: what it says, and the page it writes."""

import json
from pathlib import Path

from typer.testing import CliRunner

from core.cli import app
from core.flows.services import Services


def test_the_maintenance_writes_a_page_about_all_runs(deployment: Services, tmp_path: Path) -> None:
    page = tmp_path / "patterns.html"
    for extra in ([], ["--dry-run"]):
        result = CliRunner().invoke(app, ["maintain", "--html", str(page), "--json", *extra], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["dry_run"] is True
    finished = [run for run in deployment.patterns.runs(100) if run.status == "finished" and not run.dry_run]
    assert f"<p>{len(finished)} finished runs." in page.read_text()
    assert "Size of the bank" in page.read_text()
