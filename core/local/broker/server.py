"""The broker as a child process. The real google-cloud-pubsub client runs against it."""

import socket
import sys
from typing import ClassVar

from core.local.process import HOST, Server


class BrokerServer(Server):
    """Topics, subscriptions and what is undelivered live in the folder, and survive a kill."""

    name: ClassVar[str] = "pubsub"

    @property
    def endpoint(self) -> str:
        """For PUBSUB_EMULATOR_HOST."""
        return f"{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "core.local.broker", "--port", str(self.port), "--data", str(self.folder)]

    def environment(self) -> None:
        """Ours: this child is Python and needs the same import path."""

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1.0):
            return True
