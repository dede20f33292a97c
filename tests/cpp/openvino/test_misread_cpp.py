"""What OpenVINO would read otherwise is refused from C++ as from Python: the same nodes, for the same reasons."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.backends import openvino as backend
from attn_runtime.errors import BackendError
from attn_runtime.onnx_file import read_graph
from attn_runtime.session import open_session
from onnx import parser
from support.checks.node_cases import node_cases
from support.graphs.cpp_bundles import bundle
from support.machines.cpp_session import Opened

HEAD = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]> g '
#: What those tests have nothing of.
MADE = {
    "scale of 0": "(float[2,4,5,8] q) => (float[2,4,5,8] y) { y = Attention <scale = 0.0> (q, q, q) }",
    "one causal past": "(float[2,4,A,8] q, float[2,4,B,8] k, float[2,4,3,8] p) => (float[2,4,A,8] y, float[2,4,C,8] a, "
    "float[2,4,C,8] b) { y, a, b = Attention <is_causal = 1> (q, k, k, , p, p) }",
    "as many": "(float[2,4,A,8] q, float[2,4,3,8] p) => (float[2,4,A,8] y, float[2,4,C,8] a, float[2,4,C,8] b) "
    "{ y, a, b = Attention <is_causal = 1> (q, q, q, , p, p) }",
    "unnamed": "(float[2,4,N,8] q, float[2,4,3,8] p) => (float[2,4,N,8] y, float[2,4,C,8] a, float[2,4,C,8] b) "
    "{ r = Relu(q) y, a, b = Attention <is_causal = 1> (r, r, q, , p, p) }",
    "contrib attention": "(float[2,5,32] x, float[32,96] w) => (float[2,5,32] y) "
    "{ y = com.microsoft.Attention <num_heads = 4, scale = 0.3> (x, w) }",
    "contrib mask": "(float[2,5,32] x, float[32,96] w) => (float[2,5,32] y) "
    "{ y = com.microsoft.Attention <num_heads = 4, mask_filter_value = -1.0> (x, w) }",
    "contrib plain": "(float[2,5,32] x, float[32,96] w) => (float[2,5,32] y) "
    "{ y = com.microsoft.Attention <num_heads = 4> (x, w) }",
    "grouped": "(float[1,5,32] q) => (float[1,5,32] y) "
    "{ y = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 4> (q, q, q) }",
    "not compared": "(float[2,3,3] x) => (float[2,3,3] y) { y = com.microsoft.Inverse(x) }",
    "rotary of one": "(float[2,4,5,8] x, int64[1] p, float[16,4] c) => (float[2,4,5,8] y) "
    "{ y = com.microsoft.RotaryEmbedding (x, p, c, c) }",
    "rotary of rows": "(float[2,4,5,8] x, int64[2,5] p, float[16,4] c) => (float[2,4,5,8] y) "
    "{ y = com.microsoft.RotaryEmbedding (x, p, c, c) }",
    "tile of a constant": "(float[1,2,3,4] x) => (float[A,B,C,D] y) "
    "{ r = Constant <value = int64[4] {1,2,2,2}> () y = Tile(x, r) }",
    "tile of a computed one": "(float[1,2,3,4] x, int64[4] r) => (float[A,B,C,D] y) { y = Tile(x, r) }",
    "no axes": "(float[3] x) => (float[3] y) { y = ReduceL1 <noop_with_empty_axes = 1> (x) }",
    "eight bits": "(uint8[2] x) => (uint8[2] y) { c = Constant <value = uint8[2] {1, 2}> () y = Mul(x, c) }",
    "between": "(float[2] x) => (float[2] y) <int8[2] a> { a = Cast <to = 3> (x) b = Sub(a, a) y = Cast <to = 1> (b) }",
    "shift": "(int32[2] x) => (int32[2] y) { y = BitShift <direction = \"RIGHT\"> (x, x) }",
    "in a body": "(bool c, uint8[2] x) => (uint8[2] y) { y = If (c) "
    "<then_branch = t () => (uint8[2] z) { z = Add(x, x) }, else_branch = e () => (uint8[2] z) { z = Identity(x) }> }",
    "forgetful": "(float[3,1,2] x, float[1,8,2] w) => (float[3,1,1,2] y) "
    "{ y = LSTM <hidden_size = 2, input_forget = 1> (x, w, w) }",
    "past the padding": "(float[1,1,8] x) => (float[1,1,5] y) { y = AveragePool <kernel_shape = [3], strides = [2], "
    "pads = [1, 1], ceil_mode = 1, count_include_pad = 1> (x) }",
    "no padding": "(float[1,1,8] x) => (float[1,1,4] y) { y = AveragePool <kernel_shape = [3], strides = [2], ceil_mode = 1, "
    "count_include_pad = 1> (x) }",
    "places alone": "(float[1,1,4,5] x) => (float[1,1,2,2] y) "
    "{ y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], storage_order = 1> (x) }",
    "ai.onnx": "(uint8[2] x) => (uint8[2] y) { y = ai.onnx.Add(x, x) }",
}  # fmt: skip
#: Half of each, for every rule that Python's list has.
RULES = {
    "and all positions would be attended to", "its scale of 0", "is_causal with past keys", "its layout of 1",
    "its last window", "antialias is computed", "exclude_outside is ignored", "its keep_aspect_ratio_policy",
    "align_corners by scales", "its mode max", "its mode is ignored", "onesided gives", "-3 stays -3",
    "repeats that are computed", "8 bits saturate", "are shifted otherwise", "it keeps the past in place",
    "its input_forget", "past the padding is counted", "its storage_order",
    "nobody has compared", "its scale is ignored", "its mask_filter_value is ignored", "one position for all rows",
}  # fmt: skip


def test_both_refuse_the_same_nodes_for_the_same_reasons(
    cpp_build: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = {name: case.model for name, case in node_cases(tmp_path_factory).items()}
    models |= {name: parser.parse_model(HEAD + text) for name, text in MADE.items()}
    files = {}
    for number, (name, model) in enumerate(models.items()):
        files[name] = tmp_path / f"{number}.onnx"
        files[name].write_bytes(model.SerializeToString())
    done = subprocess.run(
        [cpp_build / "tests" / "attn_read_bundles", "misread", *files.values()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = dict(zip(files, lines, strict=True))
    expected = {
        name: [[node.name, node.op_type, problem] for node, problem in backend.misread(read_graph(file, name))]
        for name, file in files.items()
    }
    assert {name: told[name] for name in files if told[name] != expected[name]} == {}
    problems = {problem for found in expected.values() for *_, problem in found}
    assert not [rule for rule in RULES if not any(rule in problem for problem in problems)]
    assert not [problem for problem in problems if not any(rule in problem for rule in RULES)], (
        "a rule that this test lacks"
    )
    for name in ("as many", "contrib plain", "rotary of rows", "tile of a constant", "no padding", "places alone"):
        assert told[name] == [], name
    assert len(told["in a body"]) == len(told["ai.onnx"]) == 1


def test_a_graph_with_a_window_is_refused_at_the_node_that_python_names(tmp_path: Path) -> None:
    def make(file: Path) -> None:
        text = "(float[1,2,4,8] q) => (float[1,2,4,8] y) { [banded] y = Attention <left_window_size = 1> (q, q, q) }"
        file.write_bytes(parser.parse_model(HEAD.replace("23", "26") + text).SerializeToString())

    q = np.ones((1, 2, 4, 8), np.float32)
    path = tmp_path / "window.attn"
    bundle(path, make, {"q": q}, lambda q: {"y": q}, "", "")
    with pytest.raises(BackendError) as caught:
        open_session(path, "cpu", "openvino")
    with pytest.raises(BackendError) as in_cpp:
        Opened(path)
    for told in (str(in_cpp.value), str(caught.value)):
        assert 'OpenVINO would answer wrongly: node "banded" (Attention): its left_window_size of 1 is ignored' in told
        assert "take backend ort" in told
