"""Metrics of a level are the metric with groups in the place of classes."""

from __future__ import annotations

import numpy as np
import pytest

from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.evaluation import evaluate_embeddings, evaluate_with_classes, per_class_scores
from mlcompare.metrics import METRICS, bounds, higher_is_better, parse_metric, register_metric

rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(6), 4)
KIND, REALM = np.array(list("uuvvww"))[LABELS], (LABELS >= 4).astype(int)
LEVELS = {"kind": KIND, "realm": REALM}
X = rng.normal(size=(24, 5)) + rng.normal(size=(6, 5))[LABELS]
NAMES = ["map_at_r", "recall_at_3", "auc", "eer", "rank_1", "nmi", "tar_at_far_1e-1", "mrr"]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_metric_of_the_groups(name: str) -> None:
    for level, groups in LEVELS.items():
        asked = [name, f"{name}_level_{level}", f"{name}_level_{level}_in_2", f"{name}_in_2"]
        found = evaluate_embeddings(X, LABELS, asked, levels=LEVELS)
        assert list(found) == asked
        assert found[name] == evaluate_embeddings(X, LABELS, [name])[name]
        assert found[asked[1]] == evaluate_embeddings(X, groups, [name])[name]
        assert found[asked[2]] == evaluate_embeddings(X[:, :2], groups, [name])[name]


def test_each_class_has_the_mean_of_its_own_queries() -> None:
    whole = evaluate_embeddings(X, LABELS, "map_at_r_level_kind", levels=LEVELS)["map_at_r_level_kind"]
    by_class = per_class_scores(X, LABELS, "map_at_r_level_kind", levels=LEVELS)
    assert list(by_class) == list(range(6)), "classes, not groups, are what statistics count"
    assert np.mean(list(by_class.values())) == pytest.approx(whole)
    both = evaluate_with_classes(
        X, LABELS, ["map_at_r_level_kind", "auc"], by_class="map_at_r_level_kind", levels=LEVELS
    )
    assert both[1] == by_class
    of_pairs = per_class_scores(X, LABELS, "auc_level_realm_in_3", levels=LEVELS)
    assert list(of_pairs) == list(range(6))
    assert np.mean(list(of_pairs.values())[:4]) == pytest.approx(per_class_scores(X[:, :3], REALM, "auc")[0], abs=0.05)


def test_queries_that_only_a_level_answers() -> None:
    """A class of one sample has no neighbour of its own, but its group has one."""
    labels, kind = np.array([0, 0, 1, 2, 3]), np.array([0, 0, 0, 1, 1])
    by_class = evaluate_with_classes(
        X[:5], labels, ["mrr_level_kind"], by_class="mrr_level_kind", levels={"kind": kind}
    )[1]
    assert list(by_class) == [0, 1, 2, 3]


def test_names() -> None:
    metric = parse_metric("recall_at_10_level_my_kind_in_16")
    assert (metric.k, metric.level, metric.dims) == (10, "my_kind", 16)
    assert (metric.whole, metric.plain) == ("recall_at_10_level_my_kind", "recall_at_10")
    assert not higher_is_better("eer_level_kind")
    assert bounds("ari_level_kind_in_4") == (-1.0, 1.0)
    with pytest.raises(UnknownNameError):
        parse_metric("map_level_kind")
    with pytest.raises(UnknownNameError):
        parse_metric("map_at_r_level_")
    with pytest.raises(InvalidValueError, match="`accuracy` is of class scores, which know no groups"):
        parse_metric("accuracy_level_kind")


def test_levels_that_are_not_given() -> None:
    with pytest.raises(InvalidValueError, match=r"level must be given, got map_at_r_level_kind; give `levels`"):
        evaluate_embeddings(X, LABELS, "map_at_r_level_kind")
    with pytest.raises(InvalidValueError, match="did you mean kind"):
        evaluate_embeddings(X, LABELS, "map_at_r_level_kinds", levels=LEVELS)
    with pytest.raises(InvalidValueError, match=r"level kind: at least two classes"):
        evaluate_embeddings(X, LABELS, "map_at_r_level_kind", levels={"kind": np.zeros(24)})
    with pytest.raises(InvalidValueError, match="one entry for each embedding"):
        evaluate_embeddings(X, LABELS, "map_at_r_level_kind", levels={"kind": np.zeros(5)})


def test_a_metric_of_ones_own_is_given_the_groups() -> None:
    @register_metric("groups_seen")
    def groups_seen(embeddings, labels):
        return float(labels.max()) + 1

    try:
        found = evaluate_embeddings(X, LABELS, ["groups_seen", "groups_seen_level_kind"], levels=LEVELS)
    finally:
        METRICS._records.pop("groups_seen")
    assert found == {"groups_seen": 6.0, "groups_seen_level_kind": 3.0}
