"""One thread: the same numbers on every machine, and no fight for cores with other test workers."""

import torch

torch.set_num_threads(1)
