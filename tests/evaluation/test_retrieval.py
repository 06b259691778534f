import numpy as np
import pytest
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import evaluate_embeddings, per_class_scores

from .reference import retrieval
from .samples import make

KINDS = [("recall_at", 1), ("recall_at", 7), ("precision_at", 1), ("precision_at", 5)]
KINDS += [("map_at_r", None), ("r_precision", None), ("mrr", None)]


def named(kind, k):
    return f"{kind}_{k}" if k else kind


@pytest.mark.parametrize(("kind", "k"), KINDS)
def test_equals_brute_force_leave_one_out(data, kind, k):
    expected = retrieval(kind, k, *data)
    assert evaluate_embeddings(*data, [named(kind, k)])[named(kind, k)] == pytest.approx(np.mean([*expected.values()]))


@pytest.mark.parametrize(("kind", "k"), KINDS)
@pytest.mark.parametrize("overlap", [0, 8])
def test_equals_brute_force_with_a_gallery(data, kind, k, overlap):
    query, gallery = np.arange(0, 20), np.arange(20 - overlap, 40)
    expected = np.mean([*retrieval(kind, k, *data, query, gallery).values()])
    found = evaluate_embeddings(*data, [named(kind, k)], query=query, gallery=gallery)[named(kind, k)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["recall_at_1", "map_at_r", "mrr"])
def test_class_scores_are_means_over_the_queries_of_a_class(data, metric):
    vectors, labels = data
    kind, k = ("recall_at", 1) if metric == "recall_at_1" else (metric, None)
    queries = retrieval(kind, k, vectors, labels)
    scores = per_class_scores(vectors, labels, metric)
    assert set(scores) == set(labels.tolist())
    for c, value in scores.items():
        assert value == pytest.approx(np.mean([s for i, s in queries.items() if labels[i] == c]))


def test_equals_pytorch_metric_learning():
    pytest.importorskip("faiss")
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    vectors, labels = make(n=500, d=16, classes=20)
    unit = torch.nn.functional.normalize(torch.as_tensor(vectors, dtype=torch.float32))
    names = {
        "precision_at_1": "precision_at_1",
        "mean_average_precision_at_r": "map_at_r",
        "r_precision": "r_precision",
    }
    peer = AccuracyCalculator(include=tuple(names), k="max_bin_count", device=torch.device("cpu"))
    expected = peer.get_accuracy(unit, torch.as_tensor(labels))
    found = evaluate_embeddings(vectors, labels, list(names.values()))
    for theirs, ours in names.items():
        assert found[ours] == pytest.approx(expected[theirs], abs=1e-6)


def test_a_collapsed_embedding_scores_nothing():
    labels = np.repeat(np.arange(5), 4)
    scores = evaluate_embeddings(np.ones((20, 3)), labels, ["recall_at_1", "map_at_r", "r_precision", "mrr", "auc"])
    assert scores == {"recall_at_1": 0, "map_at_r": 0, "r_precision": 0, "mrr": pytest.approx(1 / 17), "auc": 0.5}
    assert evaluate_embeddings(np.zeros((20, 3)), labels, ["recall_at_10"]) == {"recall_at_10": 0}


def test_singletons_are_no_queries_but_stay_in_the_gallery():
    vectors = [[1.0, 0.0], [0.8, 0.6], [0.9, 0.43]]
    assert evaluate_embeddings(vectors, ["a", "a", "alone"], ["recall_at_1", "recall_at_2"]) == {
        "recall_at_1": 0.0,
        "recall_at_2": 1.0,
    }
    assert per_class_scores(vectors, ["a", "a", "alone"], "recall_at_1") == {"a": 0.0}


def test_k_beyond_the_gallery_is_an_error():
    vectors, labels = make()
    assert evaluate_embeddings(vectors, labels, ["recall_at_39"])["recall_at_39"] == 1.0
    with pytest.raises(InvalidValueError, match="k=40 for 39"):
        evaluate_embeddings(vectors, labels, ["recall_at_40"])


def test_nothing_to_find_is_an_error():
    with pytest.raises(InvalidValueError, match="at least one query"):
        evaluate_embeddings(np.eye(3), [0, 1, 2], ["recall_at_1"])
