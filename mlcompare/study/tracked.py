"""What a store's runs are logged by: the experiment with its views, and the names and tags of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcompare.study.config import with_defaults
from mlcompare.study.logged_names import logged_names
from mlcompare.study.stored_study import STUDY
from mlcompare.tracking import Tracker, database_uri, local_uri
from mlcompare.tracking.dashboard import shared_views
from mlcompare.tracking.description import describe
from mlcompare.tracking.origin import FINGERPRINT, origin_tags
from mlcompare.tracking.study_runs import run_identities

__all__ = ["stored_fingerprint", "study_fingerprint", "tracker_of"]


def tracker_of(
    store: Path, fingerprint: Mapping[str, Any], uri: str | None = None, *, database: Path | None = None
) -> Tracker:
    """Return what logs a store's runs.

    Args:
        store: where the study is kept.
        fingerprint: its own, the study with every key that study files have.
        uri: a server; the store's own database by default.
        database: another file in the place of the store's own.
    """
    study, identities = fingerprint["study"], run_identities(fingerprint)
    origin = origin_tags(store, identities)
    objective, names = study["search"]["objective"], logged_names(study["losses"])
    views = shared_views(objective, fingerprint["spaces"], names)
    if uri:
        views |= shared_views(objective, fingerprint["spaces"], names, origin[FINGERPRINT])
    own = database_uri(database) if database else local_uri(store)
    return Tracker(
        uri or own, study["name"], description=describe(study),
        artifacts=None if uri else store / "artifacts" / "mlflow",
        dataset=(study["dataset"]["name"], fingerprint["dataset"]), views=views, identities=identities, origin=origin,
    )  # fmt: skip


def stored_fingerprint(store: Path) -> dict[str, Any]:
    """Return a store's fingerprint, its study with every key that study files have by now."""
    known = dict(json.loads((store / STUDY).read_text(encoding="utf-8")))
    return {**known, "study": with_defaults(known["study"])}


def study_fingerprint(fingerprint: Mapping[str, Any]) -> str:
    """Return what tells a study's runs from those of others of its name on a server: the tag of its runs."""
    return run_identities(fingerprint)[""]
