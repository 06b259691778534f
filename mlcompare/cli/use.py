"""Commands that use a winner: export and embed."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from mlcompare.cli.app import app
from mlcompare.cli.options import PluginOption, StoreArgument, at_home

__all__ = ["embed", "export"]


@app.command()
def export(
    store: StoreArgument,
    loss: Annotated[str, typer.Argument(help="A loss of the study.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", callback=at_home)],
    far: Annotated[float, typer.Option(help="The false accept rate that the card's threshold keeps.")] = 1e-3,
    fold: Annotated[int, typer.Option(help="Whose encoder: each fold has one.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Where the study's data are now, if they have moved.", callback=at_home)
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train the setting once more, on all development classes.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write model.onnx too, for onnxruntime.")] = False,
    register: Annotated[
        str | None, typer.Option(help="Register the model under this name in MLflow, as another version.")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="The MLflow server to register it at (the store's own).")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Write the encoder of a loss's selected setting: weights, program and card."""
    from mlcompare.export import export_model
    from mlcompare.export.threshold import told_threshold
    from mlcompare.files import check_folder
    from mlcompare.study.tracked import stored_fingerprint, tracker_of
    from mlcompare.tracking import check_address
    from mlcompare.tracking.registered_model import check_model_name, register_model

    check_model_name(register)
    check_address(tracking_uri)
    if register is not None and tracking_uri is None and store.is_dir():
        cure = "register it at a server with --tracking-uri, or copy the store to where it can be written"
        check_folder(store, "models are registered in the store's database", cure=cure, place=store)
    exported = export_model(store, loss, out, far=far, fold=fold, data=data, refit=refit, onnx=onnx)
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {', '.join(exported.card['files'])} to {out}")
    for sentence in told_threshold(exported.card["threshold"]):
        print(sentence)
    if register is not None:
        tracker = tracker_of(store, stored_fingerprint(store), tracking_uri)
        version = register_model(tracker, out, exported.card, register)
        where = tracking_uri or f"mlcompare dashboard {quote(str(store))}"
        print(f"registered {register} version {version}: under Models in {where}")


@app.command()
def embed(
    model: Annotated[Path, typer.Argument(help="A folder that `export` made.", callback=at_home)],
    input: Annotated[Path, typer.Argument(help="A folder of images, or a table: .npz or .parquet.", callback=at_home)],
    out: Annotated[Path, typer.Option("--out", help="The embeddings: .npz or .parquet.", callback=at_home)],
    raw: Annotated[bool, typer.Option("--raw", help="Leave embeddings as the encoder makes them.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Turn a folder of images or a table of features into embeddings of length 1."""
    from mlcompare.export import embed_file

    count = embed_file(model, input, out, raw=raw, note=lambda sentence: print(f"note: {sentence}", file=sys.stderr))
    lengths = "as the encoder makes them (--raw)" if raw else "of length 1 (--raw leaves them as they are)"
    print(f"wrote {count} embeddings {lengths} to {out}")
