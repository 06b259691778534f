"""Pair, triplet and proxy losses written again as loops over pairs and triplets, in Python floats."""

import math

import numpy as np

from .naive_heads import cosine, cross_entropy, mean, norm, values, weights

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


class Batch:
    """Distances and index lists of one batch."""

    def __init__(self, loss, x, y, normalized=True):
        rows = [v / norm(v) for v in x] if normalized and getattr(loss, "normalize", True) else list(x)
        self.d = [[norm(a - b) for b in rows] for a in rows]
        self.s = [[cosine(a, b) for b in x] for a in x]
        self.anchors = range(len(y))
        self.p = [[j for j in self.anchors if j != a and y[j] == y[a]] for a in self.anchors]
        self.n = [[j for j in self.anchors if y[j] != y[a]] for a in self.anchors]
        self.pairs = [(a, p) for a in self.anchors for p in self.p[a]]
        self.triplets = [(a, p, n) for a, p in self.pairs for n in self.n[a]]
        self.sided = [a for a in self.anchors if self.p[a] and self.n[a]]


def average(numbers):
    return mean(numbers) if numbers else 0.0


def active_mean(numbers):
    return average([v for v in numbers if v > 0])


def logsumexp(numbers):
    if not numbers:
        return -math.inf
    top = max(numbers)
    return top + math.log(math.fsum(math.exp(v - top) for v in numbers))


def log1p_sum_exp(numbers):
    return logsumexp([0.0, *numbers])


def semi_hard(d, a, p, negatives, margin):
    inside = [n for n in negatives if d[a][p] < d[a][n] < d[a][p] + margin]
    return min(inside, key=lambda n: d[a][n]) if inside else max(negatives, key=lambda n: d[a][n])


def log_inverse_density(distance, dim):
    d = max(distance, 0.5)
    return (2 - dim) * math.log(d) - (dim - 3) / 2 * math.log(1 - d * d / 4)


def drawn(batch, a, u, dim, weighted):
    """Return the negative of anchor a whose interval of the cumulated weights holds u."""
    usable = [n for n in batch.n[a] if batch.d[a][n] < 1.4] if weighted else batch.n[a]
    weighted = weighted and bool(usable)
    chosen = usable or batch.n[a]
    logs = [log_inverse_density(batch.d[a][n], dim) if weighted else 0.0 for n in chosen]
    sizes = [math.exp(v - max(logs)) for v in logs]
    reached, target = 0.0, u * math.fsum(sizes)
    for n, size in zip(chosen, sizes):
        reached += size
        if reached > target:
            return n
    return chosen[-1]


def chosen_triplets(loss, batch, dim, noise, margin):
    """Return the triplets that the loss's ``sampling`` keeps."""
    if loss.sampling == "all":
        return batch.triplets
    out = []
    for a, p in batch.pairs:
        if not batch.n[a]:
            continue
        if loss.sampling == "hard":
            n = min(batch.n[a], key=lambda k: batch.d[a][k])
        elif loss.sampling == "semi_hard":
            n = semi_hard(batch.d, a, p, batch.n[a], margin)
        else:
            n = drawn(batch, a, float(noise[a][p]), dim, weighted=loss.sampling == "distance_weighted")
        out.append((a, p, n))
    return out


@naive("contrastive")
def contrastive(loss, x, y, noise):
    h, b = values(loss), Batch(loss, x, y)
    away = [(a, n) for a in b.anchors for n in b.n[a]]
    if loss.sampling != "all":
        away = [(a, n) for a, _, n in chosen_triplets(loss, b, x.shape[1], noise, h["margin"])]
    pull = [0.5 * max(b.d[a][p] - h["positive_margin"], 0) ** 2 for a, p in b.pairs]
    push = [0.5 * max(h["margin"] - b.d[a][n], 0) ** 2 for a, n in away]
    return average(pull) + average(push)


@naive("triplet")
def triplet(loss, x, y, noise):
    m, b = values(loss)["margin"], Batch(loss, x, y)
    chosen = chosen_triplets(loss, b, x.shape[1], noise, m)
    return active_mean([b.d[a][p] - b.d[a][n] + m for a, p, n in chosen])


@naive("triplet_semihard")
def triplet_semihard(loss, x, y, noise):
    m, b = values(loss)["margin"], Batch(loss, x, y)
    squares = [[v * v for v in row] for row in b.d]
    each = []
    for a, p in b.pairs:
        if b.n[a]:
            n = semi_hard(squares, a, p, b.n[a], m)
            each.append(max(squares[a][p] - squares[a][n] + m, 0))
    return average(each)


@naive("trihard")
def trihard(loss, x, y, noise):
    m, b = values(loss)["margin"], Batch(loss, x, y)
    gaps = [max(b.d[a][p] for p in b.p[a]) - min(b.d[a][n] for n in b.n[a]) for a in b.sided]
    if loss.soft_margin:
        return average([math.log1p(math.exp(gap)) for gap in gaps])
    return average([max(m + gap, 0) for gap in gaps])


@naive("lifted_structure")
def lifted_structure(loss, x, y, noise):
    m, b = values(loss)["margin"], Batch(loss, x, y)
    each = []
    for i, j in b.pairs:
        if b.n[i]:
            edges = [math.exp(m - b.d[i][k]) for k in b.n[i]] + [math.exp(m - b.d[j][k]) for k in b.n[j]]
            each.append(max(math.log(math.fsum(edges)) + b.d[i][j], 0) ** 2)
        else:
            each.append(0.0)
    return 0.5 * average(each)


