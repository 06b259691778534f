"""Exact evaluation of embeddings: retrieval, verification, identification, clustering and geometry."""

from mlcompare.evaluation.diagnostics import class_weight_norms, embedding_geometry, norm_statistics, spectrum
from mlcompare.evaluation.names import DEFAULT_METRICS, higher_is_better, metric_names, parse_metric
from mlcompare.evaluation.scores import closed_set_accuracy, evaluate_embeddings, per_class_scores
from mlcompare.evaluation.verification import all_pairs

__all__ = [
    "DEFAULT_METRICS",
    "all_pairs",
    "class_weight_norms",
    "closed_set_accuracy",
    "embedding_geometry",
    "evaluate_embeddings",
    "higher_is_better",
    "metric_names",
    "norm_statistics",
    "parse_metric",
    "per_class_scores",
    "spectrum",
]
