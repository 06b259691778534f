"""Classification losses written again as loops over samples and classes, from the papers, in Python floats."""

import math

import numpy as np

NAIVE = {}


def naive(name):
    def file(function):
        NAIVE[name] = function
        return function

    return file


def values(loss):
    """Return the hyperparameters as floats."""
    return {name: float(getattr(loss, name)) for name in loss.hyperparameters}


def weights(loss):
    return loss.class_weights.detach().numpy()


def bias(loss):
    return loss.bias.detach().numpy()


def norm(v):
    return math.sqrt(sum(float(a) * float(a) for a in v))


def cosine(a, b):
    return float(np.dot(a, b)) / (norm(a) * norm(b))


def cross_entropy(logits, y):
    top = max(logits)
    return math.log(sum(math.exp(z - top) for z in logits)) + top - logits[y]


def mean(numbers):
    return math.fsum(numbers) / len(numbers)


def over_batch(x, y, logits_of):
    """Return the mean cross-entropy of ``logits_of(sample, label) → list of logits``."""
    return mean([cross_entropy(logits_of(v, int(t)), int(t)) for v, t in zip(x, y)])


def cosine_margin(loss, x, y, scale, change):
    """Return the mean cross-entropy with the target's angle mapped by ``change(θ) → similarity``."""

    def logits(v, t):
        angles = [math.acos(max(-1.0, min(1.0, cosine(v, w)))) for w in weights(loss)]
        return [scale * (change(a) if j == t else math.cos(a)) for j, a in enumerate(angles)]

    return over_batch(x, y, logits)


def psi(theta, m):
    k = math.floor(m * theta / math.pi)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def arc(theta, m):
    return math.cos(theta + m) if theta < math.pi - m else math.cos(theta) - m * math.sin(m)


@naive("softmax")
def softmax(loss, x, y, noise):
    return over_batch(x, y, lambda v, t: [float(np.dot(v, w)) + float(b) for w, b in zip(weights(loss), bias(loss))])


@naive("modified_softmax")
def modified_softmax(loss, x, y, noise):
    return over_batch(x, y, lambda v, t: [norm(v) * cosine(v, w) for w in weights(loss)])


def eased_or_arc(loss):
    """Return the target's similarity as a function of (θ, m)."""
    easy = lambda theta, m: math.cos(theta + m) if theta < math.pi / 2 else math.cos(theta)  # noqa: E731 - one formula
    return easy if loss.easy_margin else arc


@naive("normface")
def normface(loss, x, y, noise):
    learned = loss.learn_scale and max(float(loss.learned_scale.detach()), 0.01)
    return cosine_margin(loss, x, y, learned or values(loss)["scale"], math.cos)


@naive("l2_softmax")
def l2_softmax(loss, x, y, noise):
    alpha = max(float(loss.learned_alpha.detach()), 0.01) if loss.learn_alpha else values(loss)["alpha"]
    pairs = list(zip(weights(loss), bias(loss)))
    return over_batch(x, y, lambda v, t: [float(np.dot(alpha * v / norm(v), w)) + float(b) for w, b in pairs])


def annealed_lambda(loss):
    """Return λ of the schedule that the option names, at the loss's progress."""
    minimum, progress = float(loss.lambda_min), float(loss.progress)
    if loss.annealing == "none":
        return minimum
    base, gamma, power, iterations = {
        "l_softmax_mnist": (1000, 2.5e-5, 35, 30_000),
        "sphereface20": (1000, 0.12, 1, 28_000),
    }[loss.annealing]
    return max(minimum, base * (1 + gamma * iterations * progress) ** -power)


@naive("l_softmax")
def l_softmax(loss, x, y, noise):
    h, lam = values(loss), annealed_lambda(loss)

    def logits(v, t):
        out = []
        for j, w in enumerate(weights(loss)):
            theta, size = math.acos(cosine(v, w)), norm(v) * norm(w)
            changed = (lam * math.cos(theta) + psi(theta, h["margin"])) / (1 + lam)
            out.append(size * (changed if j == t else math.cos(theta)))
        return out

    return over_batch(x, y, logits)


@naive("sphereface")
def sphereface(loss, x, y, noise):
    h, lam = values(loss), annealed_lambda(loss)

    def logits(v, t):
        out = []
        for j, w in enumerate(weights(loss)):
            theta = math.acos(cosine(v, w))
            changed = (lam * math.cos(theta) + psi(theta, h["margin"])) / (1 + lam)
            out.append(norm(v) * (changed if j == t else math.cos(theta)))
        return out

    return over_batch(x, y, logits)


