import math

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import evaluate_embeddings, per_class_scores, verification

from .reference import auc, pairs, tar_at_far
from .samples import make


def test_auc_equals_brute_force_and_scikit_learn(data):
    listed = pairs(*data)
    found = evaluate_embeddings(*data, ["auc"])["auc"]
    assert found == pytest.approx(auc(listed), abs=1e-12)
    assert found == pytest.approx(roc_auc_score([same for _, same in listed], [s for s, _ in listed]), abs=1e-12)


def test_eer_is_where_the_curves_cross(data):
    listed = pairs(*data)
    fpr, tpr, _ = sklearn_roc([same for _, same in listed], [s for s, _ in listed], drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - float(interp1d(fpr, tpr)(x)), 0.0, 1.0)
    found = evaluate_embeddings(*data, ["eer"])["eer"]
    if len(set(fpr)) == len(fpr):  # else a vertical step: interp1d picks one of its ends
        assert found == pytest.approx(expected, abs=1e-9)
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("far", [1.0, 0.5, 0.1, 0.01, 0.002])
def test_tar_at_far_equals_brute_force(data, far):
    found = evaluate_embeddings(*data, [f"tar_at_far_{far}"])[f"tar_at_far_{far}"]
    assert found == pytest.approx(tar_at_far(pairs(*data), far), abs=1e-12)


def test_a_rate_that_the_pairs_cannot_measure_is_nan():
    assert math.isnan(evaluate_embeddings(*make(), ["tar_at_far_1e-6"])["tar_at_far_1e-6"])


def test_bins_agree_with_exact_counts(monkeypatch):
    vectors, labels = make(n=400, d=8)
    names = ["auc", "eer", "tar_at_far_1e-2", "verification_accuracy"]
    exact = evaluate_embeddings(vectors, labels, names)
    monkeypatch.setattr(verification, "EXACT_PAIRS", 0)
    binned = evaluate_embeddings(vectors, labels, names)
    assert binned == pytest.approx(exact, abs=1e-5)
    assert binned["auc"] == pytest.approx(exact["auc"], abs=1e-7)


def test_bins_keep_ties(monkeypatch):
    vectors, labels = make(grid=1.0)
    exact = evaluate_embeddings(vectors, labels, ["auc", "eer", "tar_at_far_0.1"])
    monkeypatch.setattr(verification, "EXACT_PAIRS", 0)
    assert evaluate_embeddings(vectors, labels, ["auc", "eer", "tar_at_far_0.1"]) == pytest.approx(exact, abs=1e-12)


def test_listed_pairs_equal_all_pairs(data):
    vectors, labels = data
    a, b = np.triu_indices(len(labels), 1)
    names = ["auc", "eer", "tar_at_far_0.1"]
    listed = evaluate_embeddings(vectors, labels, names, pairs=(a, b, labels[a] == labels[b]))
    assert listed == pytest.approx(evaluate_embeddings(vectors, labels, names), abs=1e-12)


def test_query_gallery_pairs_equal_their_list(data):
    vectors, labels = data
    query, gallery = np.arange(15), np.arange(10, 40)
    a, b = (part.ravel() for part in np.meshgrid(query, gallery, indexing="ij"))
    a, b = a[a != b], b[a != b]
    found = evaluate_embeddings(vectors, labels, ["auc"], query=query, gallery=gallery)
    listed = evaluate_embeddings(vectors, labels, ["auc"], pairs=(a, b, labels[a] == labels[b]))
    assert found["auc"] == pytest.approx(listed["auc"], abs=1e-12)


def test_accuracy_of_separable_and_of_collapsed_embeddings():
    labels = np.repeat(np.arange(20), 4)
    apart = evaluate_embeddings(np.eye(20)[labels], labels, ["verification_accuracy"])
    assert apart["verification_accuracy"] == 1.0
    collapsed = evaluate_embeddings(np.ones((80, 3)), labels, ["verification_accuracy"])
    assert collapsed["verification_accuracy"] == 0.5


def test_accuracy_of_listed_pairs_uses_the_other_folds():
    vectors, labels = make(n=60)
    a, b = np.triu_indices(60, 1)
    found = evaluate_embeddings(vectors, labels, ["verification_accuracy"], pairs=(a, b, labels[a] == labels[b]))
    assert 0.5 < found["verification_accuracy"] < 1.0
    rng = np.random.default_rng(0)  # labels that say nothing: held-out accuracy stays at chance
    noise = evaluate_embeddings(
        vectors, labels, ["verification_accuracy"], pairs=(a, b, rng.permutation(labels[a] == labels[b]))
    )
    assert noise["verification_accuracy"] == pytest.approx(0.5, abs=0.07)


def test_class_auc_uses_the_pairs_of_that_class():
    vectors, labels = make()
    listed = [pair for i in np.flatnonzero(labels == 2) for pair in one_against_all(vectors, labels, i)]
    assert per_class_scores(vectors, labels, "auc")[2] == pytest.approx(auc(listed))


def one_against_all(vectors, labels, i):
    from .reference import cosine

    return [(cosine(vectors[i], vectors[j]), labels[i] == labels[j]) for j in range(len(labels)) if j != i]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (([0], [1, 2], [True]), "three arrays"),
        (([0], [99], [True]), "in \\[0, 40\\)"),
        (([0], [1], [True]), "1 same and 0 different"),
    ],
)
def test_bad_pairs(pairs, message):
    with pytest.raises(InvalidValueError, match=message):
        evaluate_embeddings(*make(), ["auc"], pairs=pairs)


def test_no_positive_pairs_is_an_error():
    with pytest.raises(InvalidValueError, match="0 same"):
        evaluate_embeddings(np.eye(3), [0, 1, 2], ["auc"])
    with pytest.raises(InvalidValueError, match="four classes"):
        evaluate_embeddings(np.eye(4), [0, 0, 1, 1], ["verification_accuracy"])


def test_given_folds_of_pairs_are_used() -> None:
    cosine = torch.tensor([0.9, 0.85, 0.7, 0.2, 0.95, 0.1])  # same, different, same, …
    vectors = torch.stack([torch.ones(6), torch.zeros(6), cosine, (1 - cosine**2).sqrt()], 1).view(12, 2)
    a, same = np.arange(0, 12, 2), np.array([True, False] * 3)

    def accuracy(*fold: list[int]) -> float:
        pairs = (a, a + 1, same, *map(np.array, fold))
        return evaluate_embeddings(vectors, range(12), ["verification_accuracy"], pairs=pairs)["verification_accuracy"]

    # by hand: fold 0 at 0.45 accepts both its pairs (1/2); fold 1 at 0.875 misses the pair at 0.7 (3/4)
    assert accuracy([0, 0, 1, 1, 1, 1]) == pytest.approx(0.625)
    assert accuracy([0, 1, 0, 1, 0, 1]) == accuracy(), "folds that lack a kind of pair are drawn instead"
