"""The broker's gRPC face: google.pubsub.v1 Publisher and Subscriber, as far as SONA uses them."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from core.errors import Conflict, InvalidInput, NotFound, SonaError, StoreUnavailable
from core.local.broker.backlog import Backlog, Entry
from core.local.broker.broker import Broker
from core.local.broker.messages import (
    ListSubscriptionsResponse,
    ListTopicsResponse,
    Message,
    PublishResponse,
    PullResponse,
    ReceivedMessage,
    StreamingPullResponse,
    message_class,
)

NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/[A-Za-z][\w.~+%-]{2,254}")
PULL_LIMIT = 1000
PULL_WAIT_S = 30.0
MESSAGE_LIMIT_BYTES = 20_000_000  # a publish request has 10 MB at most
STATUS = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.ALREADY_EXISTS,
    StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
}


def grpc_server(broker: Broker, address: str) -> grpc.Server:
    """A server on address (host:port), not yet started. Raises RuntimeError when the port is taken."""
    options = [
        ("grpc.so_reuseport", 0),  # a second broker on the same port would get half of the calls
        ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
    ]
    server = grpc.server(ThreadPoolExecutor(64, thread_name_prefix="grpc"), options=options)
    publisher, subscriber = Publisher(broker), Subscriber(broker)
    server.add_generic_rpc_handlers([_handlers("Publisher", publisher), _handlers("Subscriber", subscriber)])
    server.add_insecure_port(address)
    return server


class Publisher:
    """Methods as google.pubsub.v1.Publisher has them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def CreateTopic(self, request: Any, _: grpc.ServicerContext) -> Any:
        _check_name(request.name)
        self._broker.add_topic(request)
        return request

    def GetTopic(self, request: Any, _: grpc.ServicerContext) -> Any:
        return self._broker.topic(request.topic)

    def ListTopics(self, request: Any, _: grpc.ServicerContext) -> Any:
        return ListTopicsResponse(topics=_of_project(self._broker.topics, request.project))

    def DeleteTopic(self, request: Any, _: grpc.ServicerContext) -> None:
        self._broker.remove_topic(request.topic)

    def Publish(self, request: Any, _: grpc.ServicerContext) -> Any:
        if not request.messages or any(not (message.data or message.attributes) for message in request.messages):
            raise InvalidInput("publish at least one message; each needs data or attributes")
        numbers, committed = self._broker.publish(request.topic, request.messages)
        committed.result()
        return PublishResponse(message_ids=[str(number) for number in numbers])


