"""The process behind `sona up`: holds the stack, restarts what dies, and ends everything when it ends.

Exactly one runs per data folder: it holds a file lock, which the system releases however the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from core.errors import ConfigurationError, SonaError
from core.local.stack import Stack

HEAL_EVERY_S = 0.5
STAGE_TIMEOUT_S = 180.0  # of starting; a slow machine may take longer in all as long as stages follow each other


def start_in_background(home: Path, port: int, demo: bool, progress: Callable[[str], None]) -> None:
    """Start the supervisor unless one runs, and wait until it serves. Raises ConfigurationError with its last words."""
    home.mkdir(parents=True, exist_ok=True)
    if not is_running(home):
        (home / "supervisor.json").unlink(missing_ok=True)
        log = (home / "supervisor.log").open("wb")
        command = [sys.executable, "-m", "core.local.supervisor", str(home), str(port), "demo" if demo else "bare"]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
    _wait(home, progress)


def _wait(home: Path, progress: Callable[[str], None]) -> None:
    stage, deadline = "", time.monotonic() + STAGE_TIMEOUT_S
    while time.monotonic() < deadline:
        state = read_state(home)
        if state.get("error"):
            raise ConfigurationError(state["error"])
        if state.get("stage", "") != stage:
            stage, deadline = state["stage"], time.monotonic() + STAGE_TIMEOUT_S
            progress(stage)
        if state.get("ready"):
            return
        if state and not is_running(home):
            raise ConfigurationError(f"the supervisor ended while starting; see {home / 'supervisor.log'}")
        time.sleep(0.05)
    raise ConfigurationError(f"nothing happened for {STAGE_TIMEOUT_S:.0f} s; see {home / 'supervisor.log'}")


def stop(home: Path) -> bool:
    """End the supervisor and everything it runs; False when nothing was running."""
    process = _process(home)
    if process is not None:
        process.terminate()
        psutil.wait_procs([process], timeout=60)
    stack = Stack(home, None)
    left = [server for server in stack.servers if server.is_running()]
    stack.stop()  # a killed supervisor leaves children behind where the system cannot tie them to it
    return process is not None or bool(left)


def is_running(home: Path) -> bool:
    """Whether a supervisor, started by whomever, holds the stack of this folder."""
    return _process(home) is not None


def read_state(home: Path) -> dict[str, Any]:
    """What the supervisor last said about itself: pid, created, stage, ready, error."""
    with contextlib.suppress(OSError, json.JSONDecodeError):
        return dict(json.loads((home / "supervisor.json").read_text()))
    return {}


def _process(home: Path) -> psutil.Process | None:
    state = read_state(home)
    with contextlib.suppress(psutil.NoSuchProcess, KeyError):
        process = psutil.Process(state["pid"])
        if abs(process.create_time() - state["created"]) < 2 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _say(home: Path, **facts: object) -> None:
    pid = os.getpid()
    state = {"pid": pid, "created": psutil.Process(pid).create_time(), **facts}
    unfinished = home / "supervisor.json.new"
    unfinished.write_text(json.dumps(state))
    unfinished.replace(home / "supervisor.json")


def run(home: Path, port: int, demo: bool) -> int:
    """Serve until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another supervisor works in {home}; this one ends", flush=True)
            return 1
        return _serve(home, Stack(home, port), demo, stopping)


def _serve(home: Path, stack: Stack, demo: bool, stopping: threading.Event) -> int:
    try:
        _say(home, stage="starting")
        stack.start(lambda stage: _say(home, stage=stage), demo)
        _say(home, stage="ready", ready=True, url=stack.gateway.url)
        while not stopping.wait(HEAL_EVERY_S):
            _heal(stack)
    except SonaError as error:
        _say(home, stage="failed", error=str(error))
        return 1
    finally:
        stack.stop()
    (home / "supervisor.json").unlink(missing_ok=True)
    return 0


def _heal(stack: Stack) -> None:
    try:
        for name in stack.heal():
            print(f"{time.strftime('%H:%M:%S')} {name} had died and was started again", flush=True)
    except SonaError as error:  # tried again at the next turn
        print(f"{time.strftime('%H:%M:%S')} {error}", flush=True)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "demo"))
