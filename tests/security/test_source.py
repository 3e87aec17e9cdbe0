"""What the code must never do, whoever writes it: each rule is looked for in every file that is deployed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("core", "functions") for path in (ROOT / folder).rglob("*.py"))
UNSAFE_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text())


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with the last part of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield node, called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def test_nothing_is_unpickled_or_evaluated() -> None:
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & UNSAFE_MODULES, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in UNSAFE_MODULES, path
        for call, name in calls(tree):
            plain = isinstance(call.func, ast.Name)
            assert not (plain and name in UNSAFE_CALLS), f"{path}:{call.lineno}"


def test_arrays_are_never_loaded_with_objects() -> None:
    for path, tree in trees():
        for call, name in calls(tree):
            said = {keyword.arg: keyword.value for keyword in call.keywords}
            if "allow_pickle" in said:
                assert getattr(said["allow_pickle"], "value", None) is False, f"{path}:{call.lineno}"
            if name == "load" and isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "np":
                assert "allow_pickle" in said, f"{path}:{call.lineno}"


def test_statements_are_bound_and_never_put_together_from_values() -> None:
    """The text of a statement is a constant, or made of constants when its module is imported."""
    for path, tree in trees():
        if "stores/postgres" not in path.as_posix() or "migrations" in path.parts:  # those are made of constants
            continue
        for call, name in calls(tree):
            if name in ("execute", "executemany", "copy") and call.args:
                first = call.args[0]
                assert not isinstance(first, ast.JoinedStr | ast.BinOp), f"{path}:{call.lineno}"
                formatted = isinstance(first, ast.Call) and getattr(first.func, "attr", "") == "format"
                assert not formatted or "SQL(" in ast.unparse(first), f"{path}:{call.lineno}"


def test_no_shell_no_switched_off_certificates_and_no_chance_in_secrets() -> None:
    for path, tree in trees():
        for call, name in calls(tree):
            said = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
            assert said.get("shell") is not True, f"{path}:{call.lineno}"
            assert said.get("verify") is not False, f"{path}:{call.lineno}"
            assert ast.unparse(call.func) not in ("os.system", "os.popen"), f"{path}:{call.lineno}"
            assert name not in ("md5", "sha1"), f"{path}:{call.lineno}"


@pytest.mark.parametrize("word", ["user_id", "token", "embedding", "vector", "payload", "secret", "dsn", "redis_url"])
def test_no_log_line_has_a_field_for_what_must_not_be_told(word: str) -> None:
    for path, tree in trees():
        for call, name in calls(tree):
            logs = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "log"
            if logs and name in ("debug", "info", "warning", "error", "critical", "exception"):
                assert word not in {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}"


def test_every_route_but_health_proves_its_caller() -> None:
    import functions_framework  # noqa: F401  # so that the functions import as they are deployed

    from core.api import http
    from core.api.openapi import document

    open_to_all = {
        (path, method)
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
        if not operation.get("security", document().get("security"))
    }
    assert {path for path, _ in open_to_all} <= {"/health", "/openapi.json", "/docs"}
    assert http.Route(lambda call: {}).caller is http.authenticate
