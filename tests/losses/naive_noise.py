"""Losses for wrong labels, written again as loops, from the papers, in Python floats."""

import math

from .naive_heads import bias, cosine, cross_entropy, mean, values, weights

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


def sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


@naive("generalised_cross_entropy")
def generalised_cross_entropy(loss, x, y, noise):
    q, each = values(loss)["q"], []
    for v, t in zip(x, y):
        logits = [float(v @ w) + float(b) for w, b in zip(weights(loss), bias(loss))]
        each.append((1 - math.exp(-cross_entropy(logits, int(t))) ** q) / q)
    return mean(each)


@naive("sface")
def sface(loss, x, y, noise):
    h, each = values(loss), []
    for v, t in zip(x, y):
        for j, w in enumerate(weights(loss)):
            c = cosine(v, w)
            theta = math.acos(c)
            r = -sigmoid(h["k"] * (theta - h["a"])) if j == t else sigmoid(h["k"] * (h["b"] - theta))
            each.append(r * h["scale"] * c)
    return math.fsum(each) / len(y)
