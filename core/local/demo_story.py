"""The demo: a film lover's evening on the real stack, told in a minute.

Everything goes the way a platform would go: HTTPS in, Pub/Sub, ingest, and the next answer is different. The viewers
and their reactions are simulated and say so; the titles are real.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from core.errors import SonaError
from core.local import supervisor
from core.local.tokens import sign_local_token

Rows = list[dict[str, Any]]
SHOWN = 8
PATIENCE_S = 20.0
CHOSEN = "which you chose"  # of a genre, in the reasons that answers give
FIRST_PAUSE_S = 0.005  # between looks, each half as long again as the one before: nobody asks too often


@dataclass(frozen=True, slots=True)
class Client:
    """One viewer's HTTPS client."""

    url: str
    secret: Path
    user_id: str

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer. Raises SonaError with the beginning of the body for any status but 2xx."""
        headers = _headers(self.secret, self.user_id)
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            raise SonaError(f"{path} answered {error.code}: {error.read().decode()[:300]}") from error

    def recommendations(self, **body: Any) -> Rows:
        """The first SHOWN rows; `body` as POST /api/v1/recommendations takes it."""
        answer = self.post("/api/v1/recommendations", {"limit": SHOWN, **body})
        return list(answer["recommendations"])


def _headers(secret: Path, user_id: str) -> dict[str, str]:
    token = sign_local_token(secret.read_text(), user_id)
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def curl_line(url: str, secret: Path, user_id: str) -> str:
    """A command line that works as it is printed."""
    authorization = _headers(secret, user_id)["Authorization"]
    return (
        f"curl -s {url}/api/v1/recommendations -H 'Authorization: {authorization}' "
        "-H 'Content-Type: application/json' -d '{\"limit\": 5}'"
    )


def tell(home: Path, port: int, console: Console) -> dict[str, bool]:
    """Tell the story; returns for each of its chapters whether the answers changed as they should."""
    began = time.monotonic()
    ours = not supervisor.is_running(home)
    try:
        supervisor.start_in_background(home, port, True, lambda stage: console.print(f"[dim]... {stage}[/dim]"))
        url = str(supervisor.read_state(home)["url"])
        console.print(f"[bold]SONA serves on {url}[/bold] after {time.monotonic() - began:.1f} s\n")
        secret = home / "secret"
        nadia = Client(url, secret, "nadia")
        before = nadia.recommendations()
        learned = {
            "known_viewer": _known_viewer(nadia, before, console),
            "adapter": _adapter_at_work(nadia, before, console),
            "in_words": _in_words(nadia, "slow-burn space survival", console),
            "new_viewer": _new_viewer(Client(url, secret, f"guest-{int(time.time())}"), console),
        }
    finally:
        if ours:
            supervisor.stop(home)
    console.print(f"[dim]The demo took {time.monotonic() - began:.1f} s.[/dim]")
    return learned


def _known_viewer(client: Client, before: Rows, console: Console) -> bool:
    """A simulated viewer with a history watches two recommended titles and dismisses one."""
    _print(console, f"{client.user_id} (simulated) before", before)
    watched, liked, dismissed = before[0], before[1], before[2]
    console.print(
        f"\n{client.user_id} watches [bold]{watched['title']}[/bold] to the end, likes [bold]{liked['title']}[/bold] "
        f"and dismisses [bold]{dismissed['title']}[/bold] ..."
    )
    events = [
        {"content_id": watched["content_id"], "type": "watch_complete", "device_type": "tv"},
        {"content_id": liked["content_id"], "type": "like"},
        {"content_id": dismissed["content_id"], "type": "skip_content"},
    ]
    gone = {watched["content_id"], dismissed["content_id"]}  # a series that is liked may be one to go on with
    return _interact(client, events, lambda rows: not gone & _ids(rows), before, console)


def _adapter_at_work(client: Client, before: Rows, console: Console) -> bool:
    """What the viewer's own low-rank weights add to scores and take from them, before the evening's events and now."""
    stats = client.post("/api/v1/adapter/stats", {})
    latest, fast = stats["adaptations"][0], stats["fast_tier"]
    losses = f"loss {_loss(latest, 'before')} -> {_loss(latest, 'after')}"
    console.print(
        f"\n{client.user_id}'s slow tier was trained in the background on {latest['upto_seq']} events: "
        f"[bold]{latest['verdict']}[/bold] by what was held back ({losses}); version {stats['adapter_version']}, "
        f"{stats['hot_bytes']} bytes hot"
    )
    if fast:
        console.print(
            f"The fast tier has learned from {fast['updates']} of the events just now, gain {fast['gain']:+.4f} nats: "
            f"{'applied' if fast['useful'] else 'not applied until it foretells'}"
        )
    after = client.recommendations()
    _print(console, "What the adapter adds and takes", after, before, adapter=True)
    return any("adapter" in row["score_parts"] for row in after)


def _in_words(client: Client, words: str, console: Console) -> bool:
    """The same viewer asks in words."""
    answer = client.post("/api/v1/recommendations", {"query": words, "limit": 5})
    names = ", ".join(row["title"] for row in answer["recommendations"])
    route = answer["routing"]["route_name"] if "routing" in answer else "not routed"
    console.print(f"\n{client.user_id} asks for [bold]{words}[/bold] ({route}): {names}")
    return bool(answer["recommendations"])


def _loss(adaptation: dict[str, Any], when: str) -> str:
    value = adaptation["metrics"].get(f"held_back_{when}")
    return "?" if value is None else f"{value:.3f}"


def _new_viewer(client: Client, console: Console) -> bool:
    """Somebody nobody knows: chosen genres first, then one title decides."""
    client.post("/api/v1/profile/onboarding", {"genres": ["science fiction", "mystery"], "age_band": "25-34"})
    start, _ = _until(client, lambda rows: any(CHOSEN in row["explanation"] for row in rows))
    _print(console, f"\n{client.user_id} is new and has chosen science fiction and mystery", start)
    similar = client.post("/api/v1/recommendations/similar", {"content_id": start[0]["content_id"], "limit": 5})
    names = ", ".join(f"{row['title']} ({row['relation']})" for row in similar["similar_content"][:3])
    console.print(f"\nSimilar to {start[0]['title']}: {names}")
    names = " and ".join(f"[bold]{row['title']}[/bold]" for row in start[:2])
    console.print(f"\n{client.user_id} gives {names} five stars ...")
    events = [{"content_id": row["content_id"], "type": "rating_explicit", "rating": 5} for row in start[:2]]
    rated = _ids(start[:2])
    return _interact(
        client,
        events,
        lambda rows: not rated & _ids(rows) and any(rated & set(row["based_on"]) for row in rows),
        start,
        console,
    )


def _interact(
    client: Client,
    events: Rows,
    learned: Callable[[Rows], bool],
    before: Rows,
    console: Console,
) -> bool:
    """Send interactions and wait for an answer that shows them; prints what moved and how long it took."""
    client.post("/api/v1/interactions", {"interactions": events})
    after, took_s = _until(client, learned)
    if not learned(after):
        console.print(f"[red]The answer did not change within {PATIENCE_S:.0f} s.[/red]")
        return False
    console.print(f"... accepted, and {took_s * 1e3:.0f} ms later the answer is different:")
    _print(console, "after", after, before)
    return True


def _until(client: Client, expected: Callable[[Rows], bool]) -> tuple[Rows, float]:
    """Ask until the answer is as expected or patience ends; the last answer, and how many seconds it took."""
    began, pause = time.perf_counter(), FIRST_PAUSE_S
    while True:
        rows = client.recommendations()
        took_s = time.perf_counter() - began
        if expected(rows) or took_s > PATIENCE_S:
            return rows, took_s
        time.sleep(pause)
        pause *= 1.5


def _ids(rows: Rows) -> set[str]:
    return {row["content_id"] for row in rows}


def _print(console: Console, title: str, rows: Rows, before: Rows | None = None, adapter: bool = False) -> None:
    """`adapter`: the adapter's score part in both answers, instead of the reason."""
    earlier = {row["content_id"]: (place, row) for place, row in enumerate(before or [], 1)}
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("", "title", "score", *(["adapter before", "after"] if adapter else ["why"]), "moved"):
        table.add_column(column)
    for place, row in enumerate(rows, 1):
        was, then = earlier.get(row["content_id"], (None, None))
        moved = "" if before is None else "new" if was is None else f"{was - place:+d}" if was != place else "="
        shown = [_adapter_part(then), _adapter_part(row)] if adapter else [row["explanation"]]
        table.add_row(str(place), row["title"], f"{row['confidence_score']:.2f}", *shown, moved)
    console.print(table)


def _adapter_part(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['score_parts'].get('adapter', 0.0):+.4f}"
