"""Wrappers: what a loss becomes with another around it."""

import io
import math
import pickle

import pytest
import torch
import torch._dynamo
from pytorch_metric_learning import losses, miners, reducers
from torch.func import functional_call, grad, stack_module_state, vmap

from mlcompare.errors import InvalidValueError
from mlcompare.losses import Contrastive, Loss, LossEntry, Matryoshka, Memory, Term, Wrapper
from mlcompare.losses.matryoshka import prefix_sizes
from mlcompare.losses.pairing import takes_references
from mlcompare.losses.small_loss import of_single_samples
from mlcompare.registry import WRAPPERS, create_loss, get_spec, list_losses, register_wrapper

from .test_naive import NAIVE

CLASSES, DIM = 3, 8
SIZES = {"num_classes": CLASSES, "embedding_dim": DIM}
MEAN = {"reducer": reducers.MeanReducer()}
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
WEIGHTED = ["softmax", "arcface", "proxy_anchor", "soft_triple", "subcenter_arcface", "sphereface2", "normface"]


REMEMBERED = [  # losses that a memory goes around
    "circle", "contrastive", "decoupled_contrastive", "generalized_lifted_structure", "hyperbolic", "margin_based",
    "multi_similarity", "nt_xent", "sigmoid_pair", "supcon", "trihard", "triplet", "triplet_semihard", "tuplet_margin",
]  # fmt: skip

SINGLE = [  # losses that a small-loss selection goes around
    "softmax", "arcface", "subcenter_arcface", "combined_margin", "cosface", "focal", "generalised_cross_entropy",
    "heated_up_softmax", "l2_softmax", "l_softmax", "magface", "modified_softmax", "noise_resistant_softmax",
    "normface", "p2sgrad", "proxy_nca", "proxy_nca_pp", "qcface", "sface", "soft_triple", "sphereface", "sphereface2",
    "sphereface_fnorm", "sphereface_r", "uniface",
]  # fmt: skip


