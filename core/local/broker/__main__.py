"""`python -m core.local.broker --port P --data FOLDER`: the broker as a program, until SIGTERM."""

import argparse
import logging
import os
import signal
import threading
from pathlib import Path

from core.local.broker.backlog import Backlog
from core.local.broker.broker import Broker
from core.local.broker.journal import Journal
from core.local.broker.push import Pusher
from core.local.broker.service import grpc_server


def main() -> None:
    """Serve until told to stop; a thread that dies takes the process with it, so that the supervisor starts another."""
    parser = argparse.ArgumentParser(prog="python -m core.local.broker", description="a loopback Pub/Sub broker")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1 for PUBSUB_EMULATOR_HOST")
    parser.add_argument("--data", type=Path, required=True, help="folder of the durable queue")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    threading.excepthook = end_with_the_thread

    arguments.data.mkdir(parents=True, exist_ok=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    run(arguments.port, arguments.data, stopped)


def run(port: int, folder: Path, stopped: threading.Event) -> None:
    """Serve until the event is set."""

    def push(backlog: Backlog) -> None:
        if backlog.config.push_config.push_endpoint:
            Pusher(broker, backlog).start()

    broker = Broker(Journal(folder / "queue.sqlite3"))
    server = grpc_server(broker, f"127.0.0.1:{port}")
    broker.on_push(push)
    server.start()
    stopped.wait()
    server.stop(grace=0.5).wait()
    broker.close()


def end_with_the_thread(failure: threading.ExceptHookArgs) -> None:
    """A broker that lost a thread would accept and never deliver: better it ends, and is started again."""
    logging.critical("a thread failed", exc_info=failure.exc_value)
    os._exit(70)


if __name__ == "__main__":
    main()