@naive("sphereface_fnorm")
def sphereface_fnorm(loss, x, y, noise):
    h, lam = values(loss), annealed_lambda(loss)
    change = lambda theta: (lam * math.cos(theta) + psi(theta, h["margin"])) / (1 + lam)  # noqa: E731 - one formula
    return cosine_margin(loss, x, y, h["scale"], change)


@naive("sphereface_r")
def sphereface_r(loss, x, y, noise):
    h = values(loss)
    return cosine_margin(loss, x, y, h["scale"], lambda theta: psi(theta, h["margin"]))


@naive("sphereface2")
def sphereface2(loss, x, y, noise):
    h, b = values(loss), float(bias(loss))
    total = []
    for v, t in zip(x, y):
        for j, w in enumerate(weights(loss)):
            g = 2 * ((cosine(v, w) + 1) / 2) ** h["t"] - 1
            a = h["scale"] * (g - h["margin"] * (1 if j == t else -1)) + b
            z = a if j == t else -a  # binary cross-entropy is log(1 + e^−z)
            entropy = math.log1p(math.exp(-z)) if z > -30 else -z
            total.append((h["alpha"] if j == t else 1 - h["alpha"]) * entropy)
    return math.fsum(total) / len(y)


@naive("cosface")
def cosface(loss, x, y, noise):
    h = values(loss)
    return cosine_margin(loss, x, y, h["scale"], lambda theta: math.cos(theta) - h["margin"])


@naive("arcface")
def arcface(loss, x, y, noise):
    h, moved = values(loss), eased_or_arc(loss)
    return cosine_margin(loss, x, y, h["scale"], lambda theta: moved(theta, h["margin"]))


@naive("combined_margin")
def combined_margin(loss, x, y, noise):
    h = values(loss)
    return cosine_margin(loss, x, y, h["scale"], lambda theta: math.cos(h["m1"] * theta + h["m2"]) - h["m3"])


@naive("heated_up_softmax")
def heated_up_softmax(loss, x, y, noise):
    h = values(loss)
    scale = h["start"] if float(loss.progress) < 1 - h["tail"] else h["start"] * h["factor"]
    return cosine_margin(loss, x, y, scale, math.cos)


@naive("focal")
def focal(loss, x, y, noise):
    h = values(loss)
    each = []
    for v, t in zip(x, y):
        logits = [float(np.dot(v, w)) + float(b) for w, b in zip(weights(loss), bias(loss))]
        p = math.exp(-cross_entropy(logits, int(t)))
        each.append(-h["alpha"] * (1 - p) ** h["gamma"] * math.log(p))
    return mean(each)


@naive("ccl")
def ccl(loss, x, y, noise):
    o, sigma = loss.mean.numpy(), np.sqrt(loss.variance.numpy())

    def logits(v, t):
        phi = (v - o) / sigma
        return [norm(phi) * cosine(phi, w) for w in weights(loss)]

    return over_batch(x, y, logits)


@naive("deepvisage")
def deepvisage(loss, x, y, noise):
    o, sigma = loss.mean.numpy(), np.sqrt(loss.variance.numpy() + 1e-5)
    pairs = list(zip(weights(loss), bias(loss)))
    return over_batch(x, y, lambda v, t: [float(np.dot((v - o) / sigma, w)) + float(b) for w, b in pairs])


@naive("noise_resistant_softmax")
def noise_resistant_softmax(loss, x, y, noise):
    h, moved, each = values(loss), eased_or_arc(loss), []
    for v, t in zip(x, y):
        cosines = [cosine(v, w) for w in weights(loss)]
        logits = [h["scale"] * (moved(math.acos(c), h["margin"]) if j == t else c) for j, c in enumerate(cosines)]
        seen = logits if loss.pseudo_label == "after_margin" else cosines
        guess = max(range(len(seen)), key=seen.__getitem__)
        each.append(h["beta"] * cross_entropy(logits, int(t)) + (1 - h["beta"]) * cross_entropy(logits, guess))
    return mean(each)


@naive("dispersion_term")
def dispersion_term(loss, x, y, noise):
    present, means = sorted(set(y.tolist())), []
    for c in present:
        rows = [v / norm(v) for v, t in zip(x, y) if t == c]
        means.append(sum(rows) / len(rows))
    squares = [cosine(a, b) ** 2 for i, a in enumerate(means) for j, b in enumerate(means) if i != j]
    return values(loss)["weight"] * math.fsum(squares) / len(present) ** 2


