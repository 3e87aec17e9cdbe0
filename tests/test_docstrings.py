"""What may go without a docstring: an implementation, because the protocol or base class has said it once."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOREIGN = {"core/local/broker/service.py"}  # methods of google.pubsub.v1, which documents them
FIELDS = {"core/flows/decisions.py", "core/flows/impressions.py"}  # read-only fields that core.flows.recommend explains


def classes() -> list[tuple[str, ast.ClassDef]]:
    return [
        (str(path.relative_to(ROOT)), node)
        for path in sorted((ROOT / "core").rglob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]


def methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    yield from (part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"))


def is_abstract(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) in ("Protocol", "ABC") for base in node.bases)


def arguments(method: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in method.args.args]


def test_a_public_method_is_documented_where_it_is_or_in_the_protocol_that_it_implements() -> None:
    found = classes()
    told = [
        (method.name, arguments(method))
        for _, node in found
        if is_abstract(node)
        for method in methods(node)
        if ast.get_docstring(method)
    ]
    silent = [
        f"{path}: {node.name}.{method.name}"
        for path, node in found
        if not node.name.startswith("_") and path not in FOREIGN | FIELDS
        for method in methods(node)
        if not ast.get_docstring(method) and (is_abstract(node) or (method.name, arguments(method)) not in told)
    ]
    assert silent == []
