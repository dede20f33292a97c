"""What every process of the survey needs, imported once: the server that they are forked from imports this module."""

import warnings

warnings.filterwarnings("ignore")
from attn_export.torchvision_import import ready_torchvision  # noqa: E402

ready_torchvision()
import attn_export  # noqa: E402, F401
import onnxruntime  # noqa: E402, F401
import tensorrt_rtx  # noqa: E402, F401
import timm_model  # noqa: E402, F401
import tiny_models  # noqa: E402, F401
import torch.export  # noqa: E402, F401
import transformers  # noqa: E402

transformers.logging.set_verbosity_error()
