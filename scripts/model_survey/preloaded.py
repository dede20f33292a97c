"""What every process of the survey needs, imported once: the server that they are forked from imports this module.

One graph is translated too: PyTorch's exporter imports and registers its operators at its first call, for longer than a small
model takes.
"""

import contextlib
import io
import warnings

warnings.filterwarnings("ignore")
from attn_export.torchvision_import import ready_torchvision  # noqa: E402

ready_torchvision()
import onnxruntime  # noqa: E402, F401
import tiny_models  # noqa: E402, F401
import torch  # noqa: E402
import transformers  # noqa: E402
from attn_export.capture.operator_table import kept_table  # noqa: E402
from attn_export.pipeline import export  # noqa: E402, F401

for library in ("tensorrt_rtx", "timm_model"):  # neither is asked for before its stage
    with contextlib.suppress(ImportError):
        __import__(library)
transformers.logging.set_verbosity_error()
with kept_table():
    torch.onnx.export(
        torch.nn.Linear(2, 2), (torch.zeros(3, 2),), io.BytesIO(), dynamo=True, optimize=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("rows")},),
    )  # fmt: skip
