"""A study that runs in a second."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest

TINY = {
    "name": "tiny",
    "dataset": "digits",
    "protocol": {"test_classes": 0.4, "folds": 2},
    "encoder": {"name": "linear", "embedding_dim": 8},
    "training": {"steps": 4, "classes_per_batch": 3, "samples_per_class": 4},
    "search": {"trials": 3, "parallel": 2, "start": "published"},
    "final": {"seeds": 1},
    "baselines": ["raw_pixels"],  # those of images load libraries that take each process seconds
    "losses": {"contrastive": None, "cosface": {"scale": 16}},
}


@pytest.fixture
def tiny() -> dict:
    return copy.deepcopy(TINY)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of its own, mounted in memory: a function that (re)mounts it with the options given."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting needs a privilege that is not to be had here")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True)
