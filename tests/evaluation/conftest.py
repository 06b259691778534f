import pytest
import torch

from .samples import make

torch.set_num_threads(1)


@pytest.fixture(params=[None, 1.0, 2.0], ids=["smooth", "ties", "some_ties"])
def data(request):
    return make(grid=request.param)
