"""Every benchmark of SONA with one command: tables for people, one JSON file for machines.

    python -m tests.benchmarks [NAME ...] [--quick] [--seconds N] [--json FOLDER] [--home FOLDER]

NAME is any of engine, attention, embeddings, router, patterns, requests, states, freshness, cold-start, snapshot, load;
without names all run, `load` for 20 seconds. Those that need servers share a world of 10 000 titles and 5 000 users,
which the first run prepares and later runs reuse. On a busy machine all times are too high: look at the medians, the
ratios and the CPU times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tests.benchmarks import (
    bench_attention,
    bench_cold_start,
    bench_embeddings,
    bench_engine,
    bench_freshness,
    bench_load,
    bench_patterns,
    bench_requests,
    bench_router,
    bench_snapshot,
    bench_states,
)
from tests.benchmarks.measure import machine, show
from tests.benchmarks.specification import as_json, show_specification
from tests.benchmarks.world import opened

ALONE = {
    "engine": bench_engine.run,
    "attention": bench_attention.run,
    "embeddings": bench_embeddings.run,
    "router": bench_router.run,
    "patterns": bench_patterns.run,
}
WITH_WORLD = {
    "requests": bench_requests.run,
    "states": bench_states.run,
    "freshness": bench_freshness.run,
    "cold-start": bench_cold_start.run,
    "snapshot": bench_snapshot.run,
}
LOAD = "load"  # the one that takes as long as it is told


def progress(stage: str) -> None:
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K... {stage}", end="", file=sys.stderr, flush=True)


def done(name: str, rows: list[dict[str, Any]], began: float) -> None:
    progress("")
    print(f"\n{name} ({time.monotonic() - began:.0f} s)")
    (bench_attention.show if name == "attention" else show)(rows)


def measure(
    names: list[str], quick: bool, home: Path, load_s: float = bench_load.SHORT_S
) -> dict[str, list[dict[str, Any]]]:
    """Rows by benchmark; the tables are printed as they come."""
    found: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as servers:
        servers.enter_context(threadpool_limits(limits=1))  # as in the functions
        world = servers.enter_context(opened(home, progress)) if set(names) & {*WITH_WORLD, LOAD} else None
        for name in names:
            began = time.monotonic()
            if world and name == LOAD:
                found[name] = bench_load.run(world, load_s, progress)
            elif world and name in WITH_WORLD:
                found[name] = WITH_WORLD[name](world, quick, progress)
            else:
                found[name] = ALONE[name](quick)
            done(name, found[name], began)
    return found


def default_home() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("sona") / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*ALONE, *WITH_WORLD, LOAD]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(every))
    parser.add_argument("--quick", action="store_true", help="fewer samples and forms: less than two minutes")
    parser.add_argument("--seconds", type=float, default=bench_load.SHORT_S, help="of load; the soak test has 600")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write what was measured into a new file there")
    parser.add_argument("--home", type=Path, default=default_home(), help="where the stores and their data live")
    options = parser.parse_args()
    if unknown := set(options.names) - set(every):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    began = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "quick": options.quick}
    found = measure(options.names or every, options.quick, options.home.absolute(), options.seconds)
    show_specification(found)
    if options.json:
        options.json.mkdir(parents=True, exist_ok=True)
        file = options.json / f"{began['when'].replace(':', '')}.json"
        file.write_text(json.dumps({**began, "rows": found, "specification": as_json(found)}, indent=1) + "\n")
        print(f"\nwritten to {file}")


if __name__ == "__main__":
    main()
