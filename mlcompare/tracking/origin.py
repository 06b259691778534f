"""Where runs come from: store, author, machine and study, as tags that tell two stores of one name apart."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Mapping
from pathlib import Path

__all__ = ["FINGERPRINT", "origin_tags"]

FINGERPRINT = "study_fingerprint"


def origin_tags(store: Path, identities: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of every run that a store logs.

    Args:
        identities: see :func:`mlcompare.tracking.study_runs.run_identities`; that of ``""`` is the study's own.
    """
    author = _user()
    tags = {"store": str(store.resolve()), "machine": platform.node(), FINGERPRINT: identities.get("", "")}
    return {key: value for key, value in {**tags, "author": author, "mlflow.user": author}.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        return ""
