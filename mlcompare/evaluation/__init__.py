"""Exact evaluation of embeddings: retrieval, verification, identification, clustering and geometry."""

from mlcompare.evaluation.closed_set import class_mean_scores, closed_set_accuracy, per_class_accuracy
from mlcompare.evaluation.diagnostics import class_weight_norms, embedding_geometry, norm_statistics, spectrum
from mlcompare.evaluation.scores import (
    evaluate_embeddings,
    evaluate_with_classes,
    has_class_scores,
    per_class_scores,
)
from mlcompare.evaluation.verification import all_pairs
from mlcompare.metrics import DEFAULT_METRICS, higher_is_better, metric_names, parse_metric

__all__ = [
    "DEFAULT_METRICS",
    "all_pairs",
    "class_mean_scores",
    "class_weight_norms",
    "closed_set_accuracy",
    "embedding_geometry",
    "evaluate_embeddings",
    "evaluate_with_classes",
    "has_class_scores",
    "higher_is_better",
    "metric_names",
    "norm_statistics",
    "parse_metric",
    "per_class_accuracy",
    "per_class_scores",
    "spectrum",
]
