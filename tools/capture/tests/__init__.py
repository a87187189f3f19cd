"""Tests of the recorder: `python -m unittest` in the folder above. Need torch only."""

import logging

import torch

torch.set_num_threads(1)
logging.getLogger("ctq_capture").setLevel(logging.CRITICAL)