def rows(seed=0, dtype=torch.float64):
    return torch.randn(len(LABELS), DIM, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def entry_of(wrapper, loss):
    inner = loss if isinstance(loss, str) else LossEntry("sum_" + "_".join(loss), "sum", tuple(Term(n) for n in loss))
    return LossEntry("wrapped", wrapper, (Term(inner),))


def wrapped(wrapper, loss, seed=0, dim=DIM, **values):
    """Build a wrapped loss as a study does."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {**SIZES, "embedding_dim": dim, "class_counts": [3, 2, 3]}
    [(_, built)] = entry_of(wrapper, loss).build(values, generator=generator, **sizes)
    return built


def nested(loss, **values):
    return wrapped("matryoshka", loss, **{"prefixes": "4,2", **values})


def every_wrapped():
    """Return a few losses of each kind in each wrapper, as arguments of :func:`wrapped`."""
    inner = ["softmax", "arcface", "triplet", "center", "margin_based", ("softmax", "anti_collapse"), "proxy_anchor"]
    for loss in inner:
        for heads in ("own", "shared"):
            yield ("matryoshka", loss, {"prefixes": "4,2", "heads": heads})
    for loss in REMEMBERED:
        yield ("memory", loss, {"size": 12})
    for loss in SINGLE[:3]:
        yield ("small_loss", loss, {"forget": 0.4})
    for sampling in ("random", "semi_hard", "hard", "distance_weighted"):
        yield ("memory", "triplet", {"size": 12, "sampling": sampling})


CASES = [pytest.param(*case, id="-".join(map(str, (case[0], case[1], *case[2].values())))) for case in every_wrapped()]


@pytest.mark.parametrize("loss", ["softmax", "arcface", "proxy_anchor", "triplet", "contrastive", "multi_similarity"])
def test_matryoshka_is_the_sum_over_prefixes(loss):
    built, x = nested(loss).double(), rows()
    expected = [NAIVE[loss](part, x[:, : part.embedding_dim].numpy(), LABELS.numpy(), None) for part in built.losses]
    assert [part.embedding_dim for part in built.losses] == [8, 4, 2]
    assert built(x, LABELS).item() == pytest.approx(math.fsum(expected), rel=1e-9)


@pytest.mark.parametrize("loss", WEIGHTED)
def test_shared_heads_are_the_first_columns_of_one_set_of_weights(loss):
    shared, own, x = nested(loss, heads="shared").double(), nested(loss, seed=1).double(), rows()
    weights = dict(shared.losses[0].named_parameters())
    assert {f"losses.0.{name}" for name in weights} == dict(shared.named_parameters()).keys()
    for part in own.losses:
        for name, weight in part.named_parameters():
            whole = weights[name].data
            weight.data.copy_(whole if weight.shape == whole.shape else whole[..., : weight.shape[-1]])
    expected = own(x, LABELS)
    torch.testing.assert_close(shared(x, LABELS), expected, rtol=1e-9, atol=1e-9)
    shared(x, LABELS).backward()
    expected.backward()
    for name, weight in shared.losses[0].named_parameters():
        total = torch.zeros_like(weight)
        for part in own.losses:
            mine = dict(part.named_parameters())[name].grad
            (total if mine.shape == weight.shape else total[..., : mine.shape[-1]]).add_(mine)
        torch.testing.assert_close(weight.grad, total, rtol=1e-9, atol=1e-12)


def test_softmax_is_the_authors_loss_with_both_heads():
    """Matryoshka_CE_Loss over MRL_Linear_Layer: cross-entropies of x[:, :d] @ W_d + b_d, added."""
    x = rows()
    for heads in ("own", "shared"):
        built = nested("softmax", heads=heads).double()
        for name, weight in built.named_parameters():
            if name.endswith("bias"):
                weight.data.copy_(torch.randn(CLASSES, generator=torch.Generator().manual_seed(3)))
        total = 0.0
        for number, size in enumerate((8, 4, 2)):
            head = built.losses[number if heads == "own" else 0]
            logits = x[:, :size] @ head.class_weights[:, :size].T + head.bias
            total += torch.nn.functional.cross_entropy(logits, LABELS).item()
        assert built(x, LABELS).item() == pytest.approx(total, rel=1e-9)


def test_scores_are_those_of_the_whole_embedding():
    built, x = nested("arcface").double(), rows()
    torch.testing.assert_close(built.logits(x), built.losses[0].logits(x))
    assert built.class_weights is built.losses[0].class_weights
    assert nested("triplet").class_weights is None


def test_prefixes():
    assert prefix_sizes(16) == (16, 8)
    assert prefix_sizes(8, "8, 2,2") == (8, 2)
    for dim, prefixes, rule in [
        (15, "halves", "a prefix of 8 or more, got embedding_dim=15; write the sizes"),
        (8, "9", "whole numbers of 1 to the embedding's 8, got prefixes='9'"),
        (8, "0", "whole numbers of 1"),
        (8, "half", "whole numbers of 1"),
        (8, "", "whole numbers of 1"),
        (8, "8", "a size below the embedding's 8"),
    ]:
        with pytest.raises(InvalidValueError, match=rule):
            prefix_sizes(dim, prefixes)


def test_heads_that_are_no_columns_can_not_be_shared():
    class Square(Loss):
        def setup(self, generator):
            self.weights = torch.nn.Parameter(torch.zeros(self.embedding_dim, self.embedding_dim))

    with pytest.raises(InvalidValueError, match=r"weights are columns of the whole .*; write `heads: own`"):
        Matryoshka(lambda dim: Square(embedding_dim=dim), embedding_dim=4, prefixes="2", heads="shared")


@pytest.mark.parametrize(("wrapper", "loss", "values"), [case for case in CASES if "circle" not in case.values])
def test_gradient(wrapper, loss, values):
    built = wrapped(wrapper, loss, **values).double().eval()
    names = [name for name, _ in built.named_parameters()]
    noise = built.draw_noise(len(LABELS), generator=torch.Generator().manual_seed(0))

    def call(x, *weights):
        return functional_call(built, dict(zip(names, weights)), (x, LABELS, noise))

    inputs = (rows().requires_grad_(), *(p.detach().clone().requires_grad_() for p in built.parameters()))
    assert torch.autograd.gradcheck(call, inputs, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize(("wrapper", "loss", "values"), CASES)
def test_degenerate_batches(wrapper, loss, values):
    x = rows(dtype=torch.float32)
    batches = {
        "one class": (x, torch.zeros_like(LABELS)),
        "singletons": (x[:3], torch.arange(3)),
        "one sample": (x[:1], LABELS[:1]),
        "zeros": (torch.zeros_like(x), LABELS),
        "identical": (x[:1].expand_as(x), LABELS),
        "large": (1e4 * x, LABELS),
    }
    for what, (embeddings, labels) in batches.items():
        built = wrapped(wrapper, loss, **values)
        for _ in range(2):  # state of the first batch is there in the second
            embeddings = embeddings.detach().clone().requires_grad_()
            value = built(embeddings, labels)
            value.backward()
            assert torch.isfinite(value), what
            assert torch.isfinite(embeddings.grad).all(), what
            assert all(p.grad is None or torch.isfinite(p.grad).all() for p in built.parameters()), what


@pytest.mark.parametrize(("wrapper", "loss", "values"), CASES)
def test_a_population_is_its_members(wrapper, loss, values):
    members = [wrapped(wrapper, loss, seed=seed, **values) for seed in range(3)]
    steps = [torch.stack([rows(10 * step + seed, torch.float32) for seed in range(3)]) for step in range(3)]
    labels = LABELS.expand(3, -1)
    parameters, buffers = stack_module_state(members)
    buffers = {name: buffer.clone() for name, buffer in buffers.items()}

    def call(parameters, buffers, x, labels, noise):
        return functional_call(members[0], (parameters, buffers), (x, labels, noise))

    for number, x in enumerate(steps):
        draws = [m.draw_noise(8, generator=torch.Generator().manual_seed(number)) for m in members]
        noise = None if draws[0] is None else torch.stack(draws)
        axes = (0, 0, 0, 0, None if noise is None else 0)
        before = {name: buffer.clone() for name, buffer in buffers.items()}
        together = vmap(call, in_dims=axes)(parameters, buffers, x, labels, noise)
        gradients = vmap(grad(call, argnums=2), in_dims=axes)(parameters, before, x, labels, noise)
        alone_rows = x.clone().requires_grad_()
        alone = torch.stack([m(a, LABELS, n) for m, a, n in zip(members, alone_rows, draws)])
        alone.sum().backward()
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradients, alone_rows.grad, rtol=1e-3, atol=1e-5)
    for name, stacked in buffers.items():
        one_by_one = torch.stack([dict(member.named_buffers())[name] for member in members])
        torch.testing.assert_close(stacked, one_by_one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("wrapper", "loss", "values"), CASES)
def test_state_round_trip(wrapper, loss, values):
    built = wrapped(wrapper, loss, **values)
    x = rows(dtype=torch.float32)
    built(x, LABELS, built.draw_noise(8))
    file = io.BytesIO()
    torch.save(built.state_dict(), file)
    file.seek(0)
    restored = wrapped(wrapper, loss, seed=1, **values)
    restored.load_state_dict(torch.load(file, weights_only=True))
    pickled = pickle.loads(pickle.dumps(built))
    noise = built.draw_noise(8)
    expected = built.eval()(x, LABELS, noise)
    assert torch.equal(restored.eval()(x, LABELS, noise), expected)
    assert torch.equal(pickled.eval()(x, LABELS, noise), expected)


@pytest.mark.parametrize(("wrapper", "loss", "values"), [case for case in CASES if "center" not in case.values])
def test_compiled_it_is_the_same(wrapper, loss, values):
    torch._dynamo.reset()
    eager, other = (wrapped(wrapper, loss, **values) for _ in range(2))
    compiled = torch.compile(other, backend="eager", fullgraph=True)
    for step in range(3):
        x, noise = rows(step, torch.float32), eager.draw_noise(8, generator=torch.Generator().manual_seed(step))
        torch.testing.assert_close(compiled(x, LABELS, noise), eager(x, LABELS, noise))
    for (name, state), (_, expected) in zip(other.named_buffers(), eager.named_buffers(), strict=True):
        torch.testing.assert_close(state, expected, msg=name)


def test_the_entry_says_what_it_is():
    entry = entry_of("matryoshka", ("arcface", "center_term"))
    assert entry.wrapped
    assert (entry.family, entry.batched) == ("margin", True)
    assert [spec.name for spec in entry.specs] == ["arcface", "center_term"]
    assert {"prefixes", "heads", "margin", "scale", "weight", "alpha"} <= set(entry.layout)
    assert entry.structure == ("matryoshka", ("sum", "arcface", "center_term"))
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert hash(entry) == hash(entry_of("matryoshka", ("arcface", "center_term")))


def brute_force(loss, x, labels, others, their, **values):
    """Compute a loss of anchors against the batch and others, pair by pair, from the papers."""
    h = {name: float(getattr(loss, name)) for name in loss.hyperparameters}
    every, names = torch.cat([x, others]), torch.cat([labels, their])
    unit = torch.nn.functional.normalize(every)
    d = [[(unit[a] - unit[j]).norm().item() for j in range(len(every))] for a in range(len(x))]
    s = [[(unit[a] @ unit[j]).item() for j in range(len(every))] for a in range(len(x))]
    p = [[j for j in range(len(every)) if j != a and names[j] == labels[a]] for a in range(len(x))]
    n = [[j for j in range(len(every)) if names[j] != labels[a]] for a in range(len(x))]
    anchors = range(len(x))

    def mean(numbers):
        return sum(numbers) / len(numbers) if numbers else 0.0

    match loss.spec.name:
        case "contrastive":
            pull = [0.5 * max(d[a][j] - h["positive_margin"], 0) ** 2 for a in anchors for j in p[a]]
            push = [0.5 * max(h["margin"] - d[a][j], 0) ** 2 for a in anchors for j in n[a]]
            return mean(pull) + mean(push)
        case "triplet":
            hinges = [d[a][i] - d[a][j] + h["margin"] for a in anchors for i in p[a] for j in n[a]]
            return mean([hinge for hinge in hinges if hinge > 0])
        case "trihard":
            both = [a for a in anchors if p[a] and n[a]]
            hardest = [max(d[a][i] for i in p[a]) - min(d[a][j] for j in n[a]) for a in both]
            return mean([max(h["margin"] + gap, 0) for gap in hardest])
        case "nt_xent":
            e = [[math.exp(v / h["temperature"]) for v in row] for row in s]
            return mean([-math.log(e[a][i] / (e[a][i] + sum(e[a][j] for j in n[a]))) for a in anchors for i in p[a]])
        case "supcon":
            e = [[math.exp(v / h["temperature"]) for v in row] for row in s]
            each = [
                mean([-math.log(e[a][i] / sum(e[a][j] for j in p[a] + n[a])) for i in p[a]]) for a in anchors if p[a]
            ]
            return mean(each)
        case "sigmoid_pair":
            z = [[h["scale"] * v + h["bias"] for v in row] for row in s]
            costs = [math.log1p(math.exp(-z[a][j])) for a in anchors for j in p[a]]
            costs += [math.log1p(math.exp(z[a][j])) for a in anchors for j in n[a]]
            return sum(costs) / len(x)


@pytest.mark.parametrize("name", ["contrastive", "triplet", "trihard", "nt_xent", "supcon", "sigmoid_pair"])
def test_memory_is_the_loss_against_the_batch_and_the_newest_before_it(name):
    values = {"learn": False} if name == "sigmoid_pair" else {}
    built = wrapped("memory", name, size=12, **values).double()
    seen, labels_seen = torch.zeros(0, DIM, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    for step in range(4):
        x, labels = rows(step), LABELS.roll(step)
        expected = brute_force(built.losses[0], x, labels, seen, labels_seen)
        assert built(x, labels).item() == pytest.approx(expected, rel=1e-9), f"step {step}"
        seen, labels_seen = torch.cat([x, seen])[:12], torch.cat([labels, labels_seen])[:12]
        torch.testing.assert_close(built.kept[: len(seen)], seen)
    before = {key: buffer.clone() for key, buffer in built.named_buffers()}
    built.eval()(rows(9), LABELS)
    assert all(torch.equal(buffer, before[key]) for key, buffer in built.named_buffers()), (
        "evaluation is not remembered"
    )


PML = {
    "triplet": ({"margin": 0.3}, lambda: losses.TripletMarginLoss(margin=0.3), None),
    "nt_xent": ({"temperature": 0.2}, lambda: losses.NTXentLoss(temperature=0.2), None),
    "supcon": ({"temperature": 0.2}, lambda: losses.SupConLoss(temperature=0.2), None),
    "circle": ({"margin": 0.3, "gamma": 20.0}, lambda: losses.CircleLoss(m=0.3, gamma=20.0, **MEAN), None),
    "margin_based": ({"sampling": "all", "beta": 1.1}, lambda: losses.MarginLoss(margin=0.2, beta=1.1), None),
    "generalized_lifted_structure": (
        {"margin": 1.2}, lambda: losses.GeneralizedLiftedStructureLoss(neg_margin=1.2, **MEAN), None,
    ),
    "multi_similarity": (
        {"beta": 30.0, "base": 0.4}, lambda: losses.MultiSimilarityLoss(alpha=2.0, beta=30.0, base=0.4),
        miners.MultiSimilarityMiner(epsilon=0.1),
    ),
    "trihard": ({"margin": 0.3}, lambda: losses.TripletMarginLoss(margin=0.3, **MEAN), miners.BatchHardMiner()),
}  # fmt: skip


@pytest.mark.parametrize("name", PML)
def test_values_are_those_of_pytorch_metric_learning(name):
    """Its memory holds the batch itself: the N of ours and B more."""
    values, build, miner = PML[name]
    ours = wrapped("memory", name, size=16, **values).double()
    theirs = losses.CrossBatchMemory(build(), DIM, memory_size=16 + len(LABELS), miner=miner)
    for step in range(5):
        x, labels = rows(step), LABELS.roll(step)
        assert ours(x, labels).item() == pytest.approx(theirs(x, labels).item(), rel=1e-6), f"step {step}"


def test_gradients_reach_the_batch_alone():
    built = wrapped("memory", "triplet", size=8).double()
    first = rows(0).requires_grad_()
    built(first, LABELS)
    built(rows(1).requires_grad_(), LABELS).backward()
    assert first.grad is None
    assert not built.kept.requires_grad
    values = []
    for start in (0.0, 0.5):
        loss = wrapped("memory", "contrastive", size=8, start=start).double()
        loss.set_progress(0.4)
        loss(rows(0), LABELS)
        values.append(loss(rows(1), LABELS).item())
    alone = create_loss("contrastive")(rows(1), LABELS).item()
    assert values[1] == pytest.approx(alone, rel=1e-9), "before its start the memory takes no part"
    assert values[0] != pytest.approx(alone, rel=1e-3)


def test_a_batch_may_be_larger_than_the_memory():
    built = wrapped("memory", "triplet", size=3).double()
    built(rows(0), LABELS)
    torch.testing.assert_close(built.kept, rows(0)[:3])
    assert float(built.filled) == 3


@pytest.mark.parametrize("loss", ["lifted_structure", "arcface", "n_pair", ("triplet", "anti_collapse"), "deepid2"])
def test_what_has_no_references_is_refused(loss):
    with pytest.raises(
        InvalidValueError, match=r"goes around a loss of anchors against references, got .*wrap the term"
    ):
        wrapped("memory", loss)
    with pytest.raises(InvalidValueError, match="goes around a loss of anchors"):
        Memory(lambda dim: create_loss("smooth_ap"), embedding_dim=4)


def test_every_loss_that_takes_references_is_tested():
    found = [spec.name for spec in list_losses(provider="native") if takes_references(create_loss(spec.name, **SIZES))]
    assert sorted(found) == REMEMBERED


def test_a_loss_that_computes_otherwise_is_not_taken_for_its_base():
    class Mine(Contrastive):
        def compute(self, embeddings, labels, noise):
            return 2 * super().compute(embeddings, labels, noise)

    assert not takes_references(Mine())


def test_noise_in_a_sum_fits_every_term():
    memory = LossEntry("memory_margin_based", "memory", (Term("margin_based"),))
    entry = LossEntry("x", "sum", (Term("margin_based"), Term(memory)))
    [(_, loss)] = entry.build({"size": 5}, num_classes=CLASSES, embedding_dim=DIM)
    noise = loss.draw_noise(8, generator=torch.Generator().manual_seed(0))
    assert noise.shape == (8, 13)
    x = rows(dtype=torch.float32)
    parts = loss.terms[0](x, LABELS, noise[:, :8]), wrapped("memory", "margin_based", size=5)(x, LABELS, noise)
    torch.testing.assert_close(loss(x, LABELS, noise), sum(parts))


def test_progress_reaches_what_is_inside():
    built = nested("heated_up_softmax")
    built.set_progress(0.25)
    assert {float(part.progress) for part in built.modules() if isinstance(part, Loss)} == {0.25}


def test_a_wrapper_of_ones_own():
    @register_wrapper("twice", reference="an example")
    class Twice(Wrapper):
        """Twice the loss."""

        def wrap(self, inside):
            self.losses.append(inside(self.embedding_dim))

        def compute(self, embeddings, labels, noise):
            return 2 * self.losses[0](embeddings, labels, noise)

    try:
        x = rows()
        alone = create_loss("triplet")(x, LABELS)
        assert wrapped("twice", "triplet")(x, LABELS).item() == pytest.approx(2 * alone.item())
        with pytest.raises(InvalidValueError, match="a wrapper goes around a loss and is none itself"):
            get_spec("twice")
        with pytest.raises(InvalidValueError, match="a wrapper is registered once"):
            register_wrapper("twice", reference="")(Twice)
        with pytest.raises(InvalidValueError, match="a key of its own"):
            register_wrapper("sum", reference="")(Twice)
    finally:
        WRAPPERS._records.pop("twice")


def test_every_wrapper_says_where_it_is_from():
    facts = {spec.name: (spec.year, spec.venue) for spec in WRAPPERS.records(provider="native")}
    assert facts == {
        "distillation": (2019, "CVPR"), "matryoshka": (2022, "NeurIPS"), "memory": (2020, "CVPR"),
        "small_loss": (2018, "NeurIPS"),
    }  # fmt: skip
    for spec in WRAPPERS.records(provider="native"):
        assert all(declared.description for declared in (*spec.options.values(), *spec.hyperparameters.values()))


# ---------------------------------------------------------------------- small-loss selection


def test_a_selection_goes_around_every_loss_that_has_it_by_sample():
    sizes = {**SIZES, "class_counts": torch.tensor([3, 2, 3])}
    found = [s.name for s in list_losses(provider="native") if of_single_samples(create_loss(s.name, **sizes))]
    assert sorted(found) == sorted(SINGLE)


@pytest.mark.parametrize("name", SINGLE)
def test_what_each_sample_costs_adds_up_to_the_loss(name):
    built, x = wrapped("small_loss", name, forget=0.0).double(), rows().requires_grad_()
    expected = built.losses[0](x, LABELS)
    torch.testing.assert_close(built(x, LABELS), expected, rtol=1e-9, atol=1e-12)
    (mine,), (its,) = torch.autograd.grad(built(x, LABELS), x), torch.autograd.grad(expected, x)
    torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize(("forget", "staying"), [(0.25, 6), (0.3, 5), (1.0, 1)])
def test_the_smallest_losses_alone_count(name, forget, staying):
    built, x = wrapped("small_loss", name, forget=forget).double(), rows().requires_grad_()
    loss = built.losses[0]
    each = torch.stack([loss(x[i : i + 1], LABELS[i : i + 1]) for i in range(len(x))])
    kept = each.argsort()[:staying]
    value = built(x, LABELS)
    torch.testing.assert_close(value, each[kept].mean(), rtol=1e-9, atol=1e-12)
    (mine,) = torch.autograd.grad(value, x)
    (its,) = torch.autograd.grad(each[kept].mean(), x)
    torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-12)
    out = [i for i in range(len(x)) if i not in kept]
    assert not mine[out].any(), "what is left out pulls at nothing"


def test_the_share_left_out_grows_along_the_ramp():
    built, x = wrapped("small_loss", "softmax", forget=0.5, ramp=0.5).double(), rows()
    each = torch.stack([built.losses[0](x[i : i + 1], LABELS[i : i + 1]) for i in range(len(x))]).sort().values
    for progress, staying in [(0.0, 8), (0.125, 7), (0.25, 6), (0.5, 4), (1.0, 4)]:
        built.set_progress(progress)
        assert built(x, LABELS).item() == pytest.approx(each[:staying].mean().item(), rel=1e-9), progress
    for ramp, staying in [(0.0, 4), (1.0, 6)]:
        built.ramp = ramp
        built.set_progress(0.5)
        assert built(x, LABELS).item() == pytest.approx(each[:staying].mean().item(), rel=1e-9), ramp


@pytest.mark.parametrize(
    "loss",
    ["triplet", "proxy_anchor", "adaface", "curricularface", "center", "elastic_arcface", ("softmax", "anti_collapse")],
)
def test_a_selection_refuses_what_no_sample_has_for_itself(loss):
    with pytest.raises(InvalidValueError, match=r"that each sample has for itself.*wrap the term"):
        wrapped("small_loss", loss)


def test_a_selection_leaves_out_wrong_labels_once_most_are_learned():
    """With class weights that know the classes, the samples of wrong labels are the ones left out."""
    built = wrapped("small_loss", "normface", forget=0.25).double()
    x = torch.nn.functional.one_hot(LABELS, DIM).double()
    built.losses[0].class_weights.data.copy_(torch.eye(DIM)[:CLASSES])
    wrong = LABELS.clone()
    wrong[[1, 6]] = torch.tensor([2, 0])
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(built(x, wrong), x)
    assert (gradient.abs().sum(1) > 0).tolist() == [True, False, True, True, True, True, False, True]
