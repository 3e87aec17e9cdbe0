"""Children of the laptop edition: found again, bounded, tied to whoever started them."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from core.errors import ConfigurationError
from core.local import child
from core.local.process import HOST, Server, free_port, packaged_program, port_is_free

CHATTERBOX = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for line in range(int(sys.argv[2])):
    print("x" * 999)
print("said everything", flush=True)
while True:
    listener.accept()[0].close()
"""


class Chatterbox(Server):
    """A server that first says `lines` lines of 1000 bytes."""

    name: ClassVar[str] = "chatterbox"
    lines = 3

    def command(self) -> list[str]:
        return [sys.executable, "-c", CHATTERBOX, str(self.port), str(self.lines)]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1.0):
            return self.log_path.exists() and "said everything" in self.log_path.read_text()


class Stillborn(Chatterbox):
    def command(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('no licence')"]


def eventually(true: Callable[[], bool], wait_s: float = 5.0) -> bool:
    deadline = time.monotonic() + wait_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def pid_of(server: Server) -> int:
    found = server.process()
    assert found is not None
    return found.pid


def test_starting_twice_leaves_the_running_server_alone(tmp_path: Path) -> None:
    with Chatterbox(tmp_path) as server:
        first = pid_of(server)
        server.start()
        assert pid_of(server) == first
    assert not server.is_running()


def test_another_object_finds_the_server_its_port_and_can_stop_it(tmp_path: Path) -> None:
    with Chatterbox(tmp_path) as server:
        other = Chatterbox(tmp_path)
        assert (other.port, pid_of(other)) == (server.port, pid_of(server))
        other.stop()
        assert not server.is_running()
        assert port_is_free(server.port)
    assert Chatterbox(tmp_path).port == server.port


def test_a_given_port_that_is_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server((HOST, free_port())) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            Chatterbox(tmp_path, port).start()


def test_a_remembered_port_that_is_taken_is_exchanged(tmp_path: Path) -> None:
    with Chatterbox(tmp_path) as server:
        port = server.port
    with socket.create_server((HOST, port)), Chatterbox(tmp_path) as server:
        assert server.port != port


def test_a_server_that_ends_while_starting_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no licence"):
        Stillborn(tmp_path).start()


def test_a_missing_package_or_program_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigurationError, match="no_such_package"):
        packaged_program("no_such_package", "bin/server")
    with pytest.raises(ConfigurationError, match="no-such-program"):
        packaged_program("core", "no-such-program")


def test_a_log_never_outgrows_twice_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LOG_LIMIT_BYTES", 100_000)
    monkeypatch.setattr(Chatterbox, "lines", 1000)
    with Chatterbox(tmp_path) as server:
        sizes = [path.stat().st_size for path in tmp_path.glob("chatterbox.log*")]
        assert server.log_path.read_text().endswith("said everything\n")
    assert len(sizes) == 2
    assert all(size <= 100_000 for size in sizes)


def test_the_record_of_a_pid_that_another_program_has_now_is_not_believed(tmp_path: Path) -> None:
    with Chatterbox(tmp_path) as server:
        record = server._record()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        record |= {"pid": bystander.pid, "created": record["created"] - 60}
        server._record_path.write_text(json.dumps(record))
        assert not Chatterbox(tmp_path).is_running()
        Chatterbox(tmp_path).stop()
        Chatterbox(tmp_path).kill()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = Chatterbox(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert server.is_running()
    server.stop()


LAUNCHER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_process import Chatterbox
Chatterbox(Path(sys.argv[2])).start()
print("started", flush=True)
time.sleep(60)
"""


def test_a_killed_launcher_leaves_no_server_and_a_new_one_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LAUNCHER, str(Path(__file__).parent), str(tmp_path)]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"started\n"
    server = Chatterbox(tmp_path)
    orphan = pid_of(server)
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    if sys.platform == "linux":
        assert eventually(lambda: not server.is_running())
    with server:  # elsewhere the orphan is ended here
        assert pid_of(server) != orphan
        assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


def test_a_paused_server_keeps_its_connections_and_says_nothing(tmp_path: Path) -> None:
    with Chatterbox(tmp_path) as server:
        server.pause()
        with socket.create_connection((HOST, server.port), timeout=0.2) as connection:
            with pytest.raises(TimeoutError):
                connection.recv(1)
            server.resume()
            connection.settimeout(5)
            assert connection.recv(1) == b""  # closed by the server, which answers again
        server.pause()
    assert not server.is_running()  # a paused server can be stopped


def test_stopping_insists_when_the_server_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chatterbox, "stop_signal", signal.SIGWINCH)  # which the server ignores
    monkeypatch.setattr(Chatterbox, "stop_timeout_s", 0.2)
    with Chatterbox(tmp_path) as server:
        pass
    assert not server.is_running()
