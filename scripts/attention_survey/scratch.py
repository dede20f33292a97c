"""What the pass `attention` does to AttentionNet: fused or not, and scratch memory, before and after, by image size.

    python scripts/attention_survey/scratch.py

Expected: unfused before, fused after at every size; equal to 1e-5 of max|answer| in fp32; as much less scratch memory as the
scores of the attention take (positions x positions, in float16, for each image of the batch), once those are what it needs
most. Builds with TensorRT-RTX (no GPU needed). Prints the table that docs/attention/fusion.md has.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from attn_export import export
from attn_export.attention.blocks import find_blocks
from attn_export.console import Console
from attn_export.onnx_graph.onnx_file import load
from attn_export.passes.attention import rewrite
from attn_export.precision.conversion import add_precision
from attn_export.source.resolve import load_source
from attn_runtime.errors import AttnError
from attn_runtime.text_format import bytes_text
from attn_runtime.trt import library as flavour
from attn_runtime.trt.builder.compile import compile_engine
from attn_runtime.trt.builder.network import build
from attn_runtime.trt.fused_attention import fusion

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from support.graphs.attention_cells import Cell, graph

SIZES = (32, 64, 128)
BATCH = (1, 8, 32)
#: AttentionNet attends over a feature map of a quarter of the image's height and width, with these channels
KEYS, VALUES = 32, 256


def network(size: int, folder: Path) -> list[str]:
    """The row of the whole network, for images of `size`."""
    bundle = folder / f"net{size}.attn"
    source = load_source(
        "attentionnet", inputs=[f"image:float32[batch,3,{size},{size}]"], dims=[f"batch={':'.join(map(str, BATCH))}"]
    )
    export(source, bundle)
    add_precision(bundle, "fp16", console=Console(True))
    before, after = (
        compile_engine(bundle, precision=p, flavour="rtx", exact=True, blocks=find_blocks(load(bundle / file)))
        for p, file in (("fp16", "model.fp16.onnx"), ("fp16-trt", "model.fp16-trt.onnx"))
    )
    told = ["fused" if all(b.fused for b in done.attention) else "unfused" for done in (before, after)]
    error = f"{worst_error(onnx.load(bundle / 'model.onnx'), size):.1e}"
    return [f"{size}x{size}", error, *told, bytes_text(before.scratch or 0), bytes_text(after.scratch or 0)]


def worst_error(model: onnx.ModelProto, size: int) -> float:
    """Of the rewritten fp32 graph against the graph as it was, relative to max|answer|, at batches 1 and 3."""
    rewritten = ir.from_proto(model)
    assert rewrite(rewritten).changed
    sessions = [onnxruntime.InferenceSession(m.SerializeToString()) for m in (model, ir.to_proto(rewritten))]
    worst = 0.0
    for batch in (1, 3):
        image = np.random.default_rng(batch).standard_normal((batch, 3, size, size)).astype(np.float32)
        was, now = (s.run(None, {"image": image})[0] for s in sessions)
        worst = max(worst, float(np.abs(was - now).max() / np.abs(was).max()))
    return worst


def attention(size: int, folder: Path) -> list[str]:
    """Scratch memory of the attention alone, before and after, at the largest batch."""
    cell = Cell(form="columns", batch=BATCH[2], queries=(size // 4) ** 2, size=KEYS, value_size=VALUES, scale="none")
    model, found = ir.from_proto(graph(cell)), []
    for again in (False, True):
        if again:
            rewrite(model)
        ir.save(model, folder / "cell.onnx")
        built = build(flavour.load("rtx"), folder / "cell.onnx", [])
        assert fusion(find_blocks(model), built.layers)[0].fused is again
        found.append(bytes_text(built.scratch or 0))
    return found


def main() -> int:
    if reason := flavour.why_unavailable("rtx"):
        print(f"error: {reason}", file=sys.stderr)
        return 10
    print("| images | error in fp32 | before | after | scratch before | after | attention alone before | after |")
    print("|---|---|---|---|---|---|---|---|")
    try:
        with tempfile.TemporaryDirectory() as name:
            for size in SIZES:
                row = [*network(size, Path(name)), *attention(size, Path(name))]
                print(f"| {' | '.join(row)} |", flush=True)
    except AttnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
