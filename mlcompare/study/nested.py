"""Nested studies: the classes in parts, each sealed once with a search of its own, and their tables as one.

Each part is a study like any other, in ``<store>/outer/<number>``: its journal, MLflow runs and artifacts are there.
The store itself holds the tables of all parts together: folds and trials are numbered on from part to part.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from mlcompare.errors import StoreError
from mlcompare.files import make_folder, write_atomically
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.results_table import write_parquet
from mlcompare.study.stored_study import OUTER, STUDY, in_parts
from mlcompare.study.symbols import keep_symbols

__all__ = ["OUTER", "is_nested", "join_parts", "part_of", "part_stores", "refuse_nested", "store_of_runs", "whole_of"]


def is_nested(config: StudyConfig) -> bool:
    """Whether each part of the classes is to be sealed once."""
    return in_parts(config.protocol.model_dump())


def part_of(config: StudyConfig, number: int) -> StudyConfig:
    """Return the study in which part ``number`` is sealed."""
    dump = config.model_dump()
    dump["name"] = f"{config.name[:90]}-outer{number}"
    dump["protocol"]["outer_fold"] = number
    return validated(dump, f"outer fold {number}")


def whole_of(part: Path) -> StudyConfig:
    """Return the nested study that the store of its first part belongs to."""
    known = json.loads((part / STUDY).read_text(encoding="utf-8"))["study"]
    protocol = {**known["protocol"], "outer_fold": None}
    return validated({**known, "name": known["name"].removesuffix("-outer0"), "protocol": protocol}, str(part / STUDY))


def part_stores(store: Path, config: StudyConfig) -> list[Path]:
    """Return where the parts of a nested study are stored."""
    return [store / OUTER / str(number) for number in range(config.protocol.outer_folds or 0)]


def store_of_runs(store: Path) -> Path:
    """Return the store that a dashboard shows the runs of: in a nested study those are its parts' own."""
    first = store / OUTER / "0"
    return first if first.is_dir() else store


def refuse_nested(store: Path, config: StudyConfig, what: str) -> None:
    """Refuse what is done with one part's encoders and journal.

    Raises:
        StoreError: the store is a nested study's; the cure names its first part.
    """
    if is_nested(config):
        cure = f"{what} a part of it, such as {part_stores(store, config)[0]}"
        raise StoreError("each part of a nested study is a store of its own", value=str(store), cure=cure)


def join_parts(store: Path, config: StudyConfig) -> None:
    """Write the tables of all parts that have some as those of the store. Each part refuses another study itself."""
    parts = [part for part in part_stores(store, config) if (part / "results.parquet").is_file()]
    if not parts and (store / STUDY).is_file():
        return  # a copy of the joined tables alone: there is nothing to make them anew from
    known = [json.loads((part / STUDY).read_text(encoding="utf-8")) for part in parts]
    study = config.model_dump(mode="json")
    make_folder(store)
    joined = {**(known[0] if known else {}), "study": study, "splits": [each["splits"] for each in known]}
    write_atomically(store / STUDY, json.dumps(joined, indent=1, ensure_ascii=False).encode())
    folds, trials = config.protocol.folds, config.search.trials
    keep_symbols(store, config.losses)
    for name in ("results.parquet", "per_class.parquet"):
        frames = []
        for part in parts:
            number, frame = int(part.name), _on_every_fold(pd.read_parquet(part / name), folds)
            frame["study"], frame["fold"] = config.name, frame["fold"] + number * folds
            if "trial" in frame:
                frame["trial"] += number * trials
            frames.append(frame)
        if frames:
            write_parquet(store / name, pd.concat(frames, ignore_index=True))


def _on_every_fold(frame: pd.DataFrame, folds: int) -> pd.DataFrame:
    """Give what was scored once for all folds of a part (raw pixels, say) to each of them: other parts have others."""
    once = frame["fold"].isna()
    if not once.any():
        return frame
    shared = frame[once]
    if "seconds" in shared:
        shared = shared.assign(seconds=shared["seconds"] / folds)
    copies = [shared.assign(fold=pd.array([fold] * len(shared), dtype="Int64")) for fold in range(folds)]
    return pd.concat([*copies, frame[~once]], ignore_index=True)
