"""Losses for retrieval, written again as loops over pairs and lists, from the papers, in Python floats."""

import math

from .naive_heads import cross_entropy, mean, norm, values, weights
from .naive_pairs import Batch, average, logsumexp

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


def sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


def log1p_exp(z):
    return z + math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z))


def lists(loss, b):
    """Return for each anchor what its list holds, and the relevant of it."""
    own = [[a] if loss.query == "counted" else [] for a in b.anchors]
    return [(own[a] + [j for j in b.anchors if j != a], own[a] + b.p[a]) for a in b.anchors]


@naive("sigmoid_pair")
def sigmoid_pair(loss, x, y, noise):
    h, b = values(loss), Batch(loss, x, y)
    t, shift = h["scale"], h["bias"]
    if loss.learn:
        t, shift = t * math.exp(float(loss.log_growth.detach())), shift + float(loss.shift.detach())
    costs = [
        log1p_exp(-(1 if y[a] == y[j] else -1) * (t * b.s[a][j] + shift)) for a in b.anchors for j in b.p[a] + b.n[a]
    ]
    return math.fsum(costs) / len(y)


@naive("decoupled_contrastive")
def decoupled_contrastive(loss, x, y, noise):
    h, b = values(loss), Batch(loss, x, y)
    pairs = [(a, p) for a, p in b.pairs if b.n[a]]
    total = logsumexp([b.s[a][p] / h["sigma"] for a, p in pairs])
    each = []
    for a, p in pairs:
        w = 2 - len(pairs) * math.exp(b.s[a][p] / h["sigma"] - total) if loss.weighted else 1
        push = logsumexp([b.s[a][n] / h["temperature"] for n in b.n[a]])
        each.append(push - w * b.s[a][p] / h["temperature"])
    return average(each)


@naive("smooth_ap")
def smooth_ap(loss, x, y, noise):
    t, b, each = values(loss)["temperature"], Batch(loss, x, y), []
    for a, (everyone, relevant) in enumerate(lists(loss, b)):
        rank = lambda p, among, a=a: 1 + math.fsum(sigmoid((b.s[a][j] - b.s[a][p]) / t) for j in among if j != p)  # noqa: E731
        if relevant:
            each.append(1 - mean([rank(p, relevant) / rank(p, everyone) for p in relevant]))
    return average(each)


