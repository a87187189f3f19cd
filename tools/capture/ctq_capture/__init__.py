"""Records what the linear layers of a model are fed, for `convert_to_quant --calibration-data`."""

from .container import ContainerError, read_checkpoint_header, read_header, write_safetensors
from .names import CheckpointNames, with_prefix
from .recorder import Recorder
from .statistics import InputStatistics, RowSample

__version__ = "1.0.0"
__all__ = [
    "CheckpointNames",
    "ContainerError",
    "InputStatistics",
    "Recorder",
    "RowSample",
    "read_checkpoint_header",
    "read_header",
    "with_prefix",
    "write_safetensors",
]
