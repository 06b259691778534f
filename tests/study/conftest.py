"""A study that runs in a second."""

from __future__ import annotations

import copy

import pytest

TINY = {
    "name": "tiny",
    "dataset": "digits",
    "protocol": {"test_classes": 0.4, "folds": 2},
    "encoder": {"name": "linear", "embedding_dim": 8},
    "training": {"steps": 4, "classes_per_batch": 3, "samples_per_class": 4},
    "search": {"trials": 3, "parallel": 2, "start": "published"},
    "final": {"seeds": 1},
    "losses": {"contrastive": None, "cosface": {"scale": 16}},
}


@pytest.fixture
def tiny() -> dict:
    return copy.deepcopy(TINY)
