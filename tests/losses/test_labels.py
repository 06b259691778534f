"""Labels of several levels, and sets of labels: the losses that take them, and what the others say."""

import random

import numpy as np
import pytest
import torch
import torch._dynamo
from torch.func import functional_call, grad, stack_module_state, vmap

from mlcompare.errors import InvalidValueError
from mlcompare.losses import LossEntry, Term
from mlcompare.losses.label_forms import CLASS, LEVELS, SETS, shared_levels
from mlcompare.losses.multi_supcon import jaccard
from mlcompare.registry import create_loss, get_spec, list_losses

from .naive_labels import NAIVE
from .test_naive import build

SIZES = {"num_classes": 6, "embedding_dim": 5}
HIERARCHICAL = ["hierarchical_supcon", "hierarchical_triplet"]
FORMS = {spec.name: spec.label_form for spec in list_losses(provider="native")}
GROUP, REALM = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 0, 1, 1])  # of each class


def rows(count=12, seed=0, dtype=torch.float64):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def levels(seed=0, count=12, depth=3):
    classes = torch.randint(0, 5, (count,), generator=torch.Generator().manual_seed(seed))
    return torch.stack([classes, GROUP[classes], REALM[classes]], 1)[:, :depth]


def sets(seed=0, count=12):
    return (torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) < 0.5).long()


def labels_of(name, seed=0):
    return sets(seed) if FORMS[name] == SETS else levels(seed)


def test_which_losses_take_several_columns():
    assert {name: form for name, form in FORMS.items() if form != CLASS} == {
        **dict.fromkeys(HIERARCHICAL, LEVELS), "multi_supcon": SETS,
    }  # fmt: skip


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("seed", range(12))
def test_values_are_those_of_loops(name, seed):
    draw = random.Random(seed)
    options = {key: draw.choice(o.choices) for key, o in get_spec(name).options.items()}
    loss, x = build(name, draw, **options), torch.randn(9, 6, generator=torch.Generator().manual_seed(seed)).double()
    given = [sets(seed, 9)] if FORMS[name] == SETS else [levels(seed, 9, depth) for depth in (1, 2, 3)]
    for labels in given:
        expected = NAIVE[name](loss, x.numpy(), labels.numpy(), None)
        assert loss(x, labels).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_one_level_is_the_class(name):
    loss, x = create_loss(name, **SIZES), rows()
    assert loss(x, levels()[:, 0]).item() == loss(x, levels(depth=1)).item()


def test_of_one_level_they_are_the_losses_that_they_generalise():
    x, classes = rows(), levels()[:, 0]
    plain = create_loss("supcon", temperature=0.2)(x, classes).item()
    assert create_loss("hierarchical_supcon", temperature=0.2)(x, classes).item() == pytest.approx(np.e * plain)
    plain = create_loss("triplet", margin=0.3)(x, classes).item()
    assert create_loss("hierarchical_triplet", margin=0.3)(x, classes).item() == pytest.approx(plain, rel=1e-12)
    plain = create_loss("supcon", temperature=0.07)(x, classes).item()
    one_hot = torch.nn.functional.one_hot(classes, 6)
    for labels in (classes, one_hot, one_hot.bool()):
        assert create_loss("multi_supcon")(x, labels).item() == pytest.approx(plain, rel=1e-12)


def test_a_sibling_is_pushed_away_by_one_margin_and_a_stranger_by_two():
    x = torch.eye(4, dtype=torch.float64)
    labels = torch.tensor([[0, 0], [0, 0], [1, 0], [2, 1]])
    value = create_loss("hierarchical_triplet", margin=0.1)(x, labels).item()
    # all distances are √2: from 0 and 1, p = the other, n = 2 by m and 3 by 2m, and p = 2, n = 3 by m; from 2, n = 3
    assert value == pytest.approx((2 * (0.1 + 0.2 + 0.1) + 2 * 0.1) / 8)


def test_a_coarser_level_costs_no_less_than_a_finer():
    x, labels = rows(seed=3), levels(3)
    bound, free = (create_loss("hierarchical_supcon", constraint=c)(x, labels).item() for c in (True, False))
    assert bound >= free


def test_levels_are_shared_from_the_coarsest():
    labels = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0], [2, 1, 0], [2, 1, 1], [3, 0, 1]])
    assert shared_levels(labels)[0].tolist() == [0, 0, 1, 2, 3, 3], "a group under another roof is another group"


def test_two_empty_sets_share_nothing():
    assert jaccard(torch.zeros(2, 3, dtype=torch.long)).tolist() == [[0, 0], [0, 0]]
    x = rows(2).requires_grad_()
    value = create_loss("multi_supcon", threshold=0.0)(x, torch.zeros(2, 3, dtype=torch.long))
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", NAIVE)
def test_gradients(name):
    loss, x = create_loss(name, **SIZES).double(), rows().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels_of(name)), (x,), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAIVE)
