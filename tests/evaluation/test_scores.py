import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.evaluation import (
    closed_set_accuracy,
    evaluate_embeddings,
    evaluate_with_classes,
    has_class_scores,
    higher_is_better,
    metric_names,
    parse_metric,
    per_class_scores,
)
from mlcompare.metrics import bounds

from .samples import make

NAMES = [
    "recall_at_1",
    "recall_at_3",
    "precision_at_4",
    "map_at_r",
    "r_precision",
    "mrr",
    "auc",
    "eer",
    "tar_at_far_0.1",
]
NAMES += ["rank_2", "dir_at_far_0.5"]
EVERY = [*NAMES, "verification_accuracy", "nmi", "ami", "ari"]
cases = st.builds(make, st.integers(0, 10_000), st.integers(12, 40), st.integers(1, 6), st.integers(2, 6),
                  st.sampled_from([None, 1.0, 2.0]))  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(cases, st.integers(0, 99))
def test_order_and_scale_do_not_matter(data, seed):
    vectors, labels = data
    rng = np.random.default_rng(seed)
    names = [name for name in NAMES if not name.startswith("dir")]  # its protocol is drawn by position
    names = [name for name in names if name != "rank_2" or len(set(labels)) > 1]
    expected = evaluate_embeddings(vectors, labels, names)
    order = rng.permutation(len(labels))
    assert evaluate_embeddings(vectors[order], labels[order], names) == pytest.approx(expected, abs=1e-12)
    scaled = vectors * 2.0 ** rng.integers(-20, 20, (len(labels), 1))
    assert evaluate_embeddings(scaled, labels, names) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_bounds(data):
    scores = evaluate_embeddings(*data, NAMES)
    assert all(0.0 <= value <= 1.0 or math.isnan(value) for value in scores.values())
    assert scores["recall_at_1"] <= scores["recall_at_3"]
    assert scores["map_at_r"] <= scores["r_precision"] + 1e-12
    assert scores["recall_at_1"] <= scores["mrr"] + 1e-12


@settings(max_examples=25, deadline=None)
@given(cases, st.integers(1, 50))
def test_chunks_do_not_matter(data, chunk_size):
    chunked = evaluate_embeddings(*data, NAMES, chunk_size=chunk_size)
    assert chunked == pytest.approx(evaluate_embeddings(*data, NAMES), abs=0, nan_ok=True)


def test_defaults_order_and_containers():
    vectors, labels = make(n=60, classes=5)
    scores = evaluate_embeddings(vectors, labels)
    assert list(scores) == ["recall_at_1", "map_at_r", "r_precision", "auc", "eer"]
    everything = evaluate_embeddings(vectors, labels, EVERY)
    assert list(everything) == EVERY
    assert all(type(value) is float for value in everything.values())
    tensors = torch.as_tensor(vectors).requires_grad_(), torch.as_tensor(labels)
    assert evaluate_embeddings(*tensors, EVERY) == everything
    assert evaluate_embeddings(vectors.tolist(), [f"person {i}" for i in labels], EVERY) == everything
    half = torch.as_tensor(vectors).bfloat16()
    assert evaluate_embeddings(half, labels)["auc"] == pytest.approx(scores["auc"], abs=0.02)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("recal_at_1", "recall_at_1"),
        ("map@r", "map_at_r"),
        ("recall_at", "recall_at_1"),
        ("tar_at_far", "tar_at_far_1e-3"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name, cure):
    with pytest.raises(UnknownNameError, match=f"did you mean .*{cure}"):
        evaluate_embeddings(*make(), [name])


@pytest.mark.parametrize("name", ["recall_at_0", "tar_at_far_2", "dir_at_far_0"])
def test_numbers_out_of_range(name):
    with pytest.raises(InvalidValueError):
        parse_metric(name)


def test_every_name_parses():
    assert all(parse_metric(name).name == name for name in metric_names())
    assert [name for name in metric_names() if not higher_is_better(name)] == ["eer"]


