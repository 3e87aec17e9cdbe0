"""Ask what was deployed whether it works: `python infra/smoke.py outputs.json`, the file from `terraform output -json`.

Every function that takes calls must answer /health and name no store that is missing; with a load balancer the way
through it must work too, and an unknown caller must be refused. Needs `gcloud`, signed in as the deploying identity.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0
PUSHED = ("ingest", "adapt")  # only Pub/Sub may call them; `sona-migrate` and the first events show that they work


def token(audience: str) -> str:
    """An identity token of whoever is signed in to gcloud."""
    command = ["gcloud", "auth", "print-identity-token", f"--audiences={audience}"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def ask(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON body; the body of an error is not read."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


def problems(functions: dict[str, str], api: str | None) -> list[str]:
    """What does not work. A fresh project has no snapshot yet, which health says without being ill."""
    found = []
    for name, url in functions.items():
        if name in PUSHED or api is not None:  # behind a load balancer functions answer nobody else
            continue
        status, answer = ask(f"{url}/health", {"X-Serverless-Authorization": f"Bearer {token(url)}"})
        missing = [part for part, state in answer.items() if state == "unavailable" and part != "snapshot"]
        if status != 200 or missing:
            found.append(f"{name}: status {status}, missing {missing}")
    if api is not None:
        status, answer = ask(f"{api}/health")
        if status != 200:
            found.append(f"{api}/health: status {status}")
        status, _ = ask(f"{api}/api/v1/recommendations", body=b"{}")
        if status != 401:
            found.append(f"a caller without a token gets {status} instead of 401")
    return found


def main() -> None:
    """Exit status 1, with every problem, when something does not work."""
    outputs = {name: output["value"] for name, output in json.loads(Path(sys.argv[1]).read_text()).items()}
    found = problems(outputs["functions"], outputs["api"])
    if found:
        sys.exit("\n".join(found))
    print(f"{len(outputs['functions'])} functions were asked, all is well")


if __name__ == "__main__":
    main()
