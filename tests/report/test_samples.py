"""Curves, views and sheets drawn from embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from mlcompare.comparison import load_results
from mlcompare.report.curves import curves_of, nearest, roc_points
from mlcompare.report.embedding_plots import project, shown_classes
from mlcompare.report.sheets import chosen_queries, data_uri, sheet
from mlcompare.report.study import Embeddings, TestSamples, open_study


def run_of(n: int = 60, classes: int = 5, dim: int = 4, seed: int = 0) -> Embeddings:
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    vectors = draw.normal(size=(classes, dim))[labels] + draw.normal(size=(n, dim))
    return Embeddings(0, vectors.astype(np.float32), labels, np.arange(n))


def brute_force(run: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """All pairs one by one: cosines, and whether the classes are the same."""
    cosines, same = [], []
    unit = run.vectors.astype(float) / np.linalg.norm(run.vectors.astype(float), axis=1, keepdims=True)
    for i in range(len(unit)):
        for j in range(i + 1, len(unit)):
            cosines.append(unit[i] @ unit[j])
            same.append(run.labels[i] == run.labels[j])
    return np.array(cosines), np.array(same)


def test_roc_is_brute_force() -> None:
    run = run_of()
    cosines, same = brute_force(run)
    curve = curves_of([run])
    for far, tar in zip(curve.far, curve.tar, strict=True):
        if not np.isnan(tar):
            allowed = np.sort(cosines[~same])[::-1]
            k = far * len(allowed)
            low, high = int(np.floor(k)), int(np.ceil(k))
            bounds = []
            for m in (low, high):  # accept everything above the (m+1)-th different pair
                threshold = allowed[m] if m < len(allowed) else -np.inf
                bounds.append((cosines[same] > threshold).mean())
            assert bounds[0] - 1e-9 <= tar <= bounds[1] + 1e-9
    assert np.isnan(curve.tar[(curve.far > 0) & (curve.far < 1 / (~same).sum())]).all()


def test_curves_agree_with_the_results_table(finished) -> None:
    study, results = open_study(finished), load_results(finished)
    for loss in study.losses():
        runs = study.embeddings(loss)
        rows = results[(results["loss"] == loss) & (results["kind"] == "final") & (results["source"] == "selected")]
        recall = rows.loc[rows["metric"] == "recall_at_1", "value"].mean()
        assert curves_of(runs).recall[0] == pytest.approx(recall, abs=1e-9)
        for run in runs:
            cosines, same = brute_force(run) if len(run.labels) < 100 else _fast_pairs(run)
            grid = np.arange((~same).sum() + 1) / (~same).sum()
            area = np.trapezoid(roc_points(cosines[same], cosines[~same], grid), grid)
            auc = rows.loc[(rows["metric"] == "auc") & (rows["fold"] == run.fold), "value"].iloc[0]
            assert area == pytest.approx(auc, abs=1e-4)


def _fast_pairs(run: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    unit = run.vectors.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    upper = np.triu_indices(len(unit), 1)
    return (unit @ unit.T)[upper], (run.labels[:, None] == run.labels)[upper]


def test_equal_embeddings_count_as_misses() -> None:
    run = Embeddings(0, np.ones((4, 3), np.float32), np.array([0, 0, 1, 1]), np.arange(4))
    curve = curves_of([run])
    assert curve.recall[0] == 0.0
    assert curve.recall[-1] == 1.0


def test_no_curves_from_nan_or_one_class() -> None:
    run = run_of()
    assert curves_of([Embeddings(0, np.full_like(run.vectors, np.nan), run.labels, run.rows)]) is None
    assert curves_of([Embeddings(0, run.vectors, np.zeros_like(run.labels), run.rows)]) is None
    assert curves_of([]) is None


def test_nearest_leaves_out_the_query() -> None:
    run = run_of()
    found = nearest(run, np.arange(60), 100)
    assert found.shape == (60, 59)
    assert all(i not in row for i, row in enumerate(found))


def test_two_dimensional_embeddings_are_shown_raw() -> None:
    points = run_of(dim=2).vectors
    shown = project(points)
    assert shown.name == "raw"
    np.testing.assert_array_equal(shown.points, points)


@pytest.mark.parametrize(("n", "name"), [(8, "PCA"), (60, "t-SNE")])
def test_others_are_projected_alike_each_time(n, name) -> None:
    vectors = run_of(n).vectors
    first, second = project(vectors), project(vectors)
    assert first.name == name
    assert first.points.shape == (n, 2)
    assert np.isfinite(first.points).all()
    np.testing.assert_array_equal(first.points, second.points)


@pytest.mark.parametrize(("n", "classes"), [(60, 5), (5_000, 40), (3_000, 1_500)])
def test_views_show_some_hundred_points_of_whole_classes(n, classes) -> None:
    chosen, colored = shown_classes(np.arange(n) % classes)
    assert len(chosen) <= 400
    assert len(set(chosen.tolist())) == len(chosen)
    assert len(colored) == min(classes, 10)
    assert set(colored) <= set((chosen % classes).tolist())


def test_sheets_show_the_worst_and_the_best() -> None:
    run = run_of()
    queries, found = chosen_queries(run)
    hits = (run.labels[found] == run.labels[queries][:, None]).sum(axis=1)
    half = len(queries) // 2
    assert hits[:half].max() <= hits[half:].min()
    assert len(set(run.labels[queries[:half]])) == half
    assert found.shape[1] == np.bincount(run.labels).max() - 1, "as many as a class has"
    alone = Embeddings(0, run.vectors[:5], np.arange(5), np.arange(5))
    assert len(chosen_queries(alone)[0]) == 0


def test_a_query_shows_as_many_neighbours_as_its_class_has() -> None:
    """Classes of 2, 5 and 40 samples: 1, 4 and, at most, 12 neighbours; what lies beyond is no miss."""
    labels = np.repeat([0, 1, 2], [2, 5, 40])
    vectors = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32) + 9 * np.eye(4)[labels]
    run = Embeddings(0, vectors, labels, np.arange(len(labels)))
    images = np.zeros((len(labels), 1, 4, 4), np.uint8)
    rows = sheet(run, TestSamples(np.arange(len(labels)), ("a", "b", "c"), images))
    assert {query.label: len(found) for query, found in rows} == {0: 1, 1: 4, 2: 12}
    assert all(sample.label == query.label for query, found in rows for sample in found)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_inlined(channels) -> None:
    uri = data_uri(np.zeros((channels, 4, 4), np.uint8))
    assert uri.startswith("data:image/png;base64,")
