"""The protobuf messages of google.pubsub.v1, as plain classes.

Importing google.pubsub_v1 loads every client with its transports, three quarters of the broker's start; the messages
need none of that. So they are imported below an empty package, which is then taken away again.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def _message_module() -> ModuleType:
    name = "google.pubsub_v1"
    if name not in sys.modules:
        package = ModuleType(name)
        places = importlib.import_module("google").__path__
        package.__path__ = [str(Path(place) / "pubsub_v1") for place in places]
        sys.modules[name] = package
        try:
            return importlib.import_module(f"{name}.types.pubsub")
        finally:
            del sys.modules[name]
    return importlib.import_module(f"{name}.types.pubsub")


_MODULE = _message_module()


def message_class(name: str) -> Any:
    """The protobuf class of a message of google.pubsub.v1, for example "PullRequest"."""
    return getattr(_MODULE, name).pb()


Topic = message_class("Topic")
Subscription = message_class("Subscription")
Message = message_class("PubsubMessage")
ReceivedMessage = message_class("ReceivedMessage")
PublishResponse = message_class("PublishResponse")
PullResponse = message_class("PullResponse")
StreamingPullResponse = message_class("StreamingPullResponse")
ListTopicsResponse = message_class("ListTopicsResponse")
ListSubscriptionsResponse = message_class("ListSubscriptionsResponse")
