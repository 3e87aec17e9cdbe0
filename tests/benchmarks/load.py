"""A load generator: N persistent connections in a closed loop, one thread, one epoll, as little work as Python allows.

    echo '{"host": "127.0.0.1", "port": 8080, "connections": 16, "seconds": 2, "requests": ["..."]}' \
        | python -m tests.benchmarks.load

It is a process of its own, so that its work is not counted as the server's. Every connection sends the next of the
prepared requests as soon as it has the answer to its last one; a connection that the server closes is opened again, and
that belongs to the time of the request. Prints {"latencies_s": [...], "statuses": {"200": n}, "broken": n}.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from itertools import cycle
from typing import Any

READ_BYTES = 1 << 18
LONGEST_S = 30.0  # an answer that takes longer ends the run


class Connection:
    """One connection with at most one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.socket: socket.socket | None = None
        self.sent_at = 0.0
        self.answer = b""

    def send(self, request: bytes) -> int:
        """Send a request, on a new connection if there is none; returns the file descriptor."""
        self.sent_at, self.answer = time.perf_counter(), b""
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=LONGEST_S)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)
        return self.socket.fileno()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def receive(self) -> int | None:
        """Read what is there; the status once the answer is whole, None before, 0 when the server has hung up."""
        assert self.socket is not None
        try:
            data = self.socket.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            return 0
        self.answer += data
        end = self.answer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.answer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 : (head.find(b"\r\n", at) + 1 or len(head) + 1) - 1]) if at >= 0 else 0
        if len(self.answer) < end + 4 + length:
            return None
        if b"connection: close" in head:
            self.close()
        return int(head[9:12])


def generate(host: str, port: int, connections: int, seconds: float, requests: list[str]) -> dict[str, Any]:
    """Load a server for `seconds`; latencies are in seconds, from the send to the last byte of the answer."""
    waiting: dict[int, Connection] = {}
    following = cycle([request.encode() for request in requests])
    poll = select.epoll()
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    broken = 0

    def start(connection: Connection) -> None:
        descriptor = connection.send(next(following))
        if waiting.get(descriptor) is not connection:
            waiting[descriptor] = connection
            poll.register(descriptor, select.EPOLLIN)

    for _ in range(connections):
        start(Connection((host, port)))
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end + LONGEST_S and waiting:
        for descriptor, _ in poll.poll(0.1):
            connection = waiting[descriptor]
            status = connection.receive()
            if status is None:
                continue
            finished = time.perf_counter()
            if status:
                latencies.append(finished - connection.sent_at)
                statuses[status] += 1
            else:
                connection.close()
                broken += 1
            if connection.socket is None or finished >= end:
                del waiting[descriptor]
                if connection.socket is not None:
                    poll.unregister(descriptor)
            if finished < end:
                start(connection)
    return {
        "latencies_s": [round(latency, 6) for latency in latencies],
        "statuses": {str(status): count for status, count in statuses.items()},
        "broken": broken + (len(waiting) if now >= end + LONGEST_S else 0),
    }


if __name__ == "__main__":
    json.dump(generate(**json.load(sys.stdin)), sys.stdout)
