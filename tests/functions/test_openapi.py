"""The interface describes itself, and whatever is sent to it, it keeps to its description and never breaks."""

import json
from typing import Any

import pytest
import schemathesis
from function_client import SECRET
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.test import Client

from core.api.openapi import FUNCTIONS, PROBLEMS, document, page
from core.flows.services import Services
from core.local.gateway import PREFIXES, application
from core.local.tokens import sign_local_token

load_all_checks()
CHECKS = (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
CALLS = sorted((path, method) for path, methods in document()["paths"].items() for method in methods)
ROLES = ("service", "admin")


@pytest.fixture(scope="module")
def gateway(deployment: Services) -> Any:
    """Every function behind one port, as `sona up` serves them."""
    return application()


@pytest.fixture(scope="module")
def described(gateway: Any) -> Any:
    return schemathesis.openapi.from_wsgi("/openapi.json", gateway)


def test_every_path_of_every_function_is_described(gateway: Any) -> None:
    served = {
        (path, method.lower()) for table in FUNCTIONS.values() for path, methods in table.items() for method in methods
    }
    assert set(CALLS) == served
    assert json.loads(Client(gateway).get("/openapi.json").data) == document()


def test_the_gateway_sends_every_described_path_to_its_function() -> None:
    prefixes = sorted(PREFIXES, key=len, reverse=True)
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            if path != "/health":
                owner = next(PREFIXES[prefix] for prefix in prefixes if path.startswith(prefix))
                assert [owner] == operation["tags"], path


def test_callers_are_told_of_every_error_and_that_a_token_is_needed() -> None:
    for path, method in CALLS:
        operation = document()["paths"][path][method]
        if path == "/health":
            assert operation["security"] == []
        else:
            assert "security" not in operation
            assert set(map(str, PROBLEMS)) < set(operation["responses"])


def test_the_page_names_every_path_and_asks_nobody_else_for_anything(gateway: Any) -> None:
    answer = Client(gateway).get("/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert all(path in page() for path, _ in CALLS)
    assert "http://" not in page()
    assert "https://" not in page()


def fuzz(described: Any, path: str, method: str, examples: int, valid: bool = True) -> None:
    """Send generated requests as somebody who may do everything."""
    mode = schemathesis.GenerationMode.POSITIVE if valid else schemathesis.GenerationMode.NEGATIVE
    headers = {"Authorization": f"Bearer {sign_local_token(SECRET, 'fuzzer', ROLES)}"}

    @seed(1)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described[path][method.upper()].as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        response = case.call(headers=headers)
        assert response.status_code < 500 or response.status_code == 503, response.text
        assert "needs repair" not in response.text  # what a bug or corrupt data says
        fits = valid or response.status_code == 413  # a refusal too, of which that check has not heard
        case.validate_response(response, checks=list(CHECKS) if fits else [*CHECKS, negative_data_rejection])

    send()


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_whatever_fits_the_schema_is_answered_as_described(described: Any, path: str, method: str) -> None:
    fuzz(described, path, method, 8)


@pytest.mark.parametrize(("path", "method"), [call for call in CALLS if call[1] == "post"])
def test_whatever_does_not_fit_is_refused_as_described(described: Any, path: str, method: str) -> None:
    fuzz(described, path, method, 8, valid=False)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize(("path", "method"), [call for call in CALLS if call[1] == "post"])
def test_a_thousand_requests_find_nothing(described: Any, path: str, method: str, valid: bool) -> None:
    fuzz(described, path, method, 1000, valid)
