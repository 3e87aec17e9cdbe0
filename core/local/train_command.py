"""`sona train`: the models that come with the package, made anew."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import NotFound
from core.local.terminal import AsJson, say, show

if TYPE_CHECKING:
    from core.embedding.encoder import Encoder

train_app = typer.Typer(no_args_is_help=True, help="Train the models that come with the package.")


class Kind(StrEnum):
    """How weights are stored."""

    F32 = "f32"
    F16 = "f16"
    INT8 = "int8"


@train_app.callback()
def train() -> None:
    """Train the models that come with the package."""


@train_app.command("router")
def router(
    out: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("core/routing/model"),
    kind: Annotated[Kind, typer.Option(help="How weights are stored.")] = Kind.INT8,
    encoder: Annotated[Path | None, typer.Option(help="Folder with the encoder; default: built anew.")] = None,
    weights: Annotated[str, typer.Option(help="Folder with the encoder's weights; default: installed ones.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train the query router on the project's sentences and calibrate it: some minutes on one core.

    Example: sona train router --out core/routing/model
    """
    from core.local.demo import demo_titles
    from core.routing.train import Recipe
    from core.routing.training import train_router, write

    recipe = Recipe()
    trained = train_router(_open_encoder(encoder, weights), list(demo_titles()), recipe, say)
    _tell(out, write(trained, out, kind, recipe), as_json)


@train_app.command("attention")
def attention(
    out: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("core/attention/model"),
    encoder: Annotated[Path | None, typer.Option(help="Folder with the encoder; default: built anew.")] = None,
    weights: Annotated[str, typer.Option(help="Folder with the encoder's weights; default: installed ones.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train the head that reads the type of a query off the router's state, for the choice of attention mechanisms.

    Example: sona train attention --out core/attention/model
    """
    from core.attention.type_head import save_head
    from core.attention.type_training import HeadRecipe, train_head
    from core.routing.router import shipped_router

    recipe = HeadRecipe()
    trained = train_head(shipped_router(), _open_encoder(encoder, weights), recipe, say)
    facts = trained.facts(recipe)
    save_head(out, trained.head, facts)
    _tell(out, facts, as_json)


def _open_encoder(folder: Path | None, weights: str) -> Encoder:
    """The encoder in a folder, or one built from its weights. Raises NotFound when there are none."""
    from core.embedding.encoder import Encoder
    from core.embedding.model_folder import MANIFEST
    from core.embedding.weights import ensure_minilm

    if folder is not None and not (folder / MANIFEST).exists():
        raise NotFound(f"{folder} holds no encoder")
    with TemporaryDirectory() as workplace:
        found = ensure_minilm(folder or Path(workplace) / "encoder", weights)
        if found is None:
            raise NotFound("no encoder: install its weights or name their folder with --weights")
        return Encoder.open(found)


def _tell(out: Path, facts: dict[str, Any], as_json: bool) -> None:
    held = facts["held_back"]
    text = f"{out}: {held['accuracy']:.3f} right, calibration error {held['calibration_error']:.3f}"
    show(facts, as_json, text)
