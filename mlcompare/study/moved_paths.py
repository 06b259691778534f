"""Paths of a study: how one is written is no part of what the study is, its content is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mlcompare.study.config import PATHS, StudyConfig, validated

__all__ = ["PLACES", "is_respelled", "places_of", "with_places"]

PLACES = "places"  # in study.json: where what the study names lay, from the root; no part of its identity
Change = tuple[tuple[str, ...], Any, Any]


def places_of(study: Mapping[str, Any]) -> dict[str, str]:
    """Return the whole paths of what a study names, by key such as ``dataset.path``.

    >>> places_of({"dataset": {"name": "image_folder", "path": "/photographs/../faces"}})
    {'dataset.path': '/faces'}
    """
    found = {f"{section}.{key}": (study.get(section) or {}).get(key) for section, key in PATHS}
    return {key: os.path.abspath(os.path.expanduser(path)) for key, path in found.items() if isinstance(path, str)}


def with_places(config: StudyConfig, places: Mapping[str, Any]) -> StudyConfig:
    """Return a study with the whole paths of what is still where it was, and other paths as they were written."""
    dump = config.model_dump()
    for section, key in PATHS:
        place = places.get(f"{section}.{key}")
        if isinstance(place, str) and os.path.exists(place):
            dump[section][key] = place
    return validated(dump, "study.json")


def is_respelled(change: Change, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a change between two fingerprints is one of words: another path, say, to the same content."""

    def same(*keys: str) -> bool:
        return all(old.get(key) is not None and old.get(key) == new.get(key) for key in keys)

    path, before, after = change
    if path[:1] == (PLACES,) or path == ("study", "training", "checkpoint_minutes"):  # it decides no number
        return True
    if path[:2] == ("study", "dataset"):  # the reader's options make the content, and the content is compared
        return len(path) > 2 and path[2] != "name" and same("dataset", "splits")
    both = isinstance(before, str) and isinstance(after, str)
    if path == ("study", "protocol", "pairs"):
        return both and same("dataset", "splits")
    if path == ("study", "encoder", "weights"):
        encoder = new["study"]["encoder"]
        return both and (same("dataset") if encoder.get("frozen") else same("weights"))
    return False
