import math

import numpy as np
import pytest

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import evaluate_embeddings
from mlcompare.evaluation.identification import enrolment

from .reference import cosine, rank_k
from .samples import make


@pytest.mark.parametrize("k", [1, 2, 6])
def test_rank_k_equals_brute_force(data, k):
    vectors, labels = data
    everyone = range(len(labels))
    found = evaluate_embeddings(vectors, labels, [f"rank_{k}"])[f"rank_{k}"]
    assert found == pytest.approx(rank_k(k, vectors, labels, everyone, everyone))
    if k == 1:
        assert found == pytest.approx(evaluate_embeddings(vectors, labels, ["recall_at_1"])["recall_at_1"])


def test_rank_k_with_an_enrolled_gallery(data):
    vectors, labels = data
    query, gallery = np.arange(25), np.arange(25, 40)
    found = evaluate_embeddings(vectors, labels, ["rank_2"], query=query, gallery=gallery)["rank_2"]
    assert found == pytest.approx(rank_k(2, vectors, labels, query, gallery))


@pytest.mark.parametrize("far", [1.0, 0.5, 0.1])
def test_dir_at_far_equals_brute_force(data, far):
    vectors, labels = data
    gallery = np.flatnonzero(labels < 3)[::2]
    query = np.setdiff1d(np.arange(40), gallery)
    found = evaluate_embeddings(vectors, labels, [f"dir_at_far_{far}"], query=query, gallery=gallery)
    assert found[f"dir_at_far_{far}"] == pytest.approx(brute_dir(far, vectors, labels, query, gallery))


def brute_dir(far, vectors, labels, query, gallery):
    best = [max((cosine(vectors[i], vectors[j]), labels[j] != labels[i]) for j in gallery) for i in query]
    known = [labels[i] in labels[gallery] for i in query]
    unknown = [s for (s, _), k in zip(best, known) if not k]
    scores = [-2.0, *sorted(s for s, _ in best)]
    threshold = min(t for t in scores if sum(s > t for s in unknown) <= far * len(unknown) + 1e-9)
    hits = [s > threshold and not wrong for (s, wrong), k in zip(best, known) if k]
    return sum(hits) / len(hits)


def test_dir_at_far_draws_its_protocol_from_the_seed():
    vectors, labels = make(n=200, classes=12)
    first = evaluate_embeddings(vectors, labels, ["dir_at_far_0.1"], seed=1)
    assert first == evaluate_embeddings(vectors, labels, ["dir_at_far_0.1"], seed=1)
    probes, gallery = enrolment(labels, seed=1)
    assert not set(probes) & set(gallery)
    assert len(set(labels[gallery])) == 6
    assert set(labels[probes]) == set(range(12))
    assert math.isnan(evaluate_embeddings(vectors, labels, ["dir_at_far_1e-6"])["dir_at_far_1e-6"])


def test_faults():
    vectors, labels = make()
    with pytest.raises(InvalidValueError, match="k=7 for 6"):
        evaluate_embeddings(vectors, labels, ["rank_7"])
    with pytest.raises(InvalidValueError, match="not enrolled"):
        evaluate_embeddings(vectors, labels, ["dir_at_far_0.1"], query=np.arange(40), gallery=np.arange(40))
    query = np.flatnonzero(labels == 0)
    with pytest.raises(InvalidValueError, match="must be enrolled"):
        evaluate_embeddings(vectors, labels, ["rank_1"], query=query, gallery=np.flatnonzero(labels > 0))
