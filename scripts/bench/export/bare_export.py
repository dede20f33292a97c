"""The peer of the export benchmarks: what `torch.onnx.export` alone takes for the same module, saved to a file.

usage: bare_export.py attentionnet|large OUT.onnx [--gigabytes G]
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import torch
from torch.export import Dim


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=["attentionnet", "large"])
    parser.add_argument("output", type=Path)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.model == "attentionnet":
        from attn_models.zoo.attentionnet import MODEL

        module, example = MODEL.build(), torch.randn(8, 3, 32, 32)
        shapes = ({0: Dim("batch", min=1, max=32)},)
    else:
        from large_stack import WIDTH, build

        module, example = build(arguments.gigabytes), torch.randn(2, 8, WIDTH)
        shapes = ({0: Dim("batch", min=1, max=4), 1: Dim("T", min=1, max=16)},)
    # requires_grad_(False) as any careful user has it; without it the exporter tracks gradients of nothing.
    torch.onnx.export(
        module.eval().requires_grad_(False),
        (example,),
        arguments.output,
        dynamo=True,
        opset_version=22,
        dynamic_shapes=shapes,
        external_data=arguments.model == "large",
        verbose=False,
    )


if __name__ == "__main__":
    main()
