"""What every executor gives back for a bundle that could not be run."""

from __future__ import annotations

from mlcompare.training import TrainingJob, TrainingResult
from mlcompare.training.worker import Bundle

__all__ = ["ATTEMPTS", "Finished", "failed_bundle"]

ATTEMPTS = 3  # how often a bundle whose worker died is tried

Finished = tuple[TrainingJob, TrainingResult]


def failed_bundle(bundle: Bundle, reason: str, seconds: float = 0.0) -> list[Finished]:
    """Return every job of a bundle as failed for the same reason."""
    return [(job, TrainingResult(job.key, "failed", reason, seconds=seconds, device=job.device)) for job in bundle]
