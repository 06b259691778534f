"""What is changed: one condition of the study for each challenge, the most telling first."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlcompare.challenge.leaders import Leaders, fixed_entry
from mlcompare.encoders import get_encoder_spec
from mlcompare.search.needs import needs_pairs, owns_weights

__all__ = ["WIDTHS", "Variant", "variants"]

HEAD, K, P = "head_lr_ratio", "samples_per_class", "classes_per_batch"
WIDTHS = ("channels", "width")  # options that say how wide an encoder is

Settings = dict[str, dict[str, Any]]
Change = Callable[[dict[str, Any], Settings], bool]  # changes study and settings; says whether anything changed


@dataclass(frozen=True)
class Variant:
    """One challenge.

    Attributes:
        name: short, and the name of its store.
        what: in words.
        cost: how many times a training's time it takes, roughly.
        study: the study to run, with both leaders' settings fixed.
    """

    name: str
    what: str
    cost: float
    study: dict[str, Any]


def variants(leaders: Leaders) -> list[Variant]:
    """Return every challenge that changes anything for these leaders, the most telling first."""
    found = []
    for name, what, cost, change in _CHANGES(leaders):
        study, settings = _base(leaders), {n: dict(values) for n, values in leaders.settings.items()}
        if change(study, settings):
            study["name"] = f"{leaders.config.name[:70]}-{name}"
            study["losses"] = {n: fixed_entry(leaders.entries[n], values) for n, values in settings.items()}
            found.append(Variant(name, what, cost, study))
    return found


def _base(leaders: Leaders) -> dict[str, Any]:
    """The study with nothing left to search: its single trial is the selected setting."""
    study = copy.deepcopy(leaders.config.model_dump(mode="json"))
    study["search"] |= {"trials": 1, "racing": False, "startup_trials": None, "space": {}}
    study["baselines"] = []
    return study


def _CHANGES(leaders: Leaders) -> Iterator[tuple[str, str, float, Change]]:
    pairs = {name: needs_pairs(entry) for name, entry in leaders.entries.items()}
    heads = {name for name, entry in leaders.entries.items() if owns_weights(entry)}
    yield "steps-x2", "twice the steps", 2.0, _steps(2)
    yield "other-classes", "other classes sealed, other folds", 1.0, _seed(1)
    yield "head-rate-x3", "class weights and proxies learn 3 times as fast", 1.0, _head(3.0, heads)
    yield "fewer-images", "a third as many images a class in a batch", 1.0, _composition(1 / 3, pairs)
    yield "steps-x4", "four times the steps", 4.0, _steps(4)
    yield "batch-x2", "batches twice as large", 2.0, _batch(2.0)
    yield "wider", "an encoder twice as wide", 3.0, _width(2.0)
    yield "head-rate-third", "class weights and proxies learn a third as fast", 1.0, _head(1 / 3, heads)
    yield "more-images", "3 times as many images a class in a batch", 1.0, _composition(3.0, pairs)
    yield "other-classes-2", "other classes sealed once more", 1.0, _seed(2)
    yield "batch-half", "batches half as large", 0.6, _batch(0.5)
    yield "narrower", "an encoder half as wide", 0.6, _width(0.5)
    yield "other-chance", "other random numbers in training", 1.0, _chance


def _steps(factor: int) -> Change:
    def change(study: dict[str, Any], settings: Settings) -> bool:
        study["training"]["steps"] *= factor
        for values in settings.values():
            values.update({"steps": values["steps"] * factor} if "steps" in values else {})
        return True

    return change


def _seed(step: int) -> Change:
    def change(study: dict[str, Any], settings: Settings) -> bool:
        protocol = study["protocol"]
        protocol["seed"] += step
        return protocol["kind"] == "class_disjoint" and protocol["test_classes"] != "official"

    return change


def _chance(study: dict[str, Any], settings: Settings) -> bool:
    study["search"]["seed"] += 1
    return True


def _head(factor: float, heads: set[str]) -> Change:
    def change(study: dict[str, Any], settings: Settings) -> bool:
        usual = study["training"].get(HEAD) or 1.0
        for name in heads:
            settings[name][HEAD] = settings[name].get(HEAD, usual) * factor
        return bool(heads)

    return change


def _composition(factor: float, pairs: Mapping[str, bool]) -> Change:
    """Move K to the divisor of the batch nearest to K·factor; the batch keeps its size."""

    def change(study: dict[str, Any], settings: Settings) -> bool:
        training, changed = study["training"], False
        batch = training[P] * training[K]
        for name, values in settings.items():
            own = values.get(K, training[K])
            lowest = 2 if pairs[name] else 1
            possible = [
                k for k in range(lowest, batch // 2 + 1) if batch % k == 0 and (k < own if factor < 1 else k > own)
            ]
            if possible and P not in values:
                values[K] = min(possible, key=lambda k: abs(math.log(k / (own * factor))))
                changed = True
        return changed and training["sampler"] == "pk"

    return change


def _batch(factor: float) -> Change:
    """More or fewer classes in a batch, as many images of each."""

    def change(study: dict[str, Any], settings: Settings) -> bool:
        training = study["training"]
        batch = training[P] * training[K] * factor
        counts = [values.get(K, training[K]) for values in settings.values()]
        if any(P in values for values in settings.values()) or any(batch % (2 * k) for k in counts):
            return False
        training[P] = round(training[P] * factor)
        return training[P] >= 2 and training[P] * training[K] == batch

    return change


def _width(factor: float) -> Change:
    def change(study: dict[str, Any], settings: Settings) -> bool:
        encoder = study["encoder"]
        name = encoder["name"]
        if encoder.get("frozen"):
            return False
        defaults = {key: default for key, default in get_encoder_spec(name).options.items() if key in WIDTHS}
        for key, default in defaults.items():
            value = encoder.get(key, default)
            scaled = [_scaled(v, factor) for v in value] if isinstance(value, list | tuple) else _scaled(value, factor)
            encoder[key] = scaled
        if not defaults:
            encoder["embedding_dim"] = _scaled(encoder["embedding_dim"], factor)
            for values in settings.values():
                values.pop("embedding_dim", None)
        return True

    return change


def _scaled(value: int, factor: float) -> int:
    return max(1, round(value * factor))
