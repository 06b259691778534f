"""For those who were not there: what was compared, on what, by which measure, and what it can't say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlcompare.comparison.search_luck import luck_margin
from mlcompare.comparison.sentences import listed
from mlcompare.errors import MLCompareError
from mlcompare.metrics import METRICS, parse_metric
from mlcompare.report.formats import number
from mlcompare.report.study import Study

__all__ = ["about"]

FAMILIES = {"metric": "which compare samples with samples", "margin": "which classify with class weights"}
PROTOCOLS = {
    "class_disjoint": "classes that no training and no search saw",
    "closed_set": "classes that were trained on, by new samples of theirs",
    "verification_pairs": "people that no training and no search saw, by listed pairs of theirs",
}


def about(study: Study) -> dict[str, str]:
    """Return a few terms and a sentence each; nothing for a table that came without a study."""
    if not study.config:
        return {}
    return {
        "compared": _compared(study),
        "on": " ".join(_data(study)),
        "by": _measure(study),
        "can't say": " ".join(_limits(study)),
    }


def _compared(study: Study) -> str:
    rows = [row for row in study.comparison.records() if row["mean"] is not None]
    names = {kind: [row["loss"] for row in rows if row["family"] == kind] for kind in (*FAMILIES, "baseline")}
    parts = [
        f"{len(names[kind])} {kind} loss{'es' * (len(names[kind]) > 1)} ({listed(names[kind])}), {told}"
        for kind, told in FAMILIES.items() if names[kind]
    ]  # fmt: skip
    trials = study.config.get("search", {}).get("trials")
    tuned = f"; each by the best of {trials} settings on validation samples" if trials else ""
    beside = f"; beside {listed(names['baseline'])}, which no loss trained" if names["baseline"] else ""
    return f"{', and '.join(parts)}{tuned}{beside}." if parts else "No loss has a score yet."


def _data(study: Study) -> Iterator[str]:
    config = study.config
    protocol, training, encoder = (config.get(name, {}) for name in ("protocol", "training", "encoder"))
    classes = study.per_class["class"].nunique() if study.per_class is not None else 0
    sealed = PROTOCOLS.get(protocol.get("kind", ""), "sealed classes")
    count = f"{classes} " if classes else ""
    yield f"{config.get('dataset', {}).get('name')}, tested on {count}{sealed};"
    batch = f"{training.get('classes_per_batch')} classes × {training.get('samples_per_class')} samples"
    frozen = "frozen " if encoder.get("frozen") else ""
    yield f"the {frozen}encoder {encoder.get('name')}, {training.get('steps')} steps of {batch};"
    yield f"{study.comparison.table['runs'].max()} final trainings of each loss."


def _measure(study: Study) -> str:
    try:
        spec = METRICS[parse_metric(study.metric).stem]
    except MLCompareError:  # a plug-in's, which isn't loaded here
        return f"{study.metric}."
    better = "higher" if spec.higher_is_better else "lower"
    return f"{study.metric}: {spec.summary.rstrip('.')}; {better} is better."


def _limits(study: Study) -> Iterator[str]:
    rows = [row for row in study.comparison.records() if row["family"] != "baseline"]
    widths = [
        (row["difference_high"] - row["difference_low"]) / 2 for row in rows if row["difference_high"] is not None
    ]
    if widths:
        yield f"Differences to the best loss are known to about ±{number(float(np.median(widths)))}."
    trials, nested = study.config.get("search", {}).get("trials"), study.config.get("protocol", {}).get("outer_folds")
    if trials and trials > 1 and not nested:
        luck = [row["search_luck"] for row in rows if row["search_luck"] is not None]
        margin = luck_margin(float(np.median(luck)), 0.0, study.comparison.confidence) if luck else None
        far = f", and a loss may end about ±{number(margin)} from here" if margin else ""
        yield f"Intervals are of the settings that one search of {trials} trials found: another finds others{far}."
    steps = study.config.get("training", {}).get("steps")
    yield f"How other data, other encoders or more than {steps} steps would rank them was not tried"
    yield "(but see the challenges below)." if study.challenges() else "(mlcompare challenge tries some)."
