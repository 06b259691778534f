"""Losses for faces, written again as loops over samples and classes, from the papers, in Python floats."""

import math
from statistics import NormalDist

from .naive_heads import arc, cosine, cross_entropy, eased_or_arc, mean, norm, values, weights
from .naive_long_tail import counts

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


def log1p_exp(z):
    return z + math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z))


def with_target(loss, v, t, target):
    """Return s times the cosines of one sample, the own one replaced by ``target(θ)``."""
    cosines = [cosine(v, w) for w in weights(loss)]
    return [values(loss)["scale"] * (target(math.acos(c)) if j == t else c) for j, c in enumerate(cosines)]


@naive("elastic_arcface")
@naive("elastic_cosface")
def elastic(loss, x, y, noise):
    h = values(loss)
    drawn = [h["margin"] + h["deviation"] * NormalDist().inv_cdf(min(max(float(u), 1e-6), 1 - 1e-6)) for u in noise[0]]
    if loss.plus:
        near = sorted(range(len(y)), key=lambda i: -cosine(x[i], weights(loss)[y[i]]))
        by_size = sorted(drawn)
        drawn = [by_size[near.index(i)] for i in range(len(y))]
    arcs = loss.spec.name == "elastic_arcface"
    each = []
    for v, t, m in zip(x, y, drawn):
        move = (lambda a, m=m: math.cos(a + m)) if arcs else (lambda a, m=m: math.cos(a) - m)
        each.append(cross_entropy(with_target(loss, v, int(t), move), int(t)))
    return mean(each)


@naive("uniface")
def uniface(loss, x, y, noise):
    h, b, each = values(loss), float(loss.bias.detach()), []
    for v, t in zip(x, y):
        s = [h["scale"] * cosine(v, w) for w in weights(loss)]
        push = math.fsum(log1p_exp(z - b) for j, z in enumerate(s) if j != t)
        each.append(log1p_exp(b - (s[t] - h["scale"] * h["margin"])) + h["weight"] * push)
    return mean(each)


@naive("dynamic_arcface")
def dynamic_arcface(loss, x, y, noise):
    h = values(loss)
    margins = [h["a"] * n ** -h["decay"] + h["b"] for n in counts(loss)]
    logits = [with_target(loss, v, int(t), lambda a, t=t: arc(a, margins[t])) for v, t in zip(x, y)]
    return mean([cross_entropy(row, int(t)) for row, t in zip(logits, y)])


@naive("p2sgrad")
def p2sgrad(loss, x, y, noise):
    return mean(
        [math.fsum((cosine(v, w) - (j == t)) ** 2 for j, w in enumerate(weights(loss))) / 2 for v, t in zip(x, y)]
    )


@naive("vpl")
def vpl(loss, x, y, noise):
    h, mixed = values(loss), []
    moved = eased_or_arc(loss)
    for w, f, stamp in zip(weights(loss), loss.memory.numpy(), loss.stamp.tolist()):
        fresh = float(loss.steps) - stamp <= h["window"] and float(loss.progress) >= h["start"]
        share = h["share"] if fresh else 0.0
        mixed.append((1 - share) * w / norm(w) + share * f)
    logits = []
    for v, t in zip(x, y):
        angles = [math.acos(cosine(v, w)) for w in mixed]
        logits.append([h["scale"] * (moved(a, h["margin"]) if j == t else math.cos(a)) for j, a in enumerate(angles)])
    return mean([cross_entropy(row, int(t)) for row, t in zip(logits, y)])


@naive("qcface")
def qcface(loss, x, y, noise):
    h, each = values(loss), []
    low, u = h["lower_norm"], h["upper_norm"]
    k = (((low + u) / 2 / low) ** 2 - 1) / (1 - ((low + u) / 2 / u) ** 2)
    for v, t in zip(x, y):
        p = math.exp(-cross_entropy([h["scale"] * cosine(v, w) for w in weights(loss)], int(t)))
        ease = lambda a: math.cos(a + h["margin"]) if a < math.pi / 2 else math.cos(a)  # noqa: E731 - one formula
        each.append(cross_entropy(with_target(loss, v, int(t), ease), int(t)))
        best = math.sqrt(((k - 1) * p + 1) / ((k / u**2 - 1 / low**2) * p + 1 / low**2 + 1e-3))
        n = norm(v) / math.sqrt(loss.embedding_dim / 512)
        if float(loss.progress) >= h["start"]:
            cost = [k * p * (1 / (z + 1e-3) + z / u**2) + (1 - p) * (1 / (z + 1e-3) + z / low**2) for z in (n, best)]
            each[-1] += h["weight"] * (cost[0] - cost[1])
    return mean(each)


@naive("kappaface")
def kappaface(loss, x, y, noise):
    h, n = values(loss), counts(loss)
    r = [min(norm(row), 0.9999) for row in loss.direction.numpy()]
    kappa = [z * (loss.embedding_dim - z * z) / (1 - z * z) for z in r]
    deviation = math.sqrt(math.fsum((k - mean(kappa)) ** 2 for k in kappa) / (len(kappa) - 1))
    psi = []
    for k, m in zip(kappa, n):
        spread = 1 - 1 / (1 + math.exp(-h["sharpness"] * (k - mean(kappa)) / deviation))
        psi.append(h["gamma"] * spread + (1 - h["gamma"]) * (math.cos(math.pi * m / (1.05 * max(n))) + 1) / 2)
    logits = [with_target(loss, v, int(t), lambda a, t=t: math.cos(a + h["margin"] * psi[t])) for v, t in zip(x, y)]
    return mean([cross_entropy(row, int(t)) for row, t in zip(logits, y)])


@naive("unitsface")
def unitsface(loss, x, y, noise):
    h, each = values(loss), []
    b = float(loss.first) + float(loss.offset.detach())
    known = [bool(s) and float(loss.progress) >= h["start"] for s in loss.seen]
    for v, t in zip(x, y):
        each.append(cross_entropy(with_target(loss, v, int(t), lambda a: math.cos(a) - h["margin"]), int(t)))
        for j, f in enumerate(loss.memory.numpy()):
            s = h["scale"] * cosine(v, f)
            if known[j]:
                each[-1] += log1p_exp(b - (s - h["scale"] * h["sample_margin"])) if j == t else log1p_exp(s - b)
    return mean(each)