@naive("recall_at_k")
def recall_at_k(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    t = h["temperature"]
    for a, (everyone, _) in enumerate(lists(loss, b)):
        if not b.p[a] or not b.n[a]:
            continue
        ranks = [1 + math.fsum(sigmoid((b.s[a][j] - b.s[a][p]) / t) for j in everyone if j != p) for p in b.p[a]]
        for k in (min(k, len(y)) for k in (1, 2, 4, 8, 16)):
            hits = math.fsum(sigmoid((k - r) / h["rank_temperature"]) for r in ranks)
            each.append(1 - min(hits, k) / min(k, len(b.p[a])))
    return average(each)


def sides(b, high, low):
    """Return the means of the active [m⁺ − s]₊ of positive pairs and [s − m⁻]₊ of negative ones, added."""
    positives = [high - b.s[a][p] for a in b.anchors for p in b.p[a] if b.s[a][p] < high]
    negatives = [b.s[a][n] - low for a in b.anchors for n in b.n[a] if b.s[a][n] > low]
    return average(positives) + average(negatives)


@naive("threshold_consistent_term")
def threshold_consistent_term(loss, x, y, noise):
    h = values(loss)
    return h["weight"] * sides(Batch(loss, x, y), h["positive_margin"], h["negative_margin"])


@naive("roadmap")
def roadmap(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    t, rho, delta = h["temperature"], h["slope"], h["width"]

    def step(gap):
        if gap > delta:
            return rho * (gap - delta) + sigmoid(delta / t) + 0.5
        return sigmoid(gap / t) + (0.5 if gap > 0 else 0)

    for a, (_, relevant) in enumerate(lists(loss, b)):
        shares = []
        for p in relevant:
            own = 1 + sum(b.s[a][q] >= b.s[a][p] for q in relevant if q != p)
            shares.append(own / (own + math.fsum(step(b.s[a][n] - b.s[a][p]) for n in b.n[a])))
        if relevant:
            each.append(1 - mean(shares))
    calibration = sides(b, h["positive_margin"], h["negative_margin"])
    return (1 - h["weight"]) * average(each) + h["weight"] * calibration


@naive("ranked_list")
def ranked_list(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    edge = h["alpha"] - h["margin"]
    for a in b.anchors:
        far = [b.d[a][p] - edge for p in b.p[a] if b.d[a][p] > edge]
        near = [h["alpha"] - b.d[a][n] for n in b.n[a] if b.d[a][n] < h["alpha"]]
        total = 0.0
        for gaps, sharpness, share in (
            (far, h["positive_sharpness"], 1 - h["weight"]),
            (near, h["negative_sharpness"], h["weight"]),
        ):
            w = [math.exp(sharpness * g) for g in gaps]
            total += share * math.fsum(v * g for v, g in zip(w, gaps)) / math.fsum(w) if gaps else 0.0
        each.append(total)
    return mean(each)


@naive("tuplet_margin")
def tuplet_margin(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    for a, p in b.pairs:
        eased = math.cos(math.acos(min(b.s[a][p], 1.0)) - h["margin"])
        each.append(logsumexp([0.0, *(h["scale"] * (b.s[a][n] - eased) for n in b.n[a])]))
    return average(each)


@naive("selective_contrastive_triplet")
def selective_contrastive_triplet(loss, x, y, noise):
    h, b, each = values(loss), Batch(loss, x, y), []
    for a in b.sided:
        positives = [b.s[a][p] for p in b.p[a] if b.s[a][p] <= 0.9999]
        if positives:
            gap, negative = max(b.s[a][n] for n in b.n[a]) - max(positives), max(b.s[a][n] for n in b.n[a])
            hard = gap > 0 or negative > h["limit"]
            each.append(h["weight"] * negative if hard else log1p_exp(gap / h["temperature"]))
    return average(each)


@naive("proxy_nca_pp")
def proxy_nca_pp(loss, x, y, noise):
    t, each = values(loss)["temperature"], []
    for v, c in zip(x, y):
        each.append(cross_entropy([-(norm(v / norm(v) - w / norm(w)) ** 2) / t for w in weights(loss)], int(c)))
    return mean(each)


@naive("anti_collapse")
def anti_collapse(loss, x, y, noise):
    h, b = values(loss), Batch(loss, x, y)
    pairs = [(i, j) for i in b.anchors for j in b.anchors if i < j and (loss.pairs == "all" or y[i] != y[j])]
    if not pairs:
        return 0.0
    near = [math.exp(-h["sharpness"] * (2 - 2 * b.s[i][j])) for i, j in pairs]
    return h["weight"] * math.log(math.fsum(near) / len(near))


@naive("hyperbolic")
def hyperbolic(loss, x, y, noise):
    h, b = values(loss), Batch(loss, x, y)
    c, r = h["curvature"], h["radius"]

    def mobius_add(u, v):
        uv, uu, vv = float(u @ v), float(u @ u), float(v @ v)
        return ((1 + 2 * c * uv + c * vv) * u + (1 - c * uu) * v) / (1 + 2 * c * uv + c * c * uu * vv)

    def in_ball(v):
        v = v * min(1.0, r / norm(v))
        return v * (math.tanh(math.sqrt(c) * norm(v)) / (math.sqrt(c) * norm(v)))

    def distance(u, v):
        return 2 / math.sqrt(c) * math.atanh(math.sqrt(c) * norm(mobius_add(-u, v)))

    z = [in_ball(v) for v in x]
    d = [[distance(u, v) for v in z] for u in z]
    return average([cross_entropy([-d[a][k] / h["temperature"] for k in [p, *b.n[a]]], 0) for a, p in b.pairs])
