"""What is logged: a study's experiment, and its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ENDED", "IDENTITY_TAG", "KEY_TAG", "PARAMETER_LIMIT", "Experiment", "Run", "dataset_fields"]

KEY_TAG = "trial_key"
IDENTITY_TAG = "study_identity"
PARAMETER_LIMIT = 6000  # characters, MLflow's own
ENDED = ("FINISHED", "FAILED", "KILLED")
CONTEXT = ("mlflow.data.context", "study")


@dataclass(frozen=True)
class Run:
    """One flat MLflow run: ``metrics`` are ``(name, value, step)``; ``artifacts`` are ``(file, folder)``.

    ``page`` is what the experiment's page says once the run is there; see :mod:`mlcompare.tracking.description`.
    ``model`` is a name that its artifacts are registered under, as another version.
    """

    key: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: tuple[tuple[str, float, int], ...]
    status: str = "FINISHED"
    seconds: float = 0.0
    artifacts: tuple[tuple[str, str], ...] = field(default=())
    page: str = ""
    model: str = ""

    def all_tags(self) -> dict[str, str]:
        """Return the tags, and the key that the run is found by."""
        return {KEY_TAG: self.key, **self.tags}

    def texts(self) -> dict[str, str]:
        """Return the parameters as MLflow keeps them."""
        return {name: str(value)[:PARAMETER_LIMIT] for name, value in self.params.items()}


@dataclass(frozen=True)
class Experiment:
    """Where runs go: see :class:`mlcompare.tracking.Tracker` for the fields."""

    name: str
    description: str = ""
    artifacts: Path | None = None
    dataset: tuple[str, str] | None = None
    views: Mapping[str, str] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    def identity(self, run: Run) -> str | None:
        """Return what tells this run from another study's of the same name and key; ``None`` where nothing is told."""
        return self.identities.get(run.tags.get("loss", ""), self.identities.get(""))

    def tags(self) -> dict[str, str]:
        """Return the tags of a new experiment."""
        return {"mlflow.experimentKind": "custom_model_development", **self.views}

    def location(self) -> str | None:
        """Return the address of the runs' artifacts."""
        return self.artifacts.resolve().as_uri() if self.artifacts else None


def dataset_fields(name: str, fingerprint: str) -> dict[str, str]:
    """Return a dataset as MLflow notes it on a run."""
    content = json.dumps({"fingerprint": fingerprint})
    return {"name": name, "digest": fingerprint[:16], "source_type": "mlcompare", "source": content}
