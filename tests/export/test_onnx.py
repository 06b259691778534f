"""``export --onnx``: onnxruntime makes the same embeddings, for any number of samples."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare.data import load_dataset
from mlcompare.errors import InvalidValueError
from mlcompare.export import export_model, load_model
from mlcompare.export.onnx_file import check_onnx, save_onnx
from mlcompare.export.standardized import Standardized
from mlcompare.study import run_study
from tests.cli.test_cli import call
from tests.study.conftest import TINY

SMALL = {**TINY, "search": {"trials": 1}, "losses": {"cosface": {"scale": 16}}, "baselines": "none"}
ENCODERS = [
    {"name": "conv", "embedding_dim": 8, "channels": [4]},
    {"name": "resnet", "embedding_dim": 8, "depth": 10, "width": 4, "attention": "cbam", "pooling": "gem"},
    {"name": "mlp", "embedding_dim": 8, "width": 16},
    {"name": "resnet", "embedding_dim": 8, "depth": 10, "width": 4, "frozen": True},
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=["conv", "resnet", "mlp", "frozen"])
def test_onnxruntime_makes_the_same_embeddings(encoder: dict, tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    runtime = pytest.importorskip("onnxruntime")
    run_study({**SMALL, "encoder": encoder}, tmp_path / "store", executor="in-process")
    found = export_model(tmp_path / "store", "cosface", tmp_path / "model", far=0.1, onnx=True)
    assert "model.onnx" in found.card["files"]
    assert sorted(path.name for path in found.path.iterdir()) == sorted(found.card["files"]), "one file holds it all"
    session = runtime.InferenceSession(found.path / "model.onnx", providers=["CPUExecutionProvider"])
    samples, (model, _) = load_dataset("digits").samples[:50].astype(np.float32), load_model(found.path)
    with torch.no_grad():
        expected = model(torch.as_tensor(samples)).numpy()
    for count in (1, 7, 50):
        (embeddings,) = session.run(["embeddings"], {"samples": samples[:count]})
        np.testing.assert_allclose(embeddings, expected[:count], rtol=1e-4, atol=1e-4)


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "onnx" else real(name, *more))
    with pytest.raises(InvalidValueError, match=r"got no onnx.*pip install 'mlcompare\[onnx\]'"):
        check_onnx()
    code, _, err = call(capsys, "export", tmp_path, "cosface", "--out", tmp_path / "model", "--onnx")
    assert (code, err.count("\n")) == (2, 1)
    assert "mlcompare[onnx]" in err
    assert not (tmp_path / "model").exists()


class Odd(torch.nn.Module):
    """It does another thing to other data, which no program without Python can."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


def test_what_onnx_cannot_express_is_told_in_one_line(tmp_path: Path, capfd) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    model = Standardized(Odd(), torch.zeros(1), torch.ones(1))
    with pytest.raises(InvalidValueError, match="must be one that ONNX can express") as caught:
        save_onnx(model, (1, 8, 8), tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
