"""The peer of the export benchmarks: what `torch.onnx.export` alone takes for the same module, saved to a file.

usage: bare_export.py attentionnet|large OUT.onnx [--gigabytes G]
       bare_export.py FOLDER OUT.onnx [--dim NAME=MIN:OPT:MAX ...]

FOLDER is what save_pretrained made. Of a generator, each of its graphs is exported, by as many calls; of any other model
what transformers' AutoModel for its class makes, with the inputs and ranges of ours.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.export import Dim

if TYPE_CHECKING:
    from attn_runtime.spec import TensorSpec


def made(module: torch.nn.Module, args: tuple[Any, ...], output: Path, shapes: Any, external: bool) -> None:
    # requires_grad_(False) as any careful user has it; without it the exporter tracks gradients of nothing.
    torch.onnx.export(
        module.eval().requires_grad_(False),
        args,
        output,
        dynamo=True,
        opset_version=22,
        dynamic_shapes=shapes,
        external_data=external,
        verbose=False,
    )


def of_folder(folder: str, dims: list[str], output: Path) -> None:
    """Every graph of what the folder holds, with drawn inputs, as one who knows the views would export them."""
    from attn_export.reference import Signature, trace_inputs
    from attn_export.source import load_source

    source = load_source(folder, dims=dims)
    for graph in source.graphs:
        signature = Signature(graph.module, graph.inputs, (), source.by_position, graph.watch, graph.draw)
        example = trace_inputs(signature, 0).inputs
        # `forward` with its inputs by name, in the order in which the graph has them.
        with torch.no_grad(), signature.flat() as module:
            args = tuple(torch.from_numpy(value) for value in example.values())
            made(module, args, output.with_stem(f"{output.stem}-{graph.name}"), _shapes(graph.inputs), False)


def _shapes(inputs: Sequence[TensorSpec]) -> dict[str, dict[int, Any]]:
    dims: dict[str, Any] = {}
    return {
        s.name: {
            axis: dims.setdefault(str(d.name), Dim(str(d.name), min=d.min, max=d.max))
            for axis, d in enumerate(s.dims)
            if d.dynamic
        }
        for s in inputs
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="attentionnet, large, or a folder")
    parser.add_argument("output", type=Path)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--dim", action="append", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.model == "attentionnet":
        from attn_models.zoo.attentionnet import MODEL

        shapes = ({0: Dim("batch", min=1, max=32)},)
        made(MODEL.build(), (torch.randn(8, 3, 32, 32),), arguments.output, shapes, False)
    elif arguments.model == "large":
        from large_stack import WIDTH, build

        shapes = ({0: Dim("batch", min=1, max=4), 1: Dim("T", min=1, max=16)},)
        made(build(arguments.gigabytes), (torch.randn(2, 8, WIDTH),), arguments.output, shapes, True)
    else:
        of_folder(arguments.model, arguments.dim, arguments.output)


if __name__ == "__main__":
    main()
