"""ComfyUI custom nodes that record what the linear layers of a model or text encoder are fed."""

import os
import sys

try:
    import ctq_capture  # noqa: F401
except (
    ImportError
):  # not installed: the package lies beside this folder, also when only a link to it was made
    sys.path.append(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # noqa: E402

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
