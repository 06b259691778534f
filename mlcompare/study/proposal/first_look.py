"""The parts of a first study that the data alone decide, before anything is timed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlcompare.data import Splits, bound_validation, draw_splits
from mlcompare.data.survey import Survey
from mlcompare.registry import FIRST_COMPARISON
from mlcompare.study.config import validated
from mlcompare.study.plan import StudyPlan, make_plan
from mlcompare.study.proposal.protocol import Chosen, choose_protocol
from mlcompare.study.proposal.samples import batch_of, encoders_for, stand_in
from mlcompare.study.sections import SearchConfig

__all__ = ["outlined", "unmeasured_plan", "with_encoder"]

SMALLEST_SHIFTED = 20  # pixels a side from which on pictures are shifted


def outlined(found: Survey, path: str) -> tuple[dict[str, Any], Splits, Chosen]:
    """Return a study without encoder and budget, its splits, and its protocol with the reasons.

    Raises:
        DataError: no study can be made of the data.
    """
    protocol = choose_protocol(found)
    options = dict(protocol.section)
    drawn = draw_splits(found.labels, official=found.split, names=found.class_names, **options)
    splits = bound_validation(drawn, found.labels, most=SearchConfig().validation_samples, seed=0)
    places, samples = batch_of(splits, found.labels)
    closed = options["kind"] == "closed_set"
    study = {
        "name": _name(found), "question": _question(closed), "decision_rule": _rule(closed),
        "dataset": {"name": found.reader, "path": path, **found.options}, "protocol": options, "encoder": {},
        "training": {"classes_per_batch": places, "samples_per_class": samples},
        "search": {"objective": "accuracy" if closed else "map_at_r"}, "final": {}, "losses": {},
    }  # fmt: skip
    return study, splits, protocol


def unmeasured_plan(found: Survey) -> StudyPlan:
    """Return the plan of a study with the fastest encoder and the usual budget; no image is read, nothing is timed.

    Raises:
        DataError: no study can be made of the data.
    """
    place = str(found.path)
    study, _, _ = outlined(found, place)
    shape, encoder = encoders_for(found)[0]
    study = with_encoder(found, study, shape, encoder) | {"losses": dict.fromkeys(FIRST_COMPARISON)}
    return make_plan(validated(study, place), place=place, dataset=stand_in(found, shape))


def with_encoder(
    found: Survey, study: dict[str, Any], shape: tuple[int, ...], encoder: dict[str, Any]
) -> dict[str, Any]:
    """Return the study with an encoder, and what the pictures have to be for it."""
    dataset, training = dict(study["dataset"]), dict(study["training"])
    if found.images is not None:
        place = list(dataset.items())
        dataset = dict([*place[:2], ("size", list(shape[1:])), ("channels", shape[0]), *place[2:]])
    if len(shape) == 3 and min(shape[1:]) >= SMALLEST_SHIFTED:
        training["augment"] = {"shift": 2}
    return {**study, "dataset": dataset, "encoder": encoder, "training": training}


def _name(found: Survey) -> str:
    """Return the data's name as a study may be called."""
    path = Path(found.path).resolve()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name if path.is_dir() else path.stem).lstrip("._-")
    return plain[:100] or "my-study"


def _question(closed: bool) -> str:
    if closed:
        return "Which loss classifies new samples of these classes best?"
    return "Which loss retrieves best among classes never seen in training?"


def _rule(closed: bool) -> str:
    metric = "accuracy" if closed else "MAP@R"
    return f"The 95 % interval of the paired {metric} difference between the best of each family excludes zero."
