"""`sona status` says where the laptop edition is reached and what it serves."""

import json

from typer.testing import CliRunner

from core.cli import app
from core.local.stack import Stack


def test_status_shows_the_address_and_the_active_snapshot(stack: Stack) -> None:
    asked = ["--home", str(stack.home), "--json"]
    shown = json.loads(CliRunner().invoke(app, ["status", *asked], catch_exceptions=False).stdout)
    listed = json.loads(CliRunner().invoke(app, ["snapshot", "list", *asked], catch_exceptions=False).stdout)
    assert shown["url"] == stack.gateway.url
    assert [shown["snapshot"]] == [each["version"] for each in listed if each["active"]]
    assert {each["service"]: each["port"] for each in shown["services"]} == {s.name: s.port for s in stack.servers}