class Subscriber:
    """Methods as google.pubsub.v1.Subscriber has them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def CreateSubscription(self, request: Any, _: grpc.ServicerContext) -> Any:
        _check_name(request.name)
        self._broker.add_subscription(request)
        return request

    def GetSubscription(self, request: Any, _: grpc.ServicerContext) -> Any:
        return self._broker.backlog(request.subscription).config

    def ListSubscriptions(self, request: Any, _: grpc.ServicerContext) -> Any:
        configs = {name: backlog.config for name, backlog in list(self._broker.backlogs.items())}
        return ListSubscriptionsResponse(subscriptions=_of_project(configs, request.project))

    def UpdateSubscription(self, request: Any, _: grpc.ServicerContext) -> Any:
        def change(config: Any) -> None:
            request.update_mask.MergeMessage(request.subscription, config, replace_message_field=True)

        return self._broker.configure(self._broker.backlog(request.subscription.name), change)

    def ModifyPushConfig(self, request: Any, _: grpc.ServicerContext) -> None:
        self._broker.configure(
            self._broker.backlog(request.subscription), lambda config: config.push_config.CopyFrom(request.push_config)
        )

    def DeleteSubscription(self, request: Any, _: grpc.ServicerContext) -> None:
        self._broker.remove_subscription(request.subscription)

    def Pull(self, request: Any, context: grpc.ServicerContext) -> Any:
        backlog = self._pulled(request.subscription)
        if request.max_messages < 1:
            raise InvalidInput("max_messages must be positive")
        context.add_callback(backlog.wake)  # a client that has gone must not be given messages
        wait_s = min(PULL_WAIT_S, max(0.0, (context.time_remaining() or PULL_WAIT_S) - 0.2))
        entries = backlog.take(
            min(request.max_messages, PULL_LIMIT),
            backlog.config.ack_deadline_seconds,
            wait_s=0.0 if request.return_immediately else wait_s,
            wanted=context.is_active,
        )
        return PullResponse(received_messages=self._received(backlog, entries))

    def StreamingPull(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        first = next(requests)
        backlog = self._pulled(first.subscription)
        context.add_callback(backlog.wake)
        threading.Thread(target=self._follow, args=(backlog, requests), daemon=True).start()
        while entries := backlog.take(100, first.stream_ack_deadline_seconds, wanted=context.is_active):
            yield StreamingPullResponse(received_messages=self._received(backlog, entries))

    def Acknowledge(self, request: Any, _: grpc.ServicerContext) -> None:
        self._broker.acknowledge(self._broker.backlog(request.subscription), _numbers(request.ack_ids))

    def ModifyAckDeadline(self, request: Any, _: grpc.ServicerContext) -> None:
        deadlines_s = [request.ack_deadline_seconds] * len(request.ack_ids)
        self._modify(self._broker.backlog(request.subscription), _numbers(request.ack_ids), deadlines_s)

    def _follow(self, backlog: Backlog, requests: Iterator[Any]) -> None:
        """Carry out what a stream's client acknowledges and prolongs, until it goes."""
        try:
            for request in requests:
                self._broker.acknowledge(backlog, _numbers(request.ack_ids))
                self._modify(backlog, _numbers(request.modify_deadline_ack_ids), request.modify_deadline_seconds)
        except (grpc.RpcError, ValueError):  # it has gone, or sends what is no acknowledgement: its stream is done
            return

    def _modify(self, backlog: Backlog, messages: list[int], deadlines_s: list[int]) -> None:
        for message, deadline_s in zip(messages, deadlines_s, strict=True):
            if deadline_s:
                backlog.extend(message, deadline_s)
            elif entry := backlog.reclaim(message):
                self._broker.fail(backlog, entry)

    def _pulled(self, subscription: str) -> Backlog:
        backlog = self._broker.backlog(subscription)
        if backlog.config.push_config.push_endpoint:
            raise InvalidInput(f"{subscription} is a push subscription")
        return backlog

    def _received(self, backlog: Backlog, entries: list[Entry]) -> list[Any]:
        counted = backlog.config.HasField("dead_letter_policy")
        return [
            ReceivedMessage(
                ack_id=str(entry.message),
                message=Message.FromString(payload),
                delivery_attempt=entry.failures + 1 if counted else 0,
            )
            for entry in entries
            if (payload := self._broker.payload(backlog, entry)) is not None
        ]


def _handlers(service: str, methods: Publisher | Subscriber) -> grpc.GenericRpcHandler:
    """Each method with its request class, found by name; CreateTopic and CreateSubscription take the thing itself."""
    named = {"CreateTopic": "Topic", "CreateSubscription": "Subscription"}
    handlers = {}
    for name in (name for name in dir(methods) if name[0].isupper()):
        request = message_class(named.get(name, f"{name}Request"))
        wrap = grpc.stream_stream_rpc_method_handler if name == "StreamingPull" else grpc.unary_unary_rpc_method_handler
        translate = _translate_stream if name == "StreamingPull" else _translate
        handlers[name] = wrap(translate(getattr(methods, name)), request.FromString, _serialise)
    return grpc.method_handlers_generic_handler(f"google.pubsub.v1.{service}", handlers)


def _translate(method: Callable) -> Callable:
    """`method`, whose typed errors become gRPC statuses."""

    def call(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request, context)
        except SonaError as error:
            context.abort(STATUS[type(error)], str(error))

    return call


def _translate_stream(method: Callable) -> Callable:
    def call(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from method(requests, context)
        except SonaError as error:
            context.abort(STATUS[type(error)], str(error))

    return call


def _serialise(response: Any) -> bytes:
    return b"" if response is None else response.SerializeToString()  # None: google.protobuf.Empty


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of a topic or subscription")


def _of_project(configs: dict[str, Any], project: str) -> list[Any]:
    return [config for name, config in sorted(configs.items()) if name.startswith(f"{project}/")]


def _numbers(ack_ids: list[str]) -> list[int]:
    try:
        return [int(ack_id) for ack_id in ack_ids]
    except ValueError as error:
        raise InvalidInput("this broker did not give out such an ack_id") from error