@naive("generalized_lifted_structure")
def generalized_lifted_structure(loss, x, y, noise):
    m, b = values(loss)["margin"], Batch(loss, x, y)
    pull = {a: math.fsum(math.exp(b.d[a][p]) for p in b.p[a]) for a in b.sided}
    push = {a: math.fsum(math.exp(m - b.d[a][n]) for n in b.n[a]) for a in b.sided}
    return average([max(math.log(pull[a]) + math.log(push[a]), 0) for a in b.sided])


@naive("margin_based")
def margin_based(loss, x, y, noise):
    h, b = values(loss), Batch(loss, x, y)
    beta = loss.boundary.detach().tolist()
    hinges, boundaries = [], []
    for a, p, n in chosen_triplets(loss, b, x.shape[1], noise, h["margin"]):
        boundaries.append(beta[y[a]] if loss.per_class else beta[0])
        hinges += [max(h["margin"] + b.d[a][p] - boundaries[-1], 0), max(h["margin"] - (b.d[a][n] - boundaries[-1]), 0)]
    active = len([v for v in hinges if v > 0])
    return (math.fsum(hinges) + h["nu"] * math.fsum(boundaries)) / max(active, 1)


@naive("n_pair")
def n_pair(loss, x, y, noise):
    pairs, each = [], []
    for c in sorted(set(y.tolist())):
        members = sorted((k for k in range(len(y)) if y[k] == c), key=lambda k: noise[0][k])
        if len(members) > 1:
            pairs.append((members[-2], members[-1]))
    for i, (a, _) in enumerate(pairs):
        each.append(cross_entropy([float(np.dot(x[a], x[p])) for _, p in pairs], i))
    return average(each) + values(loss)["weight"] * mean([norm(v) ** 2 for v in x])


@naive("multi_similarity")
def multi_similarity(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    for a in b.anchors:
        p, n = b.p[a], b.n[a]
        if loss.mining:
            p = [k for k in b.p[a] if b.n[a] and b.s[a][k] - h["epsilon"] < max(b.s[a][j] for j in b.n[a])]
            n = [k for k in b.n[a] if b.p[a] and b.s[a][k] + h["epsilon"] > min(b.s[a][j] for j in b.p[a])]
        pull = log1p_sum_exp([-h["alpha"] * (b.s[a][k] - h["base"]) for k in p]) / h["alpha"]
        push = log1p_sum_exp([h["beta"] * (b.s[a][k] - h["base"]) for k in n]) / h["beta"]
        each.append(pull + push)
    return mean(each)


@naive("circle")
def circle(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    m, gamma = h["margin"], h["gamma"]
    for a in b.sided:
        push = logsumexp([gamma * max(b.s[a][n] + m, 0) * (b.s[a][n] - m) for n in b.n[a]])
        pull = logsumexp([-gamma * max(1 + m - b.s[a][p], 0) * (b.s[a][p] - (1 - m)) for p in b.p[a]])
        each.append(log1p_sum_exp([push + pull]))
    return average(each)


@naive("nt_xent")
def nt_xent(loss, x, y, noise):
    t, b = values(loss)["temperature"], Batch(loss, x, y)
    return average([cross_entropy([b.s[a][k] / t for k in [p, *b.n[a]]], 0) for a, p in b.pairs])


@naive("supcon")
def supcon(loss, x, y, noise):
    t, b = values(loss)["temperature"], Batch(loss, x, y)
    each = []
    for a in b.anchors:
        others = [k for k in b.anchors if k != a]
        if b.p[a]:
            each.append(mean([cross_entropy([b.s[a][k] / t for k in others], others.index(p)) for p in b.p[a]]))
    return average(each)


@naive("proxy_nca")
def proxy_nca(loss, x, y, noise):
    s, each = values(loss)["scale"], []
    for v, t in zip(x, y):
        near = [-s * norm(v / norm(v) - w / norm(w)) ** 2 for w in weights(loss)]
        each.append(logsumexp([z for j, z in enumerate(near) if j != t]) - near[t])
    return mean(each)


@naive("proxy_anchor")
def proxy_anchor(loss, x, y, noise):
    h, pull, push = values(loss), [], []
    for c, w in enumerate(weights(loss)):
        own = [cosine(v, w) for v, t in zip(x, y) if t == c]
        other = [cosine(v, w) for v, t in zip(x, y) if t != c]
        if own:
            pull.append(log1p_sum_exp([-h["alpha"] * (s - h["margin"]) for s in own]))
        push.append(log1p_sum_exp([h["alpha"] * (s + h["margin"]) for s in other]))
    return mean(pull) + mean(push)


@naive("soft_triple")
def soft_triple(loss, x, y, noise):
    h, each = values(loss), []
    for v, t in zip(x, y):
        logits = []
        for j, centers in enumerate(weights(loss)):
            s = [cosine(v, w) for w in centers]
            top = max(s)
            q = [math.exp((z - top) / h["gamma"]) for z in s]
            pooled = math.fsum(a * b for a, b in zip(q, s)) / math.fsum(q)
            logits.append(h["scale"] * (pooled - (h["margin"] if j == t else 0)))
        each.append(cross_entropy(logits, int(t)))
    return mean(each)
