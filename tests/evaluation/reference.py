"""Metrics once more, from their definitions, in plain Python loops: slow, short and independent of the package."""

import math


def cosine(x, y):
    dot = sum(a * b for a, b in zip(x, y))
    norms = math.sqrt(sum(a * a for a in x)) * math.sqrt(sum(b * b for b in y))
    return round(dot / norms, 9) if norms else 0.0  # ties of the test data survive the rounding


def ranking(i, vectors, labels, gallery):
    """Whether each neighbour shares the class, best first; among ties the negatives come first."""
    others = [(-cosine(vectors[i], vectors[j]), labels[i] == labels[j]) for j in gallery if j != i]
    return [same for _, same in sorted(others)]


def retrieval(name, k, vectors, labels, query=None, gallery=None):
    query = range(len(labels)) if query is None else query
    gallery = range(len(labels)) if gallery is None else gallery
    scores = {}
    for i in query:
        hits = ranking(i, vectors, labels, gallery)
        r = sum(hits)
        if r == 0:
            continue
        if name == "recall_at":
            scores[i] = float(any(hits[:k]))
        elif name == "precision_at":
            scores[i] = sum(hits[:k]) / k
        elif name == "r_precision":
            scores[i] = sum(hits[:r]) / r
        elif name == "map_at_r":
            scores[i] = sum(sum(hits[: p + 1]) / (p + 1) for p in range(r) if hits[p]) / r
        elif name == "mrr":
            scores[i] = 1 / (hits.index(True) + 1)
    return scores


def pairs(vectors, labels):
    n = len(labels)
    return [(cosine(vectors[i], vectors[j]), labels[i] == labels[j]) for i in range(n) for j in range(i + 1, n)]


def auc(pairs):
    positive, negative = [s for s, same in pairs if same], [s for s, same in pairs if not same]
    wins = sum((p > q) + 0.5 * (p == q) for p in positive for q in negative)
    return wins / (len(positive) * len(negative))


def tar_at_far(pairs, far):
    positive, negative = [s for s, same in pairs if same], [s for s, same in pairs if not same]
    if len(negative) * far < 1 - 1e-9:
        return math.nan
    best = 0.0
    for t in {s for s, _ in pairs}:
        if sum(s >= t for s in negative) <= far * len(negative) + 1e-9:
            best = max(best, sum(s >= t for s in positive) / len(positive))
    return best


def rank_k(k, vectors, labels, query, gallery):
    hits = []
    for i in query:
        best = {}
        for j in gallery:
            if j != i:
                best[labels[j]] = max(best.get(labels[j], -2), cosine(vectors[i], vectors[j]))
        if labels[i] in best:
            rank = 1 + sum(s >= best[labels[i]] for c, s in best.items() if c != labels[i])
            hits.append(rank <= k)
    return sum(hits) / len(hits)
