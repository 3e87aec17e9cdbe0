"""Enough of HCL to compare infra/ with the code: maps of literals in `locals`, variable blocks, names that are set."""

from __future__ import annotations

import re
from pathlib import Path

INFRA = Path(__file__).parents[2] / "infra"


def read(name: str) -> str:
    return (INFRA / name).read_text()


def every_file() -> str:
    """All of the configuration, modules included, without comments."""
    text = "\n".join(path.read_text() for path in sorted(INFRA.rglob("*.tf")))
    return re.sub(r"(?m)(^|\s)#.*$", "", text)


def braces(text: str, opening: int) -> str:
    """What stands between the brace at `opening` and its partner."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[opening + 1 : position]
    raise ValueError("a brace is not closed")


def entries(file: str, name: str) -> dict[str, str]:
    """The entries `key = { ... }` of the map `name = { ... }` in a file, each as the text of its body."""
    text = read(file)
    start = re.search(rf"(?m)^ +{name} += \{{", text)
    if start is None:
        raise ValueError(f"{file} has no map {name}")
    body = braces(text, start.end() - 1)
    found: dict[str, str] = {}
    position = 0
    while entry := re.compile(r"(?m)^ +([\w-]+) += \{").search(body, position):
        found[entry.group(1)] = braces(body, entry.end() - 1)
        position = entry.end() + len(found[entry.group(1)])
    return found


def number(body: str, field: str) -> int:
    found = re.search(rf"(?m)^ +{field} += (\d+)", body)
    if found is None:
        raise ValueError(f"no {field} in {body}")
    return int(found.group(1))


def strings(body: str, field: str) -> list[str]:
    """The list of strings `field = [...]`."""
    found = re.search(rf"(?m)^ +{field} += \[([^]]*)\]", body)
    return re.findall(r'"([^"]+)"', found.group(1)) if found else []


def variables() -> dict[str, tuple[str, str | None]]:
    """Every variable of the root module: description, and default as written (None: it must be given)."""
    found: dict[str, tuple[str, str | None]] = {}
    text = read("variables.tf")
    for block in re.finditer(r'(?m)^variable "(\w+)" \{', text):
        body = braces(text, block.end() - 1)
        description = re.search(r'(?m)^  description += "(.*)"$', body)
        default = re.search(r"(?m)^  default += (.*)$", body)
        found[block.group(1)] = (description.group(1) if description else "", default.group(1) if default else None)
    return found
