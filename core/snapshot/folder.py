"""A snapshot folder under construction."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.snapshot.manifest import MANIFEST, Manifest, describe_files, to_bytes
from core.snapshot.snapshot import Neighbours


class Folder:
    """Files of a snapshot under construction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def array(self, name: str, values: NDArray[Any]) -> None:
        """As `<name>.npy`, C-contiguous, so that it can be memory-mapped."""
        np.save(self.path / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)

    def neighbours(self, name: str, lists: Neighbours) -> None:
        """As `<name>_index.npy` and `<name>_weight.npy`."""
        self.array(f"{name}_index", lists.index)
        self.array(f"{name}_weight", lists.weight)

    def pieces(self, name: str, pieces: Sequence[bytes], path: Path | None = None) -> None:
        """Joined bytes (into `path`, default an array) and where each piece starts."""
        self.array(f"{name}_start", np.fromiter(accumulate(map(len, pieces), initial=0), np.int64, len(pieces) + 1))
        if path:
            path.write_bytes(b"".join(pieces))
        else:
            self.array(name, np.frombuffer(b"".join(pieces), np.uint8))


def finish(folder: Folder, root: Path, now: float, manifest: dict[str, Any]) -> Path:
    """Write the manifest and give the folder its name: time of the build and hash of what it holds."""
    files = describe_files(folder.path)
    digest = hashlib.sha256("".join(entry.sha256 for entry in files.values()).encode()).hexdigest()
    version = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{digest[:8]}"
    data = to_bytes(Manifest(version=version, created_at=now, files=files, **manifest))
    (folder.path / MANIFEST).write_bytes(data)
    target = root / version
    if target.exists():  # the same input built again gives the same bytes
        shutil.rmtree(target)
    folder.path.chmod(0o755)  # mkdtemp's folders are private
    folder.path.rename(target)
    return target
