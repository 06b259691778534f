"""Every registered dataset, encoder, metric and the rest passes the tests that outside authors inherit."""

from __future__ import annotations

import pytest

from mlcompare.kinds import registry_of
from mlcompare.testing import parts

READ = ("digits", "glyphs", "orl_faces")  # the others need files
SHAPES = {"linear": (10,), "mlp": (10,)}


def cases() -> list:
    found = []
    for cls in vars(parts).values():
        if isinstance(cls, type) and issubclass(cls, parts.PartTestCase) and cls.kind:
            for record in registry_of(cls.kind).records(provider="native"):
                found += [pytest.param(cls, record.name, method, id=f"{cls.kind}-{record.name}-{method[5:]}")
                          for method in dir(cls) if method.startswith("test_")]  # fmt: skip
    return found


@pytest.mark.parametrize(("cls", "name", "method"), cases())
def test_conformance(cls: type, name: str, method: str) -> None:
    changes = {"name": name}
    if cls is parts.DatasetTestCase and name not in READ and method != "test_it_says_what_it_is":
        pytest.skip("needs files")
    if cls is parts.MetricTestCase and name in ("accuracy", "verification_accuracy") and method.startswith("test_v"):
        pytest.skip("needs logits, or listed pairs")
    if cls is parts.MetricTestCase and name == "accuracy" and "order" in method:
        pytest.skip("needs logits")
    if cls is parts.EncoderTestCase:
        changes |= {"input_shape": SHAPES.get(name, (1, 16, 16))}
        changes |= {"embedding_dim": 256} if name == "identity" else {}
    getattr(type(cls.__name__, (cls,), changes)(), method)()
