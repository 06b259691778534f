"""The full protocol: data and splits, what was searched and trained, on which device, with which versions."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from mlcompare.report.formats import seconds, setting
from mlcompare.report.page import Part, render
from mlcompare.report.study import Study, TestSamples

__all__ = ["protocol_part"]


def protocol_part(study: Study, samples: TestSamples | None, prefix: str, level: int) -> Part:
    """Return the section: dataset, splits, seeds, budget, versions, device, and the spaces that were searched."""
    facts = _facts(study, samples) if study.known else {}
    study_file = json.dumps(study.config, indent=1, ensure_ascii=False)
    body = render("protocol", facts=facts, spaces=_spaces(study), study_file=study_file)
    return Part(f"{prefix}-protocol", "Protocol", body, level=level)


def _facts(study: Study, samples: TestSamples | None) -> dict[str, str | None]:
    """Return terms and what they are; what isn't known is None or empty."""
    config, known = study.config, study.known
    search, final, training = (config.get(key, {}) for key in ("search", "final", "training"))
    versions = ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items())
    devices = ", ".join(sorted(study.results["device"].dropna().unique()))
    one_each = study.trainings()
    sealed = study.per_class["class"].nunique() if study.per_class is not None else None
    return {
        "dataset": _mapping(config.get("dataset", {})),
        "dataset fingerprint": known.get("dataset"),
        "protocol": _mapping(config.get("protocol", {})),
        "split hash": known.get("splits"),
        "notes on the data": "; ".join(study.data_notes()) or None,
        "sealed": _sealed(sealed, samples),
        "corruption": _corruption(config.get("corruption", {})),
        "encoder": _mapping(config.get("encoder", {})),
        "training": _mapping({k: v for k, v in training.items() if v not in (None, {})}),
        "search": (
            f"{search.get('trials')} trials for each loss, {search.get('parallel')} asked at a time, objective "
            f"{search.get('objective')} on validation; trial 0 is the published default"
        ),
        "dimensions searched": _dimensions(known.get("spaces", {})),
        "final": (
            f"default and selected setting retrained on {config.get('protocol', {}).get('folds')} folds × "
            f"{final.get('seeds')} seeds, scored once on the sealed samples"
        ),
        "seeds": (
            f"splits {config.get('protocol', {}).get('seed')}, search {search.get('seed')}, "
            f"final 0 to {(final.get('seeds') or 1) - 1}"
        ),
        "statistics": (
            "test classes × folds as crossed random effects, seeds averaged within folds; "
            f"{100 * study.comparison.confidence:g} % intervals, Holm's correction"
        ),
        "device": f"{devices or known.get('device')}, {known.get('threads')} thread(s) for each training",
        "versions": versions,
        "trainings": f"{len(one_each)}, {seconds(float(one_each['seconds'].sum()))} in all",
        "dates (UTC)": _dates(study),
    }


def _mapping(values: Mapping[str, Any]) -> str:
    name = values.get("name")
    rest = ", ".join(f"{k} {_plain(v)}" for k, v in values.items() if k != "name" and v is not None)
    return ": ".join(part for part in (name, rest) if part)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) + ")"
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, list) else setting(value)


def _corruption(section: Mapping[str, Any]) -> str | None:
    """Describe wrong labels and the long tail given to the training samples; None without either."""
    noise, imbalance = section.get("label_noise", 0), section.get("imbalance", 1)
    parts = [f"{noise:.0%} of the training labels are wrong"] if noise else []
    parts += [f"a long tail: the largest training class is {imbalance:g} times the smallest"] if imbalance > 1 else []
    return f"{'; '.join(parts)}; the same for every loss; validation and sealed samples untouched" if parts else None


def _sealed(classes: int | None, samples: TestSamples | None) -> str | None:
    parts = [f"{len(samples.rows)} samples"] if samples else []
    parts += [f"{classes} classes"] if classes else []
    return ", ".join(parts) or None


def _dates(study: Study) -> str | None:
    first, last = study.progress.first, study.progress.last
    if first is None or last is None:
        return None
    moments = (first, last)
    return " to ".join(datetime.datetime.fromtimestamp(t, datetime.UTC).strftime("%Y-%m-%d %H:%M") for t in moments)


def _spaces(study: Study) -> list[tuple[str, ...]]:
    spaces = study.known.get("spaces", {})
    return [(loss, name, *_dimension(value)) for loss, space in spaces.items() for name, value in space.items()]


def _dimensions(spaces: Mapping[str, Mapping[str, Any]]) -> str | None:
    """How many dimensions each loss had to search with the same budget."""
    counts = {loss: sum(isinstance(value, dict) for value in space.values()) for loss, space in spaces.items()}
    return ", ".join(f"{loss} {count}" for loss, count in counts.items()) or None


def _dimension(value: Any) -> tuple[str, str]:
    if isinstance(value, dict) and "low" in value:
        kind = f"{value['low']:g} to {value['high']:g}"
        kind += ", logarithmic" if value.get("log") else ""
        kind += ", whole numbers" if value.get("integer") else ""
        return kind, setting(value.get("default"))
    if isinstance(value, dict) and "values" in value:
        return f"one of {', '.join(map(str, value['values']))}", setting(value.get("default"))
    return "fixed", setting(value)
