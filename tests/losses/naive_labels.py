"""Losses of hierarchies and of sets of labels, written again as loops over samples, in Python floats.

Labels are classes ``(B,)`` or ``(B, L)``: levels, the class first, or sets of 0 and 1.
"""

import math

from .naive_heads import cosine, mean, norm, values
from .naive_pairs import active_mean, average, logsumexp

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


def levels(y):
    return [tuple(int(v) for v in row) for row in (y if y.ndim == 2 else y[:, None])]


def ancestors(row, level):
    """Return what a sample is called at a level: its group there, and the groups which that lies in."""
    return row[level:]


@naive("hierarchical_supcon")
def hierarchical_supcon(loss, x, y, noise):
    t, rows = values(loss)["temperature"], levels(y)
    kept, worst, total = list(range(len(rows))), -math.inf, 0.0
    for level in range(len(rows[0])):
        each = []
        for a in kept:
            others = [k for k in kept if k != a]
            everyone = logsumexp([cosine(x[a], x[k]) / t for k in others])
            mine = [k for k in others if ancestors(rows[k], level) == ancestors(rows[a], level)]
            if mine:
                each.append(mean([everyone - cosine(x[a], x[p]) / t for p in mine]))
        value = average(each)
        worst = max(worst, value) if loss.constraint else value
        total += math.exp(1 / (level + 1)) * worst
        found = {}
        for a in sorted(kept, key=lambda a: (rows[a][level - 1] if level else 0, a)):
            found.setdefault(ancestors(rows[a], level), a)
        kept = sorted(found.values())
    return total / len(rows[0])


@naive("hierarchical_triplet")
def hierarchical_triplet(loss, x, y, noise):
    m, rows = values(loss)["margin"], levels(y)
    unit = [v / norm(v) if loss.normalize else v for v in x]
    d = [[norm(a - b) for b in unit] for a in unit]
    depth, count = len(rows[0]), range(len(rows))

    def apart(a, b):
        return next((lv for lv in range(depth) if ancestors(rows[a], lv) == ancestors(rows[b], lv)), depth)

    hinges = []
    for a in count:
        others = [k for k in count if k != a]
        hinges += [
            d[a][p] - d[a][n] + m * (apart(a, n) - apart(a, p))
            for p in others
            for n in others
            if apart(a, p) < apart(a, n)
        ]
    return active_mean(hinges)


@naive("multi_supcon")
def multi_supcon(loss, x, y, noise):
    h = values(loss)
    sets = [{c for c, v in enumerate(row) if v} for row in y] if y.ndim == 2 else [{int(c)} for c in y]
    each = []
    for a, own in enumerate(sets):
        others = [k for k in range(len(sets)) if k != a]
        everyone = logsumexp([cosine(x[a], x[k]) / h["temperature"] for k in others])
        share = {k: len(own & sets[k]) / len(own | sets[k]) if own & sets[k] else 0.0 for k in others}
        mine = [k for k in others if share[k] and share[k] >= h["threshold"]]
        if mine:
            each.append(mean([share[p] * (everyone - cosine(x[a], x[p]) / h["temperature"]) for p in mine]))
    return average(each)