def test_degenerate_batches(name):
    loss, labels = create_loss(name, **SIZES), labels_of(name)
    x = rows(dtype=torch.float32)
    own = torch.arange(12)[:, None].expand(12, 3) if FORMS[name] == LEVELS else torch.zeros_like(labels)
    for embeddings, given in [
        (torch.zeros_like(x), labels), (x[:1], labels[:1]), (x[:6], own[:6]), (x, torch.ones_like(labels)),
        (x[:1].expand_as(x), labels), (x * 1e4, labels),
    ]:  # fmt: skip
        leaf = embeddings.clone().requires_grad_()
        value = loss(leaf, given)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", NAIVE)
def test_a_population_and_a_compiled_loss_agree(name):
    members = [create_loss(name, **SIZES) for _ in range(3)]
    for member, share in zip(members, (0.1, 0.2, 0.4)):
        for key, h in member.hyperparameters.items():
            getattr(member, key).fill_(h.low + share * (h.high - h.low))
    x = torch.stack([rows(seed=seed) for seed in range(3)])
    labels = torch.stack([labels_of(name, seed) for seed in range(3)])
    parameters, buffers = stack_module_state(members)

    def call(buffers, x, labels):
        return functional_call(members[0], (parameters, buffers), (x, labels))

    leaf = x.clone().requires_grad_()
    alone = torch.stack([m(one, y) for m, one, y in zip(members, leaf, labels)])
    alone.sum().backward()
    torch.testing.assert_close(vmap(call)(buffers, x, labels), alone)
    torch.testing.assert_close(vmap(grad(call, argnums=1))(buffers, x, labels), leaf.grad)
    torch._dynamo.reset()
    compiled = torch.compile(members[0], backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x[0], labels[0]), alone[0])


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form == CLASS and name != "up_term"])
def test_the_others_refuse_several_columns(name):
    loss = create_loss(name, **SIZES)
    with pytest.raises(InvalidValueError, match=r"integers \(B,\), got shape \(12, 3\).*labels\[:, 0\].*multi_supcon"):
        loss(rows(dtype=torch.float32), levels())


def test_what_is_neither_levels_nor_sets():
    loss = create_loss("hierarchical_triplet", **SIZES)
    for labels in (levels().float(), levels().bool(), levels()[:5], levels()[:, :0], levels()[None]):
        with pytest.raises(InvalidValueError, match=r"integers \(B,\) or \(B, L\)"):
            loss(rows(), labels)
    with pytest.raises(InvalidValueError, match="`0 <= labels < 6` must hold, got 0 … 9"):
        loss(rows(3), torch.tensor([[0, 0], [9, 0], [1, 0]]))
    loss(rows(3), torch.tensor([[0, 70], [5, 70], [1, -3]]))  # groups may be called anything
    with pytest.raises(InvalidValueError, match="must be 0 and 1, got 0 … 5; write a column for each label"):
        create_loss("multi_supcon")(rows(), torch.randint(0, 6, (12, 3), generator=torch.Generator().manual_seed(0)))


def entry(*names, form="sum", **values):
    [(_, loss)] = LossEntry("x", form, tuple(map(Term, names))).build(values, **SIZES)
    return loss.double()


def test_in_a_sum_each_term_is_given_what_it_takes():
    x, labels = rows(), levels()
    both = entry("hierarchical_triplet", "contrastive", weight=0.5)
    assert both.label_form == LEVELS
    parts = create_loss("hierarchical_triplet")(x, labels) + 0.5 * create_loss("contrastive")(x, labels[:, 0])
    torch.testing.assert_close(both(x, labels), parts)
    assert entry("softmax", "contrastive").label_form == CLASS
    with pytest.raises(InvalidValueError, match=r"integers \(B,\)"):
        entry("multi_supcon", "contrastive", weight=0.5)(x, sets())
    with pytest.raises(InvalidValueError, match="labels of one form, got levels and sets"):
        entry("multi_supcon", "hierarchical_triplet")


def test_wrappers_hand_levels_on():
    x, labels = rows(), levels()
    nested = entry("hierarchical_supcon", form="matryoshka", prefixes="3")
    loss = create_loss("hierarchical_supcon")
    torch.testing.assert_close(nested(x, labels), loss(x, labels) + loss(x[:, :3], labels))
    with pytest.raises(InvalidValueError, match="goes around a loss of anchors against references"):
        entry("hierarchical_supcon", form="memory")
