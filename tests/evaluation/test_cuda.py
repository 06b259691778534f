"""The same scores on a GPU as on the CPU. Skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from mlcompare.evaluation import evaluate_embeddings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("samples", [60, 3000])
def test_scores_do_not_depend_on_the_device(samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % (samples // 10)
    centers = torch.randn(samples // 10, 32, generator=generator)
    embeddings = centers[labels] + torch.randn(samples, 32, generator=generator)
    metrics = ("recall_at_1", "map_at_r", "r_precision", "mrr", "auc", "eer", "tar_at_far_1e-2", "rank_1")
    on_cpu = evaluate_embeddings(embeddings, labels, metrics=metrics)
    on_gpu = evaluate_embeddings(embeddings.cuda(), labels.cuda(), metrics=metrics)
    assert on_gpu == pytest.approx(on_cpu, abs=1e-4)
