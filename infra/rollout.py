"""Move traffic to new revisions in steps, and back at the first sign of trouble.

    python infra/rollout.py hold REGION SERVICE...              before `terraform apply`: traffic stays where it is
    python infra/rollout.py release REGION SERVICE... [--watch-s N] [--check COMMAND]   afterwards: 10, 50, 100 %

`hold` pins every service's traffic to the revision that serves now, so that an apply changes nothing for callers.
`release` gives the newest revisions a share and watches their logs for the given time. With more errors than allowed,
or when the command finally fails, all traffic goes back to the pinned revisions and the exit status is 1. Needs
`gcloud`, signed in.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

STEPS = (10, 50, 100)
LARGEST_ERROR_SHARE = 0.01  # of the answers of a new revision; the objective is 99.9 %, and a step sees few answers
SLOW_S = 1.0
LARGEST_SLOW_SHARE = 0.05
SAMPLE = 1000  # log entries that are looked at


@dataclass(frozen=True, slots=True)
class Service:
    """A Cloud Run service and the two revisions that its traffic is divided between."""

    name: str
    serving: str  # the revision with most of the traffic
    newest: str


class Cloud:
    """What is asked of `gcloud`. A failing command ends the program, whose caller then sees a failed step."""

    def __init__(self, region: str) -> None:
        self._region = f"--region={region}"

    def services(self, names: list[str]) -> list[Service]:
        """Those of them that exist: a new one has no traffic to hold."""
        listed = json.loads(self._run("run", "services", "list", self._region, "--format=json"))
        known = {entry["metadata"]["name"]: entry["status"] for entry in listed}
        return [service(name, known[name]) for name in names if name in known]

    def route(self, name: str, shares: dict[str, int]) -> None:
        """Revision -> percent of the service's traffic, 100 in all."""
        revisions = ",".join(f"{revision}={share}" for revision, share in shares.items() if share)
        self._run("run", "services", "update-traffic", name, self._region, f"--to-revisions={revisions}", "--quiet")

    def answers(self, revision: str, seconds: int) -> list[tuple[int, float]]:
        """Status and seconds of the revision's latest answers."""
        where = f'resource.type="cloud_run_revision" resource.labels.revision_name="{revision}" httpRequest.status>0'
        options = [f"--freshness={seconds}s", f"--limit={SAMPLE}", "--format=json"]
        entries = json.loads(self._run("logging", "read", where, *options))
        requests = [entry["httpRequest"] for entry in entries]
        return [(int(found["status"]), float(found.get("latency", "0s").rstrip("s"))) for found in requests]

    def _run(self, *arguments: str) -> str:
        return subprocess.run(["gcloud", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def service(name: str, status: dict[str, Any]) -> Service:
    """A service from what `gcloud run services list` says of it."""
    shares = sorted(status.get("traffic", []), key=lambda target: -int(target.get("percent", 0)))
    serving = shares[0].get("revisionName", "") if shares else ""
    return Service(name, serving or status["latestReadyRevisionName"], status["latestReadyRevisionName"])


def trouble(answers: list[tuple[int, float]]) -> str | None:
    """What is wrong with a revision that gave these answers (status, seconds); None when nothing is."""
    if not answers:
        return None
    errors = sum(status >= 500 for status, _ in answers) / len(answers)
    slow = sum(seconds > SLOW_S for _, seconds in answers) / len(answers)
    if errors > LARGEST_ERROR_SHARE:
        return f"{errors:.1%} of {len(answers)} answers are errors"
    if slow > LARGEST_SLOW_SHARE:
        return f"{slow:.1%} of {len(answers)} answers took more than {SLOW_S:g} s"
    return None


def hold(cloud: Cloud, names: list[str]) -> None:
    """Pin every service to the revision that serves most of its traffic."""
    for found in cloud.services(names):
        cloud.route(found.name, {found.serving: 100})
        print(f"{found.name}: all traffic stays on {found.serving}")


def release(cloud: Cloud, names: list[str], watch_s: int, check: str = "") -> str | None:
    """Raise the share of the newest revisions step by step; the trouble that sent the traffic back, if any."""
    moving = [found for found in cloud.services(names) if found.newest != found.serving]
    if not moving:
        return None
    problem = advance(cloud, moving, watch_s)
    if problem is None and check and subprocess.run(shlex.split(check), check=False).returncode:
        problem = f"`{check}` failed"
    if problem:
        for found in moving:
            cloud.route(found.name, {found.serving: 100})
        problem += "; all traffic is back on the revisions before"
    return problem


def advance(cloud: Cloud, moving: list[Service], watch_s: int) -> str | None:
    """Give the newest revisions STEPS of the traffic, each for `watch_s`; the first trouble, if any, with traffic as
    it then is."""
    for share in STEPS:
        for found in moving:
            cloud.route(found.name, {found.newest: share, found.serving: 100 - share})
        print(f"{share} % of the traffic on {', '.join(found.newest for found in moving)}", flush=True)
        time.sleep(watch_s)
        for found in moving:
            if reason := trouble(cloud.answers(found.newest, watch_s)):
                return f"{found.newest}: {reason}"
    return None


def main() -> None:
    """Exit status 1, with the reason, when the traffic went back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("hold", "release"))
    parser.add_argument("region")
    parser.add_argument("services", nargs="+")
    parser.add_argument("--watch-s", type=int, default=300)
    parser.add_argument("--check", default="", help="command that must succeed once all traffic has moved")
    given = parser.parse_args()
    cloud = Cloud(given.region)
    if given.action == "hold":
        hold(cloud, given.services)
    elif problem := release(cloud, given.services, given.watch_s, given.check):
        sys.exit(problem)


if __name__ == "__main__":
    main()
