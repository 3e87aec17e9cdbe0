"""How an instance begins and ends."""

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from core.flows.services import Services
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
