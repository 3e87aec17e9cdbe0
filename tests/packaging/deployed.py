"""The source archive, installed as Google's Python buildpack installs it, and functions started as it starts them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import runpy
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from core.local.process import HOST, free_port

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
# What would lead a process of the archive back to this checkout or to the environment of the tests.
OF_THE_TESTS = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PROJECT"}


@dataclass(frozen=True, slots=True)
class Application:
    """The unpacked archive in `folder`, with its own environment in `venv`."""

    archive: Path
    folder: Path
    venv: Path

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """As on Cloud Run: nothing of ours but the settings, and one thread for BLAS."""
        path = f"{self.venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
        single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return {**inherited(), **single, **settings, "PATH": path}

    def run_job(self, name: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        command = [str(self.venv / "bin" / "python"), "-m", f"functions.{name}"]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(settings), capture_output=True, text=True, check=False
        )


def inherited() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name not in OF_THE_TESTS and not name.startswith("SONA_")
    }


def install(uv: str, folder: Path) -> Application:
    """The buildpack's steps, in its order: unpack, lock, make an environment, sync without extras, compile."""
    archive = Path(runpy.run_path(str(ROOT / "infra" / "source_archive.py"))["write"](folder))
    application = Application(archive, folder / "workspace", folder / "venv")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(application.folder)
    python = sys.executable
    steps = [
        [uv, "lock", "--quiet", "--python", python],
        [uv, "venv", "--quiet", str(application.venv), "--python", python],
        [uv, "sync", "--quiet", "--active", "--python", python],
        [str(application.venv / "bin" / "python"), "-m", "compileall", "-f", "-q", "."],
    ]
    environment = inherited() | {"VIRTUAL_ENV": str(application.venv)}
    for step in steps:
        done = subprocess.run(
            step, cwd=application.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(step)}\n{done.stdout}{done.stderr}")
    return application


@dataclass(frozen=True, slots=True)
class Running:
    """A started function; `start_s`: from the exec to the first answer; `cpu_s`, `memory_mib`: all of it then."""

    port: int
    start_s: float
    cpu_s: float
    memory_mib: float

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return call(self.port, path)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        return call(self.port, path, json.dumps(body).encode(), headers)


@contextlib.contextmanager
def started(application: Application, name: str, settings: Mapping[str, str], log: Path) -> Iterator[Running]:
    """The function under the buildpack's start command, which is `functions-framework` and variables."""
    port = free_port()
    environment = application.environment(settings) | {
        "PORT": str(port),
        "FUNCTION_TARGET": name,
        "FUNCTION_SOURCE": f"functions/{name}.py",
        "FUNCTION_SIGNATURE_TYPE": "http",
        "THREADS": "8",
        "WORKERS": "1",
    }
    command = str(application.venv / "bin" / "functions-framework")
    with log.open("wb") as output:
        began = time.perf_counter()
        child = subprocess.Popen(
            [command], cwd=application.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until_it_answers(port, child, log)
            taken = time.perf_counter() - began
            family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
            memory = sum(process.memory_full_info().pss for process in family) / 2**20
            cpu = sum(sum(process.cpu_times()[:2]) for process in family)
            yield Running(port, taken, cpu, memory)
        finally:
            child.terminate()
            child.wait(20.0)


def wait_until_it_answers(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and child.poll() is None:
        try:
            call(port, "/health")
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"did not answer:\n{log.read_text()[-3000:]}")


def call(
    port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", body, dict(headers or {}))
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def part(content: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def token_as_cloud_run_passes_it_on(audience: str, email: str) -> str:
    """A push's token after Cloud Run's IAM has verified it: everything but the signature."""
    claims = {
        "iss": "https://accounts.google.com",
        "aud": audience,
        "sub": "1",
        "email": email,
        "email_verified": True,
        "exp": time.time() + 600,
    }
    return f"{part({'alg': 'RS256', 'kid': '1', 'typ': 'JWT'})}.{part(claims)}.SIGNATURE_REMOVED_BY_GOOGLE"


def size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20
