"""What cloudbuild.yaml relies on: no plan that loses data, no traffic for bad revisions, steps in the right order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

# A stand-in for the gcloud program: answers from files, and writes down how traffic was routed.
GCLOUD = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
words = sys.argv[1:]
if words[:3] == ["run", "services", "list"]:
    print((folder / "services.json").read_text())
elif words[:2] == ["logging", "read"]:
    revision = next(word for word in words if "revision_name" in word).split('revision_name="')[1].split('"')[0]
    print(json.dumps(json.loads((folder / "answers.json").read_text()).get(revision, [])))
elif words[:3] == ["run", "services", "update-traffic"]:
    share = next(word for word in words if word.startswith("--to-revisions="))
    with (folder / "routed").open("a") as routed:
        routed.write(words[3] + " " + share.removeprefix("--to-revisions=") + "\\n")
else:
    sys.exit("unexpected: " + " ".join(words))
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """A folder with two services, each with a new revision that serves nobody yet."""
    program = tmp_path / "gcloud"
    program.write_text(GCLOUD.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    services = [
        {
            "metadata": {"name": name},
            "status": {
                "latestReadyRevisionName": f"{name}-2",
                "traffic": [{"revisionName": f"{name}-1", "percent": 100}],
            },
        }
        for name in ("sona-recommend", "sona-collect")
    ]
    (tmp_path / "services.json").write_text(json.dumps(services))
    (tmp_path / "answers.json").write_text("{}")
    return tmp_path


def rollout(cloud: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Exit status, how traffic was routed in turn, and what was said."""
    done = subprocess.run(
        [sys.executable, str(INFRA / "rollout.py"), *arguments],
        env={**os.environ, "PATH": f"{cloud}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    routed = cloud / "routed"
    return done.returncode, routed.read_text().splitlines() if routed.exists() else [], done.stdout + done.stderr


def answers(cloud: Path, revision: str, count: int, status: int = 200, latency: str = "0.02s") -> None:
    known = json.loads((cloud / "answers.json").read_text())
    known.setdefault(revision, []).extend([{"httpRequest": {"status": status, "latency": latency}}] * count)
    (cloud / "answers.json").write_text(json.dumps(known))


SERVICES = ("europe-west1", "sona-recommend", "sona-collect")


def test_before_an_apply_traffic_is_pinned_to_what_serves(cloud: Path) -> None:
    status, routed, _ = rollout(cloud, "hold", *SERVICES, "sona-not-there-yet")
    assert status == 0
    assert routed == ["sona-recommend sona-recommend-1=100", "sona-collect sona-collect-1=100"]


def test_a_good_revision_gets_the_traffic_in_steps(cloud: Path) -> None:
    answers(cloud, "sona-recommend-2", 500)
    status, routed, said = rollout(cloud, "release", *SERVICES, "--watch-s", "0", "--check", "true")
    assert status == 0, said
    assert [line for line in routed if line.startswith("sona-recommend ")] == [
        "sona-recommend sona-recommend-2=10,sona-recommend-1=90",
        "sona-recommend sona-recommend-2=50,sona-recommend-1=50",
        "sona-recommend sona-recommend-2=100",
    ]


@pytest.mark.parametrize(
    ("status", "latency", "reason"), [(503, "0.02s", "are errors"), (200, "2.5s", "took more than 1 s")]
)
def test_a_bad_revision_loses_its_traffic_and_takes_the_others_back(
    cloud: Path, status: int, latency: str, reason: str
) -> None:
    answers(cloud, "sona-recommend-2", 80)
    answers(cloud, "sona-recommend-2", 20, status, latency)
    failed, routed, said = rollout(cloud, "release", *SERVICES, "--watch-s", "0")
    assert failed == 1
    assert reason in said
    assert routed[-2:] == ["sona-recommend sona-recommend-1=100", "sona-collect sona-collect-1=100"]
    assert not any("=50" in line for line in routed)


def test_a_failing_check_at_the_end_returns_the_traffic(cloud: Path) -> None:
    failed, routed, said = rollout(cloud, "release", *SERVICES, "--watch-s", "0", "--check", "false")
    assert failed == 1
    assert "`false` failed" in said
    assert routed[-2:] == ["sona-recommend sona-recommend-1=100", "sona-collect sona-collect-1=100"]


def check_plan(*changes: tuple[str, str, list[str]]) -> subprocess.CompletedProcess[str]:
    plan: dict[str, Any] = {
        "resource_changes": [
            {"type": kind, "address": f"{kind}.{name}", "change": {"actions": actions}}
            for kind, name, actions in changes
        ]
    }
    return subprocess.run(
        [sys.executable, str(INFRA / "check_plan.py")],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_plan_that_deletes_or_replaces_data_is_refused() -> None:
    harmless = check_plan(
        ("google_sql_database_instance", "cold", ["update"]), ("google_project_service", "this", ["delete"])
    )
    assert harmless.returncode == 0
    replaced = check_plan(("google_sql_database_instance", "cold", ["delete", "create"]))
    assert (replaced.returncode, replaced.stderr) == (1, "the plan deletes google_sql_database_instance.cold\n")
    assert check_plan(("google_storage_bucket", "this", ["delete"])).returncode == 1
    assert check_plan(("google_secret_manager_secret", "privacy_keys", ["delete"])).returncode == 1


def steps() -> list[str]:
    return re.findall(r"^  - id: (\S+)$", (ROOT / "cloudbuild.yaml").read_text(), re.MULTILINE)


def test_the_build_migrates_before_new_code_and_rolls_out_last() -> None:
    wanted = ["check-and-test", "archive", "plan", "refuse-loss", "migrate", "hold", "apply", "smoke", "rollout"]
    assert [step for step in steps() if step in wanted] == wanted
    text = (ROOT / "cloudbuild.yaml").read_text()
    for step in steps():
        for before in re.findall(r"waitFor: \[([^]]*)\]", text.split(f"- id: {step}\n")[1].split("- id:")[0]):
            assert all(name in steps()[: steps().index(step)] for name in before.split(", "))


def test_no_function_is_built_before_who_builds_it_has_its_rights() -> None:
    rights = re.findall(r'(?m)^resource "(\w+_iam_member)" "(build_\w+)"', (INFRA / "identity.tf").read_text())
    assert len(rights) >= 3
    waits = (INFRA / "functions.tf").read_text().split("depends_on = [")[1].split("]")[0]
    assert {".".join(right) for right in rights} == set(re.findall(r"[\w.]+", waits))


def test_the_first_migration_waits_for_no_function() -> None:
    text = re.sub(r"(?m)(^|\s)#.*$", "", (INFRA / "sql.tf").read_text())
    assert "google_sql_user" in text
    assert "module." not in text  # a function that starts before its tables would fail


def test_every_file_that_the_build_runs_exists() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text()
    for path in set(re.findall(r"infra/[\w/]+\.py|infra/docker/Dockerfile|\.ci/run", text)):
        assert (ROOT / path).is_file(), path
