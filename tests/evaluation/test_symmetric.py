import numpy as np
import pytest
import torch

from mlcompare.evaluation import evaluate_embeddings, per_class_scores, symmetric
from mlcompare.evaluation.inputs import normalized_samples

from .samples import make

METRICS = ["recall_at_1", "recall_at_10", "precision_at_3", "map_at_r", "r_precision"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Let the symmetric way take small tasks, in several blocks, and count the blocks it finishes."""
    finished = []
    original = symmetric._finish
    monkeypatch.setattr(symmetric, "FEWEST", 0)
    monkeypatch.setattr(symmetric, "SAMPLE", 100)
    monkeypatch.setattr(symmetric, "BLOCK", 64)
    monkeypatch.setattr(symmetric, "_finish", lambda state, i: finished.append(original(state, i)) or finished[-1])
    return finished


@pytest.mark.parametrize("grid", [None, 1.0, 4.0], ids=["smooth", "ties", "some_ties"])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_plain_way(small_blocks, grid, seed):
    vectors, labels = make(seed, n=500, d=6, classes=20, grid=grid)
    labels[:3] = [100, 101, 102]  # three that are alone in their class
    plain = evaluate_embeddings(vectors, labels, METRICS, chunk_size=50)
    assert not small_blocks
    assert evaluate_embeddings(vectors, labels, METRICS) == pytest.approx(plain, abs=1e-15)
    assert len(small_blocks) == 8
    by_class = per_class_scores(vectors, labels, "map_at_r", chunk_size=50)
    assert per_class_scores(vectors, labels, "map_at_r") == pytest.approx(by_class, abs=1e-15)


def test_most_queries_are_finished(small_blocks):
    evaluate_embeddings(*make(n=500, d=16, classes=20), METRICS)
    assert np.concatenate([block.complete for block in small_blocks]).mean() > 0.9


def test_near_ties_are_ordered_exactly(small_blocks):
    """Neighbours that differ by less than a float32 can tell."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(40, 8))[rng.integers(0, 40, 400)]
    vectors = base + 1e-8 * rng.normal(size=base.shape)
    labels = rng.integers(0, 25, 400)
    plain = evaluate_embeddings(vectors, labels, METRICS, chunk_size=50)
    assert evaluate_embeddings(vectors, labels, METRICS) == pytest.approx(plain, abs=1e-15)
    assert small_blocks


def test_a_collapsed_embedding_scores_nothing(small_blocks):
    scores = evaluate_embeddings(np.ones((500, 4)), np.arange(500) % 20, METRICS)
    assert scores == dict.fromkeys(METRICS, 0.0)


def test_leaves_the_thread_count_alone(small_blocks):
    threads = torch.get_num_threads()
    evaluate_embeddings(*make(n=500, classes=20), METRICS)
    assert torch.get_num_threads() == threads


def test_takes_only_what_it_is_good_at():
    samples = normalized_samples(*make(n=100))
    assert not symmetric.pays(samples, 5)  # too few


def test_unequal_classes(small_blocks):
    vectors, labels = make(n=600, d=8, classes=40)
    labels[100:140] = 0
    plain = evaluate_embeddings(vectors, labels, METRICS, chunk_size=64)
    assert evaluate_embeddings(vectors, labels, METRICS) == pytest.approx(plain, abs=1e-15)
    assert small_blocks


def test_full_blocks(monkeypatch):
    monkeypatch.setattr(symmetric, "FEWEST", 0)
    vectors, labels = make(n=symmetric.BLOCK + symmetric.SAMPLE, d=4, classes=200)
    plain = evaluate_embeddings(vectors, labels, METRICS, chunk_size=64)
    assert evaluate_embeddings(vectors, labels, METRICS) == pytest.approx(plain, abs=1e-15)
