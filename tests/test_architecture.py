"""The house keeps its shape: imports point one way, each kind of knowledge has one room, functions stay thin."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "core").rglob("*.py")) + sorted((ROOT / "functions").rglob("*.py"))

# A module may import from its own layer and from the ones before it.
LAYERS = [
    {"errors", "config", "telemetry", "exporting"},
    {"numeric", "interaction", "catalog", "search_client"},
    {"stores", "profile", "snapshot", "candidates", "ranking", "adaptation", "patterns", "attention", "routing"}
    | {"embedding", "experiments", "importers", "engine"},
    {"flows"},
    {"wiring", "evaluation"},
    {"api"},
    {"functions"},
    {"local", "cli"},
]
LAYER_OF = {name: depth for depth, names in enumerate(LAYERS) for name in names}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "functions" if parts[0] == "functions" else parts[1]


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_point_one_way(path: Path) -> None:
    if path.name == "__init__.py" and path.parent.name == "core":
        return
    own = LAYER_OF[module_of(path)]
    for name in imports_of(path):
        top = name.split(".")
        room = "functions" if top[0] == "functions" else top[1] if top[0] == "core" and len(top) > 1 else None
        if room is not None:
            assert LAYER_OF[room] <= own, f"{relative(path)} imports {name}"


def test_only_wiring_and_the_laptop_name_store_implementations() -> None:
    implementations = re.compile(r"core\.stores\.(postgres|valkey|pubsub|gcs)")
    for path in SOURCES:
        if module_of(path) in {"stores", "wiring", "local"}:
            continue
        for name in imports_of(path):
            assert not implementations.match(name), f"{relative(path)} imports {name}"


def test_only_config_reads_the_environment() -> None:
    for path in SOURCES:
        # The laptop edition sets the environment of the processes it starts; that is writing, not reading.
        if relative(path) != "core/config.py" and module_of(path) != "local":
            assert not re.search(r"\bos\.(environ|getenv)\b", path.read_text()), relative(path)


def test_only_the_api_knows_pydantic() -> None:
    for path in SOURCES:
        if module_of(path) != "api":
            assert not any(name.split(".")[0] == "pydantic" for name in imports_of(path)), relative(path)


def test_function_files_are_thin_and_hold_their_entry_point() -> None:
    for path in sorted((ROOT / "functions").glob("*.py")):
        if path.name == "__init__.py":
            continue
        source = path.read_text()
        assert len(source.splitlines()) < 40, relative(path)
        defined = {
            node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert path.stem in defined, f"{relative(path)} does not define {path.stem}"


def test_no_file_hides_what_it_is_or_leaves_work_undone() -> None:
    for path in SOURCES:
        assert not re.search(r"utils?|helpers?|common|manager", path.stem), relative(path)
        hidden = re.search(
            r"TODO|FIXME|NotImplementedError|except Exception|placeholder|in production(,| this| we)", path.read_text()
        )
        assert hidden is None, f"{relative(path)}: {hidden and hidden.group()}"


def test_the_top_level_is_what_was_agreed() -> None:
    agreed = {"pyproject.toml", "functions", "core", "infra", "tests", "cloudbuild.yaml", "README.md", "uv.lock"}
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "__"))}
    assert present - agreed - {"build", "dist", "sona.egg-info"} == set()
