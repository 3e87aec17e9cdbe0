"""How an instance begins and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from collector import collecting
from function_client import SECRET
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from core.flows.services import Services
from core.local.tokens import sign_local_token
from core.stores.pubsub import channel_arguments

ROOT = Path(__file__).parents[2]
BUFFERING = """
import time
from core.wiring import services
built = services()
for number in range(500):
    assert built.publisher.publish_best_effort(built.settings.stores.interactions_topic, "ann", b"%d" % number)
print("buffered", flush=True)
time.sleep(60)
"""


def test_the_request_path_starts_without_what_only_other_functions_need(deployment: Services) -> None:
    program = "import json, sys; import functions.recommend; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"core.snapshot.snapshot", "google.pubsub_v1"} <= loaded
    assert not loaded & {
        "sqlalchemy",
        "alembic",
        "onnxruntime",
        "scipy.sparse",
        "google.cloud.sql",
    }


def test_a_served_function_tells_what_it_measured_when_it_is_stopped(deployment: Services, user: str) -> None:
    """As in the cloud: gunicorn forks after the function file was imported, so threads begun there are not in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    framework = Path(sys.executable).with_name("functions-framework")
    command = [framework, "--target", "recommend", "--source", ROOT / "functions" / "recommend.py", "--port", str(port)]
    with collecting() as collector:
        told = {
            "SONA_TELEMETRY_EXPORTER": "otlp",
            "SONA_TELEMETRY_ENDPOINT": collector.url,
            "K_SERVICE": "sona-recommend",
        }
        environment = {**os.environ, **told, "WORKERS": "1", "THREADS": "2"}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as instance:
            try:
                answer = asked(f"http://127.0.0.1:{port}/api/v1/recommendations", user)
            finally:
                instance.send_signal(signal.SIGTERM)
                instance.wait(20)
    assert len(answer["recommendations"]) == 3
    points = {tuple(labels.values()): point.count for labels, point in collector.points("sona.request.duration")}
    assert points["/api/v1/recommendations", "200"] == 1
    assert {resource["service.name"] for resource in collector.resources()} == {"sona-recommend"}
    assert len({resource["service.instance.id"] for resource in collector.resources()}) == 1
    assert user not in collector.everything()


def asked(url: str, user: str) -> dict[str, Any]:
    """The answer, once the server is there."""
    headers = {"Authorization": f"Bearer {sign_local_token(SECRET, user, ())}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"limit": 3}).encode(), headers)
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return dict(json.load(answer))
        except ConnectionError:
            time.sleep(0.2)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.2)
    raise AssertionError("the function does not listen")


def test_a_stopped_instance_sends_what_it_has_buffered(deployment: Services) -> None:
    stores = deployment.settings.stores
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(**channel_arguments(stores)))
    path = subscriber.subscription_path(stores.project, f"pull-{uuid.uuid4().hex}")
    topic = f"projects/{stores.project}/topics/{stores.interactions_topic}"
    subscriber.create_subscription(name=path, topic=topic)
    with subprocess.Popen([sys.executable, "-c", BUFFERING], cwd=ROOT, stdout=subprocess.PIPE) as instance:
        assert instance.stdout is not None
        assert instance.stdout.readline() == b"buffered\n"
        instance.send_signal(signal.SIGTERM)
        assert instance.wait(15) == 0
    received = subscriber.pull(subscription=path, max_messages=1000, timeout=5).received_messages
    assert {int(item.message.data) for item in received} == set(range(500))
    subscriber.delete_subscription(subscription=path)
