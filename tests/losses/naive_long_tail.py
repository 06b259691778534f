"""Losses that know the classes' training samples, written again as loops, from the papers, in Python floats."""

import math

from .naive_heads import bias, cosine, cross_entropy, mean, values, weights

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


def counts(loss):
    return [max(int(n), 1) for n in loss.class_counts]


def effective(loss):
    """Return (1 − β)/(1 − β^n) of each class, over their mean."""
    beta = values(loss)["beta"]
    each = [(1 - beta) / (1 - beta**n) for n in counts(loss)]
    return [weight / mean(each) for weight in each]


def linear_logits(loss, v):
    return [float(v @ w) + float(b) for w, b in zip(weights(loss), bias(loss))]


@naive("ldam")
def ldam(loss, x, y, noise):
    h, n = values(loss), counts(loss)
    late = loss.reweighting == "deferred" and float(loss.progress) >= h["start"]
    share, each, total = effective(loss), [], []
    for v, t in zip(x, y):
        margin = h["margin"] * (min(n) / n[t]) ** 0.25
        logits = [h["scale"] * (cosine(v, w) - (margin if j == t else 0)) for j, w in enumerate(weights(loss))]
        total.append(share[t] if late else 1.0)
        each.append(total[-1] * cross_entropy(logits, int(t)))
    return math.fsum(each) / math.fsum(total)


@naive("logit_adjusted_softmax")
def logit_adjusted_softmax(loss, x, y, noise):
    tau, n = values(loss)["tau"], counts(loss)
    prior = [tau * math.log(k / sum(n)) for k in n]
    return mean([cross_entropy([z + p for z, p in zip(linear_logits(loss, v), prior)], int(t)) for v, t in zip(x, y)])


@naive("class_balanced_softmax")
def class_balanced_softmax(loss, x, y, noise):
    share = effective(loss)
    return mean([share[t] * cross_entropy(linear_logits(loss, v), int(t)) for v, t in zip(x, y)])
