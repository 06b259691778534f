"""Losses for faces, written again as loops over samples and classes, from the papers, in Python floats."""

import math
from statistics import NormalDist

from .naive_heads import arc, cosine, cross_entropy, mean, values, weights
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
