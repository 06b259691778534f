"""A training loop of one's own: a plain PyTorch loop with a DataLoader and a checkpoint."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mlcompare import Assignment, register_trainer


@register_trainer("zoo_trainer")
def zoo_trainer(assignment: Assignment, epochs: int = 2) -> nn.Module:
    """A few passes over the data with Adam."""
    encoder, loss, config = assignment.encoder, assignment.loss, assignment.config
    optimizer = torch.optim.Adam(
        [
            {"params": list(encoder.parameters()), "lr": config.learning_rate},
            {"params": list(loss.parameters()), "lr": config.learning_rate * config.head_lr_ratio},
        ]
    )
    rows = TensorDataset(torch.as_tensor(assignment.samples), torch.as_tensor(assignment.labels))
    generator = torch.Generator().manual_seed(assignment.random_state)
    step = 0
    for _ in range(epochs):
        for samples, labels in DataLoader(rows, batch_size=16, shuffle=True, generator=generator):
            value = loss(encoder(assignment.standardize(samples)), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            step += 1
            assignment.report(step, float(value.detach()))
    if assignment.folder is not None:
        torch.save(encoder.state_dict(), assignment.folder / "last.pt")
    return encoder
