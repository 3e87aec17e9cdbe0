"""`sona train`: the models that come with the package, made anew."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from core.errors import NotFound
from core.local.terminal import AsJson, console, say

train_app = typer.Typer(no_args_is_help=True, help="Train the models that come with the package.")


@train_app.callback()
def train() -> None:
    """Train the models that come with the package."""


@train_app.command("router")
def router(
    out: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("core/routing/model"),
    kind: Annotated[str, typer.Option(help="How weights are stored: f32, f16 or int8.")] = "int8",
    encoder: Annotated[Path | None, typer.Option(help="Folder with the encoder; default: built anew.")] = None,
    weights: Annotated[str, typer.Option(help="Folder with the encoder's weights; default: installed ones.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train the query router on the project's sentences and calibrate it: some minutes on one core.

    Example: sona train router --out core/routing/model
    """
    from core.embedding.encoder import Encoder
    from core.embedding.weights import ensure_minilm
    from core.local.demo import demo_titles
    from core.routing.train import Recipe
    from core.routing.training import train_router, write

    recipe = Recipe()
    with TemporaryDirectory() as workplace:
        folder = ensure_minilm(encoder or Path(workplace) / "encoder", weights)
        if folder is None:
            raise NotFound("no encoder: install its weights or name their folder with --weights")
        trained = train_router(Encoder.open(folder), list(demo_titles()), recipe, say)
    facts = write(trained, out, kind, recipe)
    held = facts["held_back"]
    if as_json:
        print(json.dumps(facts))
    else:
        console.print(f"{out}: {held['accuracy']:.3f} right, calibration error {held['calibration_error']:.3f}")


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
    from core.embedding.encoder import Encoder
    from core.embedding.weights import ensure_minilm
    from core.routing.router import shipped_router

    recipe = HeadRecipe()
    with TemporaryDirectory() as workplace:
        folder = ensure_minilm(encoder or Path(workplace) / "encoder", weights)
        if folder is None:
            raise NotFound("no encoder: install its weights or name their folder with --weights")
        trained = train_head(shipped_router(), Encoder.open(folder), recipe, say)
    facts = trained.facts(recipe)
    save_head(out, trained.head, facts)
    held = facts["held_back"]
    if as_json:
        print(json.dumps(facts))
    else:
        console.print(f"{out}: {held['accuracy']:.3f} right, calibration error {held['calibration_error']:.3f}")
