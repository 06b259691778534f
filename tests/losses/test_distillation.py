"""Distillation: a loss, and a teacher's distances and angles."""

import io
import math
import pickle

import pytest
import torch
import torch._dynamo
from torch.func import functional_call, grad, stack_module_state, vmap

from mlcompare.errors import InvalidValueError
from mlcompare.losses import Distillation, LossEntry, Term
from mlcompare.registry import create_loss

SIZES = {"num_classes": 3, "embedding_dim": 4}
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def rows(seed=0, width=4, dtype=torch.float64):
    return torch.randn(6, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def taught(loss="triplet", teacher=None, **values):
    """Build a distilled loss as a study does, and tell it a teacher."""
    entry = LossEntry("x", "distillation", (Term(loss),))
    [(_, built)] = entry.build(values, generator=torch.Generator().manual_seed(0), **SIZES)
    built.set_teacher(rows(9, 7, torch.float32) if teacher is None else teacher)
    return built


def huber(gap):
    return 0.5 * gap * gap if abs(gap) < 1 else abs(gap) - 0.5


def between(a, b):
    return [q - p for p, q in zip(a, b)]


def length(v):
    return math.sqrt(math.fsum(c * c for c in v))


def gaps(student, teacher):
    """Return the mean Huber losses of distances and of cosines of angles, by loops, of lists of floats."""
    both, count = (student, teacher), range(len(student))
    scaled, cosines = [], []
    for x in both:
        d = [[length(between(x[i], x[j])) for j in count] for i in count]
        mean = math.fsum(map(math.fsum, d)) / (len(x) * (len(x) - 1))
        scaled.append([[v / mean for v in row] for row in d])
        cosines.append({
            (i, j, k): math.fsum(p * q for p, q in zip(between(x[i], x[j]), between(x[i], x[k]))) / (d[i][j] * d[i][k])
            if i not in (j, k) else 0.0
            for i in count for j in count for k in count
        })  # fmt: skip
    distances = [huber(scaled[0][i][j] - scaled[1][i][j]) for i in count for j in count]
    angles = [huber(cosine - cosines[1][place]) for place, cosine in cosines[0].items()]
    return math.fsum(distances) / len(distances), math.fsum(angles) / len(angles)


@pytest.mark.parametrize("relations", ["both", "distance", "angle"])
@pytest.mark.parametrize("student", ["raw", "normalized"])
@pytest.mark.parametrize("seed", range(4))
def test_value_is_that_of_loops(relations, student, seed):
    x, teacher = 3 * rows(seed), rows(seed + 20, 7)
    loss = taught(teacher=teacher, relations=relations, student=student, distance_weight=0.7, angle_weight=1.3).double()
    seen = torch.nn.functional.normalize(x) if student == "normalized" else x
    distance, angle = gaps(seen.tolist(), teacher.tolist())
    expected = create_loss("triplet")(x, LABELS).item()
    expected += (relations != "angle") * 0.7 * distance + (relations != "distance") * 1.3 * angle
    assert loss(x, LABELS).item() == pytest.approx(expected, rel=1e-9)


def test_a_student_like_its_teacher_costs_nothing_more():
    x = rows()
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    loss = taught(teacher=5 * x @ turn + 3).double()
    assert loss(x, LABELS).item() == pytest.approx(create_loss("triplet")(x, LABELS).item(), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_size_of_raw_embeddings_does_not_matter(scale):
    plain, scaled = taught("nt_xent")(rows(), LABELS), taught("nt_xent")(scale * rows(), LABELS)
    torch.testing.assert_close(scaled, plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("student", ["raw", "normalized"])
def test_gradients(student):
    loss, x = taught("arcface", student=student).double(), rows().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, LABELS), (x,), eps=1e-6, atol=1e-5, rtol=1e-4)
    loss(x, LABELS).backward()
    assert not loss.told.requires_grad


@pytest.mark.parametrize("student", ["raw", "normalized"])
def test_degenerate_batches(student):
    x, far = rows(dtype=torch.float32), rows(9, 7, torch.float32)
    near = x[:1] + 1e-7 * x
    for embeddings, teacher in [
        (x, far[:1].expand(6, 7)), (x, torch.zeros(6, 7)), (torch.zeros_like(x), far), (x[:1].expand(6, 4), far),
        (near, far), (x * 1e-20, far), (x * 1e4, far), (x[:1], far[:1]), (x[[0, 0, 1, 2, 3, 4]], far),
    ]:  # fmt: skip
        leaf = embeddings.clone().requires_grad_()
        value = taught(teacher=teacher, student=student)(leaf, LABELS[: len(leaf)])
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(leaf.grad).all()


def test_half_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(taught()(rows(dtype=torch.bfloat16), LABELS))


def test_a_population_and_a_compiled_loss_agree():
    members = [
        taught("arcface", teacher=rows(seed, 7, torch.float32), distance_weight=0.5 + seed, angle_weight=1.0)
        for seed in range(3)
    ]
    x = torch.stack([rows(seed, dtype=torch.float32) for seed in range(3)])
    parameters, buffers = stack_module_state(members)

    def call(parameters, buffers, x):
        return functional_call(members[0], (parameters, buffers), (x, LABELS))

    leaf = x.clone().requires_grad_()
    alone = torch.stack([member(one, LABELS) for member, one in zip(members, leaf)])
    alone.sum().backward()
    torch.testing.assert_close(vmap(call)(parameters, buffers, x), alone)
    torch.testing.assert_close(vmap(grad(call, argnums=2))(parameters, buffers, x), leaf.grad, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
    compiled = torch.compile(members[0], backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x[0], LABELS), alone[0])
    members[0].set_teacher(rows(5, 7, torch.float32))
    torch.testing.assert_close(compiled(x[0], LABELS), members[0](x[0], LABELS))


def test_a_teacher_must_be_told_of_each_batch():
    [(_, loss)] = LossEntry("x", "distillation", (Term("triplet"),)).build({}, **SIZES)
    with pytest.raises(InvalidValueError, match=r"must be told, got 0 rows for 6 embeddings; call loss.set_teacher"):
        loss(rows(), LABELS)
    loss.set_teacher(rows(1, 3))
    loss(rows(), LABELS)
    with pytest.raises(InvalidValueError, match="got 6 rows for 4 embeddings"):
        loss(rows()[:4], LABELS[:4])
    with pytest.raises(InvalidValueError, match="`teacher` can't be set once the loss is built"):
        loss.teacher = "other.npz"


def test_it_is_told_wherever_it_stands():
    inner = LossEntry("distillation_triplet", "distillation", (Term("triplet"),))
    x = rows()
    for form, terms, values in (
        ("sum", (Term("softmax"), Term(inner)), {}),
        ("matryoshka", (Term(inner),), {"prefixes": "2"}),
    ):
        [(_, loss)] = LossEntry("x", form, terms).build(values, **SIZES)
        loss.set_teacher(rows(1, 3))
        parts = [part for part in loss.modules() if isinstance(part, Distillation)]
        assert all(torch.equal(part.told, rows(1, 3)) for part in parts)
        loss(x, LABELS)
    create_loss("triplet").set_teacher(rows(1, 3))  # whoever doesn't distil doesn't listen


def test_what_was_told_is_no_state():
    loss = taught("arcface").double()
    assert "told" not in loss.state_dict()
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    other = taught("arcface", teacher=rows(9, 7, torch.float32)).double()
    other.load_state_dict(torch.load(file, weights_only=True))
    expected = loss(rows(), LABELS)
    torch.testing.assert_close(other(rows(), LABELS), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(loss))(rows(), LABELS), expected)
    torch.testing.assert_close(loss.logits(rows()), loss.losses[0].logits(rows()))
