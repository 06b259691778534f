"""Simulated results tables whose truth is known."""

import json

import numpy as np
import pandas as pd

from mlcompare.comparison import means

LOSSES = {"triplet": "metric", "contrastive": "metric", "cosface": "margin", "arcface": "margin"}


def crossed(rng, classes=20, runs=8, mean=0.0, of_class=0.05, of_run=0.0, rest=0.03):
    """Scores ``(C, R)`` of a crossed two-way layout."""
    return (mean + of_class * rng.normal(size=(classes, 1)) + of_run * rng.normal(size=(1, runs))
            + rest * rng.normal(size=(classes, runs)))  # fmt: skip


def nested(rng, repetitions, classes, folds, seeds, *, run, fold_share, of_class=0.05, of_cell=0.03, rest=0.06,
           skewed=False):  # fmt: skip
    """Scores ``(repetitions, C, F S)`` of mean 0: classes × folds crossed, seeds nested in folds, and the runs' folds.

    Args:
        run: standard deviation of a run as a whole; ``fold_share`` of its variance is the fold's, the rest the seed's.
        of_cell: of a class in a fold; ``rest``: of a class in a run.
        skewed: draw classes from an exponential distribution (skewness 2).
    """
    normal = rng.standard_normal
    of_classes = (
        rng.standard_exponential((repetitions, classes, 1, 1)) - 1 if skewed else normal((repetitions, classes, 1, 1))
    )
    scores = of_class * of_classes + of_cell * normal((repetitions, classes, folds, 1))
    scores = scores + run * np.sqrt(fold_share) * normal((repetitions, 1, folds, 1))
    scores = scores + run * np.sqrt(1 - fold_share) * normal((repetitions, 1, folds, seeds))
    scores = scores + rest * normal((repetitions, classes, folds, seeds))
    return scores.reshape(repetitions, classes, folds * seeds), np.repeat(np.arange(folds), seeds)


def nested_study(rng, repetitions, classes, parts, folds, seeds, *, search=0.0, **layout):
    """As :func:`nested`, with the classes in ``parts``, each sealed once: ``(repetitions, C, B F S)``, NaN elsewhere.

    ``search`` is the standard deviation of what is common to a part: its search found a setting of its own.
    """
    runs = folds * seeds
    scores = np.full((repetitions, classes, parts * runs), np.nan)
    for part, mine in enumerate(np.array_split(np.arange(classes), parts)):
        own, _ = nested(rng, repetitions, len(mine), folds, seeds, **layout)
        common = search * rng.standard_normal((repetitions, 1, 1))
        scores[:, mine[:, None], np.arange(part * runs, (part + 1) * runs)] = own + common
    return scores, np.repeat(np.arange(parts * folds), seeds)


def calibration(rng, repetitions, *design, **layout):
    """How often 95 % intervals cover the true mean, and how often the test at 5 % rejects it."""
    scores, folds = nested(rng, repetitions, *design, **layout)
    found = means(list(scores), folds)
    low, high = found.intervals(0.95)
    return float(((low <= 0) & (high >= 0)).mean()), float((found.p_values() <= 0.05).mean())


def study(seed=0, means=None, classes=20, folds=4, seeds=2, trials=6, families=LOSSES, noise=0.02, gain=0.05):
    """Results and per-class scores of a study: tuned losses of the given means, their defaults ``gain`` below."""
    rng = np.random.default_rng(seed)
    means = means or dict(zip(families, (0.60, 0.58, 0.70, 0.71)))
    difficulty = 0.1 * rng.normal(size=(classes, 1))
    rows, by_class = [], []
    for loss, family in families.items():
        own = 0.01 * rng.normal(size=(classes, 1))
        for trial in range(trials):
            setting = {"margin": round(0.5 * rng.random(), 4), "scale": float(np.exp(rng.uniform(1.4, 4.8)))}
            value = means[loss] - 0.3 * (setting["margin"] - 0.3) ** 2 + 0.002 * rng.normal()
            source = "default" if trial == 0 else "sampled"
            for fold in range(folds):
                rows.append(row(loss, family, "trial", source, trial, fold, 0, "validation", value, setting))
        for source, shift in (("selected", 0.0), ("default", -gain)):
            scores = means[loss] + shift + difficulty + own + noise * rng.normal(size=(classes, folds * seeds))
            for run in range(folds * seeds):
                fold, s = run // seeds, run % seeds
                setting = {"margin": 0.499, "scale": 16.0}
                rows.append(row(loss, family, "final", source, None, fold, s, "test", scores[:, run].mean(), setting))
                by_class += [(*head(loss, family, "final", source), fold, s, c, "map_at_r", scores[c, run])
                             for c in range(classes)]  # fmt: skip
    scores = 0.3 + difficulty[:, 0]
    rows.append(row("pixels", "baseline", "baseline", None, None, None, None, "test", scores.mean(), None))
    by_class += [(*head("pixels", "baseline", "baseline", None), None, None, c, "map_at_r", scores[c])
                 for c in range(classes)]  # fmt: skip
    columns = ["study", "loss", "family", "kind", "source", "fold", "seed", "class", "metric", "value"]
    return pd.DataFrame(rows), pd.DataFrame(by_class, columns=columns)


def head(loss, family, kind, source):
    return "simulated", loss, family, kind, source


def row(loss, family, kind, source, trial, fold, seed, split, value, setting, status="ok", reason=None):
    return {
        "study": "simulated", "loss": loss, "family": family, "kind": kind, "source": source, "trial": trial,
        "fold": fold, "seed": seed, "split": split, "metric": "map_at_r", "value": value, "status": status,
        "reason": reason, "seconds": 2.0, "peak_memory": 1e6, "device": "cpu",
        "hyperparameters": None if setting is None else json.dumps(setting),
    }  # fmt: skip
