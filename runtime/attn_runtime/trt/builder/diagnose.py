"""Why a build failed, for a person: the ONNX node, the PyTorch module and line it came from, what TensorRT said, what
to do. TensorRT's own text is its source lines and assertions; what is sure is said in words, the rest is quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...errors import EngineError
from ...escape import printable
from ...onnx_file import Node, OnnxGraph
from ...text_format import bytes_text
from .network import BuildOptions, Built, ParserProblem
from .preflight import place

_ORT = "change the module, or run the model with --backend ort"
#: What follows is TensorRT looking for a GPU that a build does without, and its own source lines.
_NOISE = re.compile(r"\[checkMacros\.cpp.*|(?: In \w+)? at /\S+\.\w+:\d+|^Invalid Node - \S+ |Assertion failed: ")
_PREFIX = re.compile(r"^\w+::\w+: Error Code \d+: [\w ]+?\((.*?)\)?$")
_QUOTED = re.compile(r'.*&& "(.*?)"\.?$')
_WORKSPACE = re.compile(r"no tactics.*workspace|OutOfMemory", re.IGNORECASE)

#: (what TensorRT's text has in it, what that means, what to do); {operator} is the node's.
_KNOWN = (
    (
        r"NonZero plugin creator",
        "how many places a condition finds is a size that TensorRT does not know",
        "say it with torch.where over all places, or run the model with --backend ort",
    ),
    (
        r"Plugin not found|^false$|plugin creator .* was not found|No importer registered",
        "this TensorRT has no operator {operator}",
        _ORT,
    ),
    (
        r"must have same input types|element type \(\w+\) differs",
        "",
        "make the types agree: attn-export to-trt --fp16 makes a typed graph that does",
    ),
    (
        r"Failed to convert ONNX da[a-z]+ type",
        "an input has a type that TensorRT has not",
        "change it in the module; int32, int64, bool and float types are taken",
    ),
    (
        r"(?i)unsupported reduction type|with reduction is not supported",
        "TensorRT scatters without a reduction",
        "where the grid is small and its size known, attn-export to-trt writes it otherwise; else sum by a product with a "
        "one-hot matrix in the module, or run the model with --backend ort",
    ),
    (
        r"(?i)antialias",
        "TensorRT's Resize has no antialias",
        "give both sizes fixed and export again (a product with a matrix then), or leave antialias out",
    ),
    (
        r"Non-zero zero point",
        "its zero point is not 0, and TensorRT takes symmetric quantisation alone",
        "quantise symmetrically (ActivationSymmetric and WeightSymmetric in ONNX Runtime's quantize_static)",
    ),
    (
        r"Scale coefficients must all be positive",
        "a scale is 0, negative or no number",
        "calibrate with inputs that move it, or leave the node out of the quantisation",
    ),
    (
        r"must divide into whole blocks",
        "",
        "take a block that divides the dimension, or leave the node out of the quantisation",
    ),
    (r"HW-specific datatypes", "", "leave the GPUs without that type out of --compute-capability"),
    (r"Turing \(SM75\)", "", "leave 7.5 out of --compute-capability, or compile --precision fp16"),
    (r"missing dimensions in profile|decides shapes by its values", "", "give its ranges with the three options"),
    (r"Cuda Runtime \(out of memory", "the GPU's memory is full", "lower --workspace, or free the GPU"),
)


class CompilerFailure(EngineError):
    """The graph was read and TensorRT's compiler gave up on it, for a reason of its own: another form may build."""


def explain(built: Built, graph: OnnxGraph, options: BuildOptions, needed: int | None, where: str) -> EngineError:
    """The error that a build without a plan amounts to. `needed` is the scratch memory in bytes of a build without a
    limit, where that is known."""
    if built.problems:
        lines = [_parser_line(problem, graph) for problem in built.problems]
        more = f" (and {len(lines) - 1} more, below)" if len(lines) > 1 else ""
        return EngineError(f"{where}: TensorRT can't read {lines[0]}{more}", "\n".join(lines) if more else "")
    errors = [text for text in map(clean, built.errors) if text]
    said = " ".join(errors)
    if options.workspace is not None and _WORKSPACE.search(said):
        need = f"without a limit it takes {bytes_text(needed)}" if needed else "it needs more"
        rounded = f"--workspace {_round_up(needed)}MiB" if needed else "a larger --workspace"
        return EngineError(
            f"{where}: a workspace of {bytes_text(options.workspace)} is too small, no kernel fits; {need}. Give "
            f"{rounded}, or none"
        )
    text = errors[0] if errors else "the library gave no reason"
    node = _node_in(said, graph.nodes)
    meaning, advice = _known(text, node.op_type if node else "")
    kind = CompilerFailure if advice == _ORT and not meaning else EngineError
    return kind(
        f"{where}: {f'{place(node)}: ' if node else ''}{meaning or printable(text, 400)}; {advice}",
        "\n".join(printable(t, 400) for t in errors[1:]),
    )


def clean(text: str) -> str:
    """TensorRT's message without its source lines; "" for one that says nothing of this build."""
    text = _NOISE.sub("", " ".join(text.split())).strip()
    if inner := _PREFIX.match(text):
        text = inner[1]
    if quoted := _QUOTED.match(text):
        text = quoted[1]
    return "" if text.startswith("ModelImporter.cpp") else text.strip(" .;")


def _parser_line(problem: ParserProblem, graph: OnnxGraph) -> str:
    node = graph.node_by_name().get(problem.node) or _node_of_importer(problem, graph)
    operator = problem.operator or (node.op_type if node else "")
    text = clean(problem.text)
    at = place(node) if node else f'node "{problem.node}" ({operator})' if problem.node else "the graph"
    meaning, advice = _known(text, operator)
    return f"{at}: {meaning or printable(text, 400)}; {advice}"


def _known(text: str, operator: str) -> tuple[str, str]:
    for pattern, meaning, advice in _KNOWN:
        if re.search(pattern, text):
            return meaning.format(operator=operator or "of this kind"), advice
    return "", _ORT


def _node_in(text: str, nodes: Iterable[Node]) -> Node | None:
    """The first node that TensorRT's text names."""
    words = set(re.findall(r"[\w./:-]+", text))
    return next((node for node in nodes if node.name in words), None)


def _node_of_importer(problem: ParserProblem, graph: OnnxGraph) -> Node | None:
    """The first node of the operator whose importer complains: some of these say neither node nor operator."""
    operator = problem.operator or problem.importer
    # An attribute that is not there is the default, which is read.
    told = [n for n in graph.nodes if n.op_type == operator]
    reducing = [n for n in told if n.attributes.get("reduction") not in (None, "none")]
    return next(iter(reducing if "reduction" in problem.text.lower() and reducing else told), None)


def _round_up(size: int) -> int:
    mib = -(-size // 2**20)
    return mib + mib // 8 + 1
