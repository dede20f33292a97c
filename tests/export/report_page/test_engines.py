"""What an engine's audit found, and what became of each attention block in it."""

from __future__ import annotations

import dataclasses

from attn_export.attention import InspectedEngine, InspectedFile
from attn_export.report_page import attention_blocks, engines
from attn_runtime.bundle import AttentionBlock
from attn_runtime.trt import Audit, BlockFusion, EngineKey
from attn_runtime.trt.precision_audit import AuditedLayer
from support.pages.page_tags import PageTags

FUSED, OTHER, UNTOLD = (
    AttentionBlock(
        name, f"{name}.s", f"{name}.softmax", f"{name}.v", "MatMul", "float16", 4, 2, 64, None, "T", "64", "causal"
    )
    for name in ("one", "two", "three")
)
KEY = EngineKey(
    model="net", file="model.fp16.onnx", model_sha256="a" * 64, graph="model", precision="fp16", type="fp16", profiles=(),
    flavour="rtx", version="1.7.1.116", compute_capabilities=("8.6", "8.9"), os="linux-x86_64", engine_sha256="b" * 64,
    engine_size=5 << 20, scratch=None, workspace=None, level=None, tf32=False,
    audit=Audit("fp16", 30, {"float16": 3, "float32": 1}, "", (AuditedLayer("norm", "gemm", "float32", ("n1", "n2")),),
                (AuditedLayer("bad", "gemm", "float32", ("n3",)),), {"int8": 2}, ("w",)),
    attention=(BlockFusion(FUSED, True, "mha_kernel", "", ""), BlockFusion(OTHER, False, "", "too wide", "narrow it")),
    seconds=1.5, created="2026-01-31T12:00:00+00:00", builder="attn-runtime 0.1.0",
)  # fmt: skip


def file(*inspected: InspectedEngine) -> InspectedFile:
    return InspectedFile(
        "model.fp16.onnx", "model", "fp16", (FUSED, OTHER, UNTOLD), inspected, "attn-export to-trt x", "fp16-trt"
    )


def test_the_audit_is_told() -> None:
    text = PageTags(engines.told([file(InspectedEngine("a.engine", KEY))])).text
    for told in (
        "a.engine", "rtx 1.7.1.116", "sm 8.6, sm 8.9", "5.0 MiB, scratch memory not told", "float163", "float321",
        "strongly typed", "kept on purpose", "n1, n2", "not as asked", "weights of 2 products lie in int8; 1 of them",
    ):  # fmt: skip
        assert told in text, told
    weak = dataclasses.replace(KEY, weak=True, audit=Audit("fp16", 0, {}, "no layers were printed"))
    text = PageTags(engines.told([file(InspectedEngine("b.engine", weak))])).text
    assert "weakly typed" in text and "not audited: no layers were printed" in text


def test_a_damaged_and_a_missing_engine_are_told() -> None:
    text = PageTags(engines.told([file(InspectedEngine("a.engine", None, "can't be judged: damaged"))])).text
    assert "can't be judged: damaged" in text
    assert "No TensorRT engine" in engines.told([file()])


def test_each_block_is_fused_or_not_and_why_not() -> None:
    page = attention_blocks.told([file(InspectedEngine("a.engine", KEY))])
    text = PageTags(page).text
    assert "one4/264/?T x 64causalfloat16fused" in text and "float16not fused" in text and "float16not told" in text
    assert "twoa.enginetoo widenarrow it" in text and 'title="mha_kernel"' in page
    stale = InspectedEngine("a.engine", KEY, "was built from another file")
    assert "one is built from fp16-trt instead" in attention_blocks.told([file(stale)])
    assert "no attention block" in attention_blocks.told([dataclasses.replace(file(), blocks=())])
