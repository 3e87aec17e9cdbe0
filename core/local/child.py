"""How the laptop edition's children are born, tied to their launcher, logged and ended."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]

LOG_LIMIT_BYTES = 2_000_000  # a log and its predecessor together never exceed twice this

# Linux ends a child when the *thread* that spawned it ends, so one thread that lives as long as the process spawns all.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

# Runs between fork and exec. A program of its own because code in `preexec_fn` can deadlock in a process with threads.
# The death signal comes after the change of user, which would clear it (prctl(2), PR_SET_PDEATHSIG = 1).
_TETHER = """
import ctypes, os, sys
death_signal, launcher, uid, gid = map(int, sys.argv[1:5])
if uid >= 0:
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death_signal)
    if os.getppid() != launcher:
        sys.exit("the launcher ended before its child began")
os.execv(sys.argv[5], sys.argv[5:])
"""


def spawn(
    command: list[str],
    death_signal: signal.Signals,
    account: tuple[int, int] | None,
    environment: dict[str, str] | None,
    log_path: Path,
) -> "subprocess.Popen[bytes]":
    """Run `command` in a session of its own, output into a bounded log; on Linux it gets `death_signal` when we die."""

    def popen() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            tethered(command, death_signal, account),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )

    child = _SPAWNER.submit(popen).result()
    assert child.stdout is not None
    threading.Thread(target=_copy_bounded, args=(child.stdout, log_path), daemon=True).start()
    return child


def tethered(command: list[str], death_signal: signal.Signals, account: tuple[int, int] | None) -> list[str]:
    """`command` behind the small program that changes the user and ties the child to us."""
    uid, gid = account or (-1, -1)
    ties = [str(int(death_signal)), str(os.getpid()), str(uid), str(gid)]
    return [sys.executable, "-I", "-S", "-c", _TETHER, *ties, *command]


def signal_all(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to every process that is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wait_for_end(processes: list[psutil.Process], timeout_s: float) -> bool:
    """Wait until none of them runs. A zombie counts as ended: it may be another process's duty to collect it."""
    deadline = time.monotonic() + timeout_s
    while any(_runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _copy_bounded(output: IO[bytes], path: Path) -> None:
    """Copy a child's output into `path` until it ends; a full log becomes `<path>.1`, whose predecessor is dropped.

    Output that cannot be written (a full disk) is dropped: a child whose output nobody reads would stand still.
    """
    with output:
        while chunk := os.read(output.fileno(), 65536):
            with contextlib.suppress(OSError):
                if path.exists() and path.stat().st_size + len(chunk) > LOG_LIMIT_BYTES:
                    path.replace(path.with_name(path.name + ".1"))
                with path.open("ab") as log:
                    log.write(chunk)
