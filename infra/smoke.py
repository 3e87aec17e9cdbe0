"""Ask what was deployed whether it works: `python infra/smoke.py outputs.json`, the file from `terraform output -json`.

Without a load balancer every function that takes calls must answer /health and name no store that is missing. With one
it alone leads in: /health must come through it, and every function behind it must refuse an unknown caller itself. What
nobody can ask from here is named. Needs `gcloud`, signed in as the deploying identity or as somebody who may call.
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

# A route of every function behind the load balancer. Its 401 is the function's own: it has started, and reads tokens.
# A wrong way would end in a 404, a function that is not public in Google's 403, and one that cannot start in a 503.
BEHIND_LOAD_BALANCER = {
    "recommend": "/api/v1/recommendations",
    "collect": "/api/v1/interactions",
    "profiles": "/api/v1/profile/update",
    "adapters": "/api/v1/adapter/stats",
    "experiments": "/api/v1/experiments/status",
}


def token(audience: str) -> str:
    """An identity token of whoever is signed in to gcloud; only a service account's can be made for one audience."""
    command = ["gcloud", "auth", "print-identity-token"]
    for further in ([f"--audiences={audience}"], []):
        done = subprocess.run([*command, *further], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
    sys.exit(f"gcloud gives no identity token: {done.stderr.strip()}")


def ask(url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON body; the body of an error is not read."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


def direct_problems(functions: dict[str, str]) -> list[str]:
    """What does not work. A fresh project has no snapshot yet, which health says without being ill."""
    found = []
    for name, url in functions.items():
        status, answer = ask(f"{url}/health", {"X-Serverless-Authorization": f"Bearer {token(url)}"})
        missing = [part for part, state in answer.items() if state == "unavailable" and part != "snapshot"]
        if status != 200 or missing:
            found.append(f"{name}: status {status}, missing {missing}")
    return found


def edge_problems(api: str, functions: list[str]) -> list[str]:
    """What does not work on the way through the load balancer at `api`."""
    status, _ = ask(f"{api}/health")
    found = [] if status == 200 else [f"{api}/health: status {status}"]
    for name in functions:
        status, _ = ask(f"{api}{BEHIND_LOAD_BALANCER[name]}", body=b"{}")
        if status != 401:
            found.append(f"{name}: a caller without a token gets {status} instead of 401")
    return found


def main() -> None:
    """Exit status 1, with every problem, when something does not work."""
    outputs = {name: output["value"] for name, output in json.loads(Path(sys.argv[1]).read_text()).items()}
    functions, api = outputs["functions"], outputs["api"]
    asked = [name for name in functions if name not in PUSHED and (api is None or name in BEHIND_LOAD_BALANCER)]
    found = direct_problems({name: functions[name] for name in asked}) if api is None else edge_problems(api, asked)
    if found:
        sys.exit("\n".join(found))
    unasked = ", ".join(name for name in functions if name not in asked)
    print(f"{len(asked)} functions were asked and all is well; nobody can ask from here: {unasked}")


if __name__ == "__main__":
    main()
