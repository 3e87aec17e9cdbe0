"""One function under functions-framework, as Cloud Run runs it: a process of its own, on a loopback port."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil  # type: ignore[import-untyped]

from core.local.process import HOST, Server
from tests.benchmarks.world import ROOT, World


@dataclass(frozen=True, slots=True)
class Form:
    """How a function is run. `threads` and `workers` are gunicorn's; one thread means its sync worker, which closes
    the connection after every answer."""

    name: str
    hello: str  # target in hello.py
    target: str  # of the recommend function
    source: Path
    workers: int = 1
    threads: int = 1
    asgi: bool = False

    def command(self, target: str, source: Path, port: int) -> list[str]:
        options = ["--target", target, "--source", str(source), "--host", HOST, "--port", str(port)]
        return [sys.executable, "-m", "functions_framework", *options, *(["--asgi"] if self.asgi else [])]


class FunctionServer(Server):
    """A function of one form in a folder of its own, with the settings of a world."""

    name: ClassVar[str] = "function"

    def __init__(
        self, folder: Path, form: Form, world: World, hello: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder)
        self._form = form
        self._hello = hello
        self._settings = {**os.environ, **world.environment(**(settings or {}))}

    def command(self) -> list[str]:
        form = self._form
        source = ROOT / "tests" / "benchmarks" / "hello.py" if self._hello else form.source
        return form.command(form.hello if self._hello else form.target, source, self.port)

    def environment(self) -> dict[str, str] | None:
        workers = {"WORKERS": str(self._form.workers), "THREADS": str(self._form.threads)}
        return {**self._settings, **workers, "PYTHONUNBUFFERED": "1"}

    def answers(self) -> bool:
        with contextlib.closing(socket.create_connection((HOST, self.port), timeout=2.0)) as probe:
            probe.sendall(b"GET /health HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
            return probe.recv(100).startswith(b"HTTP/1.1 200")

    def family(self) -> list[psutil.Process]:
        process = self.process()
        return [process, *process.children(recursive=True)] if process else []

    def cpu_s(self) -> float:
        """CPU seconds, user and system, that the server's processes have used so far."""
        return float(sum(sum(process.cpu_times()[:2]) for process in self.family()))

    def workers(self) -> list[psutil.Process]:
        """The processes that answer: gunicorn's first one only watches the others."""
        return self.family()[1:]


def load(port: int, requests: list[str], seconds: float, connections: int = 16) -> dict[str, Any]:
    """What the load generator saw, from a process of its own."""
    job = {"host": HOST, "port": port, "connections": connections, "seconds": seconds, "requests": requests}
    generator = [sys.executable, "-m", "tests.benchmarks.load"]
    done = subprocess.run(generator, input=json.dumps(job), capture_output=True, text=True, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout))
