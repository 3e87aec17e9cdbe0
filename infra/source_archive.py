"""The archive that every function is built from, named after its content: `python infra/source_archive.py FOLDER`.

The same files give the same bytes, and so the same name: what did not change is not built again. Prints the path.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTENT = ("pyproject.toml", "README.md", "core", "functions")
LEFT_OUT = {"__pycache__"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip file can say
MODE = 0o100644 << 16  # a regular file that everybody may read


def files() -> list[Path]:
    """What belongs in the archive, relative to the root; in a git checkout only what git knows or would."""
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *CONTENT],
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode == 0 and tracked.stdout:
        found = [Path(line) for line in tracked.stdout.splitlines() if (ROOT / line).is_file()]
    else:
        paths = [path for name in CONTENT for path in [ROOT / name, *(ROOT / name).rglob("*")]]
        found = [path.relative_to(ROOT) for path in paths if path.is_file()]
    return sorted(path for path in found if not LEFT_OUT & set(path.parts))


def write(folder: Path) -> Path:
    """Write the archive into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    unnamed = folder / "source.zip"
    with zipfile.ZipFile(unnamed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files():
            entry = zipfile.ZipInfo(path.as_posix(), EPOCH)
            entry.external_attr, entry.compress_type = MODE, zipfile.ZIP_DEFLATED
            archive.writestr(entry, (ROOT / path).read_bytes())
    digest = hashlib.sha256(unnamed.read_bytes()).hexdigest()[:16]
    return unnamed.rename(folder / f"source-{digest}.zip")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1])))
