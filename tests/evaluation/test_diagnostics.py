import math

import numpy as np
import pytest
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import class_weight_norms, embedding_geometry, norm_statistics, spectrum
from mlcompare.evaluation import diagnostics as module

from .samples import make


def test_alignment_and_uniformity_equal_their_definitions(monkeypatch):
    vectors, labels = make()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = ((unit[:, None] - unit[None]) ** 2).sum(axis=2)
    off = ~np.eye(len(labels), dtype=bool)
    same = (labels[:, None] == labels) & off
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 130)
    found = embedding_geometry(vectors, labels)
    assert found["alignment"] == pytest.approx(distance[same].mean(), abs=1e-6)
    assert found["uniformity"] == pytest.approx(math.log(np.exp(-2 * distance[off]).mean()), abs=1e-6)


def test_angles_of_known_directions():
    angles = np.array([0.0, 0.2, 1.0, 1.2])
    found = embedding_geometry(np.stack([np.cos(angles), np.sin(angles)], 1), [0, 0, 1, 1])
    assert found["intra_class_angle"] == pytest.approx(0.1, abs=1e-6)
    assert found["inter_class_angle"] == pytest.approx(1.0, abs=1e-6)
    assert found["nearest_class_angle"] == pytest.approx(1.0, abs=1e-6)


def test_spectrum_counts_the_directions_in_use():
    vectors = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) @ torch.randn(3, 10)
    q, _ = torch.linalg.qr(torch.randn(10, 3, generator=torch.Generator().manual_seed(1)))
    flat = torch.randn(20000, 3, generator=torch.Generator().manual_seed(0)) @ q.T
    assert spectrum(flat)["effective_rank"] == pytest.approx(3.0, abs=0.01)
    assert 1.0 <= spectrum(vectors)["effective_rank"] <= 3.001
    assert spectrum(vectors)["eigenvalues"].sum() == pytest.approx(1.0)
    assert spectrum(torch.ones(10, 4))["effective_rank"] == 0.0


def test_norms_and_class_weights():
    assert norm_statistics(np.diag([1.0, 3.0])) == {
        "norm_mean": 2.0, "norm_std": 1.0, "norm_min": 1.0, "norm_max": 3.0, "norm_variation": 0.5
    }  # fmt: skip
    found = class_weight_norms(torch.diag(torch.tensor([1.0, 2.0, 3.0])), [10, 20, 25])
    assert found["norm_count_correlation"] == pytest.approx(1.0)
    assert math.isnan(class_weight_norms(torch.eye(3), [1, 2, 3])["norm_count_correlation"])
    with pytest.raises(InvalidValueError, match="must agree"):
        class_weight_norms(torch.eye(3), [1, 2])
