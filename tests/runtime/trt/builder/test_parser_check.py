"""The network that TensorRT's parser made is held against the graph, and what comes of a difference: real parses and builds."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_runtime.errors import EngineError
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from attn_runtime.trt.builder.build_process import built_from_json, built_to_json
from attn_runtime.trt.builder.compile import compile_engine
from onnx import parser
from support.tensorrt.parsed_networks import IMAGE, Parsed, save_text

pytestmark = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))

VALUES = "{1.0, 2.0, 3.0, 4.0}"
NARROWED = (
    *("(float16[1,4,8] x) => (float16[1,4,8] y)", "y = BatchNormalization (x, w, w, w, w)"),
    *(18, f"<float[4] w = {VALUES}>"),
)
ONE_GROUP = "y = GroupNormalization <num_groups = 1> (x, s, b)"


def test_nodes_of_one_name_in_functions_and_in_bodies(tmp_path: Path) -> None:
    twice = (
        "[n] z = GroupNormalization <num_groups = {}> (x, s, b) [n] y = GroupNormalization <num_groups = 4> (z, s, b)"
    )
    assert Parsed(save_text(tmp_path / "a.onnx", IMAGE, twice.format(8), 21)).misread() == ()
    assert len(Parsed(save_text(tmp_path / "b.onnx", IMAGE, twice.format(1), 21)).misread()) == 1
    called = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21, "my" : 1]> g {IMAGE} {{ z = my.norm (x, s, b) y = my.norm (z, s, b) }} '
        '<opset_import: ["" : 21], domain: "my"> norm (x, s, b) => (y) { y = GroupNormalization <num_groups = 1> (x, s, b) }'
    )
    (tmp_path / "c.onnx").write_bytes(called.SerializeToString())
    assert len(Parsed(tmp_path / "c.onnx").misread()) == 2
    norm, other = "u = GroupNormalization <num_groups = 1> (x, s, b)", "u = Relu (x)"
    made = [
        f"{branch} = b () => (float[2,16,8,8] u) {{ {body} }}"
        for branch, body in (("then_branch", norm), ("else_branch", other))
    ]
    body = f"y = If (c) <{', '.join(made)}>"
    choice = Parsed(save_text(tmp_path / "d.onnx", IMAGE.replace("s,", "s, bool c,", 1), body, 21))
    assert [one.text[:13] for one in choice.misread()] == ["its one group"]


def defined(call: str, function: str, domain: str = "my") -> str:
    """y is a function of x, which is defined in the file."""
    return (
        f'<ir_version: 10, opset_import: ["" : 21, "{domain}" : 1]> g (float[3,4] x) => (float[3,4] y) {{ [it] y = {call} }} '
        f'<opset_import: ["" : 21], domain: "{domain}"> {function}'
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (defined("my.Relu (x)", "Relu (x) => (y) { y = Neg (x) }"), ["ACTIVATION"]),
        (defined("my.Body (x)", "Body (x) => (y) { [inner] y = my.Relu (x) }"), ["ACTIVATION"]),
        (defined("my.Negative (x)", "Negative (x) => (y) { [it] y = Neg (x) }"), []),
        (defined("my.Relu (x)", "Unused (x) => (y) { y = Neg (x) }"), ["ACTIVATION"]),
    ],
)  # fmt: skip
def test_an_operator_of_another_domain_is_not_read_by_its_name(text: str, read: list[str], tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(parser.parse_model(text).SerializeToString())
    parsed = Parsed(file)
    kinds = [parsed.network.get_layer(number).type.name for number in range(parsed.network.num_layers)]
    assert kinds == (read or ["UNARY"])
    name = "inner" if "inner" in text else "it"
    said = f'node "{name}" (Relu)', "it is of the domain my, and TensorRT read ONNX's operator of that name"
    assert [(one.place, one.text) for one in parsed.misread()] == ([said] if read else [])


def test_attributes_that_a_call_gives_are_not_held_against_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    text = defined("my.Along <a = 0> (x)", "Along <a> (x) => (y) { y = Softmax <axis: int = @a> (x) }")
    file.write_bytes(parser.parse_model(text).SerializeToString())
    parsed = Parsed(file)
    assert parsed.misread() == () and next(node for node in parsed.graph.nodes if node.op_type == "Softmax").parametric


def test_one_channel_is_one_group(tmp_path: Path) -> None:
    sides = IMAGE.replace("16", "1")
    assert Parsed(save_text(tmp_path / "m.onnx", sides, ONE_GROUP, 21)).misread() == ()


# --- what comes of it ---------------------------------------------------------------------------------------------


def test_the_equal_form_of_one_group_passes(tmp_path: Path) -> None:
    sizes = {"l": [2, 1, -1], "o": [1], "k": [2, 16, 8, 8]}
    shapes = " ".join(f"{name} = Constant <value_ints = {size}> ()" for name, size in sizes.items())
    norm = (
        "i = ConstantOfShape <value = float[1] {1.0}> (o) z = ConstantOfShape (o) n = InstanceNormalization (r, i, z)"
    )
    body = f"{shapes} r = Reshape (x, l) {norm} y = Reshape (n, k)"
    assert Parsed(save_text(tmp_path / "m.onnx", IMAGE, body, 21)).misread() == ()


def test_nothing_is_built_of_a_graph_that_is_misread(tmp_path: Path) -> None:
    file = save_text(
        tmp_path / "m.onnx", IMAGE, "z = Relu (x) [gn] y = GroupNormalization <num_groups = 1> (z, s, b)", 21
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EngineError) as caught:
        compile_engine(file, flavour="rtx")
    assert str(caught.value).startswith(
        'file m.onnx: TensorRT reads node "gn" (GroupNormalization) as something else: its one group is all channels'
    )
    assert "attn-export to-trt without --skip-pass writes it in an equal form" in str(caught.value) and "\n" not in str(
        caught.value
    )
    assert caught.value.exit_code == 14 and sorted(tmp_path.rglob("*")) == before


def test_what_may_change_is_a_note_beside_the_engine(tmp_path: Path) -> None:
    done = compile_engine(save_text(tmp_path / "m.onnx", *NARROWED), flavour="rtx")
    assert [note for note in done.notes if "rounded to half precision" in note]


def test_misreadings_come_back_from_the_child(tmp_path: Path) -> None:
    made = network.build(library.load("rtx"), save_text(tmp_path / "m.onnx", IMAGE, ONE_GROUP, 21), [])
    assert made.plan is None and len(made.misread) == 1
    assert built_from_json(built_to_json(made), None, None) == made
