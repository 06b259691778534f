import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from mlcompare.evaluation import evaluate_embeddings

from .samples import make


def test_equals_scikit_learn_and_follows_the_seed():
    vectors, labels = make(n=120)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = KMeans(6, n_init=3, random_state=3).fit_predict(unit.astype(np.float32))
    found = evaluate_embeddings(vectors, labels, ["nmi", "ami", "ari"], seed=3)
    assert found["nmi"] == pytest.approx(normalized_mutual_info_score(labels, groups))
    assert found["ami"] == pytest.approx(adjusted_mutual_info_score(labels, groups))
    assert found["ari"] == pytest.approx(adjusted_rand_score(labels, groups))


def test_perfect_clusters_score_one():
    labels = np.repeat(np.arange(4), 5)
    assert evaluate_embeddings(np.eye(4)[labels], labels, ["nmi", "ami", "ari"]) == {"nmi": 1.0, "ami": 1.0, "ari": 1.0}
