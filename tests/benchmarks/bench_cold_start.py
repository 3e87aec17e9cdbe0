"""Cold start: from the exec of functions-framework to the first 200, as a new instance of the recommend function.

The first answer is a real one, for a user with a history. `downloaded` begins with an empty cache folder, as a new
instance on Cloud Run does; `cached` with the snapshot in it. The hello-world function is the framework's own share.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from core.local.process import HOST, free_port
from tests.benchmarks.bench_requests import DEPLOYED
from tests.benchmarks.measure import Row, row
from tests.benchmarks.server import Form
from tests.benchmarks.world import ROOT, World

FORM = Form("default", "hello", "recommend", DEPLOYED, threads=8)
PATIENCE_S = 60.0
SHOWN = 8  # imports that are listed


def run(world: World, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    times: dict[str, list[tuple[float, float]]] = {"hello": [], "cached": [], "downloaded": []}
    cache = world.home / "cold-cache"
    start(world, cache)  # fills the cache, and compiles what was never imported
    for number in range(2 if quick else 10):
        progress(f"cold start: {number}")
        if not quick or not times["hello"]:
            times["hello"].append(start(world, cache, hello=True))
        times["cached"].append(start(world, cache))
        shutil.rmtree(cache)
        times["downloaded"].append(start(world, cache))
    names = {
        "hello": "cold start of hello",
        "cached": "cold start to the first answer, snapshot in the cache",
        "downloaded": "cold start to the first answer, snapshot downloaded",
    }
    rows = []
    for kind, name in names.items():
        rows.append(row(name, [taken for taken, _ in times[kind]], "s", None if kind == "hello" else 2.0))
        rows.append(row("  CPU", [cpu for _, cpu in times[kind]], "s", None, "its end included"))
    return rows + imports(world, cache)


def start(world: World, cache: Path, hello: bool = False) -> tuple[float, float]:
    """Seconds from the exec to the end of the first answer, and CPU seconds until the end of the process."""
    port = free_port()
    source = ROOT / "tests" / "benchmarks" / "hello.py" if hello else FORM.source
    command = FORM.command(FORM.hello if hello else FORM.target, source, port)
    environment = {**os.environ, **world.environment(CACHE_DIR=str(cache)), "THREADS": str(FORM.threads)}
    request = world.request(world.users[0], port).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode()
    cpu, begin = children_cpu_s(), time.perf_counter()
    child = subprocess.Popen(command, env=environment, cwd="/", stdout=subprocess.DEVNULL)
    try:
        while not answered(port, request):
            if child.poll() is not None or time.perf_counter() - begin > PATIENCE_S:
                raise SystemExit(f"{' '.join(command)} did not answer")
        taken = time.perf_counter() - begin
    finally:
        child.terminate()
        child.wait()
    return taken, children_cpu_s() - cpu


def children_cpu_s() -> float:
    """CPU seconds of the child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def answered(port: int, request: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        answer = connection.recv(4096)
        while connection.recv(1 << 16):
            pass
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the first answer was {answer[:200]!r}")
        return True
    time.sleep(0.005)
    return False


def imports(world: World, cache: Path) -> list[Row]:
    """Time of the slowest packages that the function imports before it can answer, each without what it imports."""
    code = "import runpy; runpy.run_path('functions/recommend.py')"
    environment = {**os.environ, **world.environment(CACHE_DIR=str(cache))}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    spent: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        figures = line.removeprefix("import time:").split("|")
        if len(figures) == 3 and figures[0].strip().isdigit():
            spent[package(figures[2].strip())] += int(figures[0])
    total = sum(spent.values()) / 1e6
    rows = [row("imports before the first answer", [total], "s", None, "with the import profiler on")]
    return rows + [row(f"  {name}", [us / 1e6], "s") for name, us in spent.most_common(SHOWN)]


def package(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "google" else parts[0]
