"""One compiled graph serves every hyperparameter value: values are data, not code."""

import pytest
import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounter

from mlcompare.registry import create_loss, list_losses

NAMES = [spec.name for spec in list_losses(provider="native") if spec.batched and spec.name != "up_term"]


@pytest.mark.parametrize("name", NAMES)
def test_one_graph_for_all_values(name):
    torch._dynamo.reset()
    counter = CompileCounter()
    loss = create_loss(name, num_classes=4, embedding_dim=6, class_counts=[9, 9, 9, 1])
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    embeddings, labels = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 4
    noise = loss.draw_noise(12, generator=torch.Generator().manual_seed(0))
    for share in (0.25, 0.5, 0.75):
        for key, h in loss.hyperparameters.items():
            if h.searched:
                value = h.low + share * (h.high - h.low)
                getattr(loss, key).fill_(round(value) if h.integer else value)
        loss.set_progress(share)
        state = {key: buffer.clone() for key, buffer in loss.named_buffers()}
        value = compiled(embeddings, labels, noise)
        loss.load_state_dict({**loss.state_dict(), **state})
        torch.testing.assert_close(value, loss(embeddings, labels, noise))
    assert counter.frame_count == 1
