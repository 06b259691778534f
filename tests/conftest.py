"""One thread everywhere: the number of threads changes results, and more than one slows small tensors down."""

from __future__ import annotations

import os

import hypothesis
import torch

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # for the processes that tests start
torch.set_num_threads(1)

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")
