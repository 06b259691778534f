"""Clustering: how well k-means on the unit vectors finds the classes again (NMI, AMI, ARI, by scikit-learn)."""

from __future__ import annotations

from collections.abc import Sequence

from mlcompare.evaluation.inputs import Samples
from mlcompare.metrics import Metric

__all__ = ["clustering_scores"]


def clustering_scores(samples: Samples, metrics: Sequence[Metric], *, seed: int = 0) -> dict[str, float]:
    """Cluster into as many groups as there are classes and score the agreement.

    NMI (arithmetic mean of the entropies) rises with the number of clusters whatever the embedding; AMI and ARI are
    corrected for chance (Vinh et al. 2010; Hubert & Arabie 1985), 0 meaning chance and 1 a perfect match.

    Args:
        seed: of the three k-means++ starts, of which the tightest is taken.
    """
    from sklearn.cluster import KMeans  # here: it takes a second to load, and few studies ask for these scores
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

    scores = {"nmi": normalized_mutual_info_score, "ami": adjusted_mutual_info_score, "ari": adjusted_rand_score}
    codes = samples.codes.cpu().numpy()
    groups = KMeans(len(samples.classes), n_init=3, random_state=seed).fit_predict(
        samples.vectors.float().cpu().numpy()
    )
    return {metric.name: float(scores[metric.stem](codes, groups)) for metric in metrics}