@naive("subcenter_arcface")
def subcenter_arcface(loss, x, y, noise):
    h, moved = values(loss), eased_or_arc(loss)

    def logits(v, t):
        best = [max(cosine(v, center) for center in centers) for centers in weights(loss)]
        return [h["scale"] * (moved(math.acos(c), h["margin"]) if j == t else c) for j, c in enumerate(best)]

    return over_batch(x, y, logits)


@naive("subcenter_arcface_drop")
def subcenter_arcface_drop(loss, x, y, noise):
    h, kept = values(loss), []
    for row, (v, t) in enumerate(zip(x, y)):
        counts = [float(n) for n in loss.assigned[t]]
        dominant = weights(loss)[t][counts.index(max(counts))]
        if float(loss.progress) < h["start"] or cosine(v, dominant) > math.cos(h["angle"]):
            kept.append(row)
    return subcenter_arcface(loss, x[kept], y[kept], noise) if kept else 0.0


@naive("adacos")
def adacos(loss, x, y, noise):
    return cosine_margin(loss, x, y, float(loss.scale), math.cos)


@naive("curricularface")
def curricularface(loss, x, y, noise):
    h, curriculum, moved = values(loss), float(loss.curriculum), eased_or_arc(loss)

    def logits(v, t):
        cosines = [cosine(v, w) for w in weights(loss)]
        limit = math.cos(math.acos(cosines[t]) + h["margin"])
        out = [c * (curriculum + c) if c > limit else c for c in cosines]
        out[t] = moved(math.acos(cosines[t]), h["margin"])
        return [h["scale"] * c for c in out]

    return over_batch(x, y, logits)


@naive("magface")
def magface(loss, x, y, noise):
    h, moved, each = values(loss), eased_or_arc(loss), []
    shrunk = math.sqrt(loss.embedding_dim / 512)
    low, high = 10 * shrunk, 110 * shrunk
    for v, t in zip(x, y):
        a = min(max(norm(v), low), high)
        m = h["lower_margin"] + (h["upper_margin"] - h["lower_margin"]) * (a - low) / (high - low)
        cosines = [cosine(v, w) for w in weights(loss)]
        logits = [h["scale"] * (moved(math.acos(c), m) if j == t else c) for j, c in enumerate(cosines)]
        each.append(cross_entropy(logits, int(t)) + h["weight"] * shrunk * (a / high**2 + 1 / a))
    return mean(each)


@naive("adaface")
def adaface(loss, x, y, noise):
    h, each = values(loss), []
    mu, sigma = float(loss.mean_norm), float(loss.norm_deviation)
    for v, t in zip(x, y):
        size = min(max(norm(v), 0.001), 100)
        z = min(max(h["h"] * (size - mu) / (sigma + 1e-3), -1), 1)
        cosines = [cosine(v, w) for w in weights(loss)]
        theta = math.acos(min(max(cosines[int(t)], -0.999), 0.999)) - h["margin"] * z
        target = math.cos(min(max(theta, 0.001), math.pi - 0.001)) - (h["margin"] + h["margin"] * z)
        each.append(cross_entropy([h["scale"] * (target if j == t else c) for j, c in enumerate(cosines)], int(t)))
    return mean(each)


@naive("center_term")
def center_term(loss, x, y, noise):
    centers = loss.centers.numpy()
    return values(loss)["weight"] / 2 * mean([norm(v - centers[t]) ** 2 for v, t in zip(x, y)])


@naive("ring_term")
def ring_term(loss, x, y, noise):
    radius = float(loss.start) + float(loss.offset.detach())
    return values(loss)["weight"] / (2 * len(y)) * math.fsum((norm(v) - radius) ** 2 for v in x)


def up_penalty(counts, class_weights, weight):
    """Return λ/|C_l| Σ (‖w_k‖² − ᾱ)²."""
    few = [k for k in range(len(counts)) if counts[k] < 0.5 * float(np.median(counts))]
    squares = [norm(w) ** 2 for w in class_weights]
    level = mean([squares[k] for k in range(len(counts)) if k not in few])
    return weight / len(few) * math.fsum((squares[k] - level) ** 2 for k in few) if few else 0.0


@naive("center")
@naive("ring")
@naive("up_softmax")
@naive("deepid2")
def named_sum(loss, x, y, noise):
    """Return softmax plus the second term, which weighs itself or is weighted by the sum."""
    from .naive_pairs import NAIVE as PAIRS  # it imports this module

    first, second = loss.terms
    head = softmax(first, x, y, noise)
    name = second.spec.name
    if name == "up_term":
        return head + up_penalty(second.class_counts.tolist(), weights(first), values(second)["weight"])
    factor = float(loss.term_weight_1)
    return head + factor * {**NAIVE, **PAIRS}[name](second, x, y, noise)