def test_bad_input():
    vectors, labels = make()
    broken = vectors.copy()
    broken[7, 1] = np.nan
    faults = [
        ((broken, labels), "row 7"),
        ((vectors, np.zeros(40)), "two classes"),
        ((vectors, labels[:-1]), "one entry for each"),
        ((vectors[0], labels), "shape \\(N, D\\)"),
        ((vectors + 1j, labels), "real"),
        ((np.empty((0, 3)), []), "shape \\(N, D\\)"),
    ]
    for arguments, message in faults:
        with pytest.raises(InvalidValueError, match=message):
            evaluate_embeddings(*arguments)
    for query in ([], [99], [-1], [0, 0], [0.5], [True]):
        with pytest.raises(InvalidValueError, match="query"):
            evaluate_embeddings(vectors, labels, query=query)
    with pytest.raises(InvalidValueError, match="chunk_size"):
        evaluate_embeddings(vectors, labels, chunk_size=0)
    with pytest.raises(InvalidValueError, match="closed_set_accuracy"):
        evaluate_embeddings(vectors, labels, ["accuracy"])


def test_huge_and_tiny_embeddings():
    vectors, labels = make()
    for factor in (1e200, 1e-200):
        assert evaluate_embeddings(vectors * factor, labels) == pytest.approx(evaluate_embeddings(vectors, labels))


def test_closed_set_accuracy():
    assert closed_set_accuracy(torch.eye(3), torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert closed_set_accuracy(np.zeros((4, 3)), [0, 0, 0, 0]) == 0.0
    assert closed_set_accuracy(["a", "b"], ["a", "c"]) == 0.5
    for logits, labels in (
        (np.eye(2), [0, 2]),
        (np.full((2, 2), np.nan), [0, 1]),
        (np.eye(2), [0]),
        (np.eye(2), [0.5, 1]),
    ):
        with pytest.raises(InvalidValueError):
            closed_set_accuracy(logits, labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_equal_on_the_gpu():
    vectors, labels = make(n=300, classes=8)
    expected = evaluate_embeddings(vectors, labels, EVERY)
    found = evaluate_embeddings(torch.as_tensor(vectors).cuda(), torch.as_tensor(labels), EVERY)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("rank_2", "dir_at_far_0.5")])
def test_a_metric_of_the_first_coordinates_is_that_of_the_cut_embedding(name):
    vectors, labels = make(3, 30, 6, 4, None)
    expected = evaluate_embeddings(vectors[:, :2], labels, [name])[name]
    found = evaluate_embeddings(vectors, labels, [name, f"{name}_in_2", f"{name}_in_64"])
    assert found[f"{name}_in_2"] == pytest.approx(expected, abs=1e-9)
    assert found[f"{name}_in_64"] == found[name], "there are fewer"
    if has_class_scores(name):
        cut = per_class_scores(vectors[:, :2], labels, name)
        assert per_class_scores(vectors, labels, f"{name}_in_2") == pytest.approx(cut, abs=1e-9)
        _, by_class = evaluate_with_classes(vectors, labels, [name, f"{name}_in_2"], by_class=f"{name}_in_2")
        assert by_class == pytest.approx(cut, abs=1e-9)


def test_names_of_the_first_coordinates():
    assert parse_metric("tar_at_far_1e-3_in_16").dims == 16
    assert parse_metric("map_at_r_in_16").whole == "map_at_r"
    assert parse_metric("map_at_r").dims is None
    assert not higher_is_better("eer_in_8")
    assert bounds("ari_in_8") == (-1.0, 1.0)
    for name in ("map_at_r_in_0", "map_at_r_in_", "recall_at_in_4", "map_in_4"):
        with pytest.raises(UnknownNameError):
            parse_metric(name)
    with pytest.raises(InvalidValueError, match="`accuracy` is of class scores"):
        parse_metric("accuracy_in_4")
