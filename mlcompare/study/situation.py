"""What kind of problem a study is: the numbers by which one situation resembles another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcompare.study.plan import StudyPlan
from mlcompare.study.spaces import trained_labels

__all__ = ["Situation", "situation_of"]


@dataclass(frozen=True)
class Situation:
    """Counts of what is trained on, in the fold with the fewest classes.

    ``encoder`` is the one that learns: the head, on a frozen one. ``imbalance`` is the size of the largest class over
    that of the smallest; ``batch`` counts samples; ``images`` tells images from vectors, ``frozen`` whether only a head
    is trained on features of a fixed encoder.
    """

    dataset: str
    encoder: str
    classes: int
    samples_per_class: float
    imbalance: float
    embedding_dim: int
    batch: int
    steps: int
    images: bool
    frozen: bool


def situation_of(plan: StudyPlan) -> Situation:
    """Return a plan's situation."""
    labels = min(trained_labels(plan.data.dataset, plan.data.splits), key=lambda targets: int(targets.max()))
    sizes, training = np.bincount(labels), plan.config.training
    return Situation(
        dataset=plan.config.dataset.name,
        encoder=plan.encoder.name,
        classes=len(sizes),
        samples_per_class=float(np.median(sizes)),
        imbalance=float(sizes.max() / sizes.min()),
        embedding_dim=plan.config.encoder.embedding_dim,
        batch=training.classes_per_batch * training.samples_per_class,
        steps=training.steps,
        images=plan.data.dataset.is_images,
        frozen=plan.config.encoder.frozen,
    )
