"""What an experiment's page says above its runs: the question, its answer, and where to look."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mlcompare.tracking.dashboard import TRAINING, page_address

__all__ = ["DIGEST_TAG", "describe", "digest", "filled"]

DIGEST_TAG = "mlcompare.description"  # of what we wrote last: a description that a person edited stays
EXPERIMENT, RUN = "\ue000", "\ue001"  # in the place of identifiers, known once MLflow has them: no text has these


def describe(study: Mapping[str, Any], answer: str | None = None) -> str:
    """Return the description of a study in Markdown; :func:`filled` puts the identifiers into its links.

    Args:
        study: as ``study.json`` keeps it.
        answer: the study's question, answered; without it the study is not finished.
    """
    dataset, encoder, search = study["dataset"], study["encoder"], study["search"]
    links = [
        f"[all trials]({page_address(EXPERIMENT, 'trials')})",
        f"[finals and baselines]({page_address(EXPERIMENT, 'finals')})",
        f"[charts by loss]({page_address(EXPERIMENT, 'charts', charts=True)})",
    ]
    if answer is not None:
        links.append(f"[report](#/experiments/{EXPERIMENT}/runs/{RUN}/artifacts/report.html?{TRAINING})")
    paragraphs = [
        f"**{study['question'] or study['name']}** {answer if answer is not None else 'Not finished yet.'}",
        " · ".join(links),
        f"Decision rule: {study['decision_rule']}" if study["decision_rule"] else "",
        f"Dataset `{dataset['name']}`, encoder `{encoder['name']}`, {search['trials']} trials for each of "
        f"{len(study['losses'])} losses, {study['protocol']['folds']} folds × {study['final']['seeds']} seeds at "
        f"the end, objective `{search['objective']}`. Parameters bear the field's symbols with their unit: `m_rad`, "
        "`m_cos` and `m_dist` are margins in radians, cosines and distances, `s` is the scale, `lambda` a weight.",
    ]
    return "\n\n".join(filter(None, paragraphs))


def filled(text: str, experiment_id: str, run_id: str = "") -> str:
    """Return a description whose links lead to an experiment and its comparison."""
    return text.replace(EXPERIMENT, experiment_id).replace(RUN, run_id)


def digest(text: str) -> str:
    """Return what a description is known by."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
