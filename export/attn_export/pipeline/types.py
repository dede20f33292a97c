"""What an export is asked for, and what is known of it on its way. Imports no torch, so that a command line can build options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn_runtime.errors import UsageError

from ..precision import QuantiseOptions
from ..source import ONLY

if TYPE_CHECKING:
    from attn_runtime.bundle import Arrays, AttentionBlock, GoldenRef
    from attn_runtime.compare import Tolerance
    from attn_runtime.spec import TensorSpec

    from ..parity import ParityChecker, Verdict, Written
    from ..reference import Signature
    from ..source import Source, UserDraw


@dataclass(frozen=True)
class ExportOptions:
    """What there is to choose of an export besides its source, its inputs and its precision.

    config         arguments for the callable that `source` names, as in ["classes=10"]; those of a model that is loaded
                   already are its maker's
    checkpoint_key what of a checkpoint is loaded, where it holds several sets of weights: "params_ema", "ema.module"
    example        .npz or .safetensors files (or one) with one array per input: they stand for `inputs`, each is one more
                   case, and float inputs are drawn as they show
    inputs_from    draws all inputs of a case together, where they depend on one another: (sizes, seed) -> arrays by name, a
                   callable or its "package.module:callable"
    assets         a folder with labels.json, image.json, ... in place of the model's own
    graph          export this one graph of a model that has several
    graphs         of a saved Hugging Face model that compares texts and pictures: ("text", "image") makes a graph of each
    task           of a saved Hugging Face model: a pipeline tag, the class for it in place of the one that config.json names
    revision       of hf:ORG/NAME: a branch, tag or commit
    download       fetch hf:ORG/NAME where it is not in the local cache; nothing else touches the network
    extend         of a model that writes token by token: also the graph that reads several tokens at once, which generation
                   with `lookup` runs
    output_names   names for the outputs, in order
    opset          ONNX opset; None is 22, the newest whose attention every target takes
    exporter       PyTorch's exporter: "dynamo" or "torchscript"
    passes, skip   passes to run besides the usual ones, and passes to leave out
    atol, rtol     how far an answer may be from PyTorch's: absolute, and relative to max|reference|; None is the model's own
    sweep          seconds for the sizes between the corners: every size of each dim where that fits, else the likeliest; 0
                   asks none of them, None is 20 seconds, or 1 where one case takes long
    mutate         changes of each final graph that the golden cases are tried on; of further cases that are drawn, those that
                   notice more of them become golden cases too. 0 tries none
    half_io        float16 inputs and outputs too, with a precision that has them
    quantise       what there is to choose of a precision that quantises
    seed           of random weights and of the inputs that are drawn
    stage_seconds  limit for each risky stage, which runs in a child process
    force          replace what is in the target's place even if it is no bundle
    verbose        let the exporter's own logs and warnings through
    """

    config: Sequence[str] = ()
    checkpoint_key: str | None = None
    example: Path | Sequence[Path] | None = None
    inputs_from: str | UserDraw | None = None
    assets: Path | None = None
    graph: str | None = None
    graphs: Sequence[str] = ()
    task: str | None = None
    revision: str | None = None
    download: bool = False
    extend: bool = False
    output_names: Sequence[str] = ()
    opset: int | None = None
    exporter: str = "dynamo"
    passes: Sequence[str] = ()
    skip: Sequence[str] = ()
    atol: float | None = None
    rtol: float | None = None
    sweep: float | None = None
    mutate: int = 0
    half_io: bool = False
    quantise: QuantiseOptions = field(default_factory=QuantiseOptions)
    seed: int = 0
    stage_seconds: float = 600.0
    force: bool = False
    verbose: bool = False


def check_mutate(target: Path, options: ExportOptions) -> None:
    """UsageError for changes of a graph that has no golden cases to notice them."""
    if options.mutate < 0:
        raise UsageError(f"--mutate {options.mutate}: expected a number of changes, or 0 for none")
    if options.mutate and target.suffix != ".attn":
        raise UsageError(
            f"--mutate chooses golden cases, and {target.name} has none; write {target.stem}.attn, or leave it out"
        )


@dataclass
class Stage:
    """One form of the graph, as the manifest tells of it. `changed` is False where the pass left the graph as it was."""

    name: str
    nodes_before: int | None
    nodes_after: int
    changed: bool
    note: str
    verdict: Verdict


@dataclass(frozen=True)
class Form:
    """A graph on its way: where it lies until the export ends, and how it is held against PyTorch: `check(heavy)`, as
    `ParityChecker.check` has it, which names what made the graph."""

    path: Path
    check: Callable[[bool | None], Verdict]


@dataclass(frozen=True)
class Power:
    """What the golden cases notice of a graph that is changed on purpose.

    seed     drew the changes
    tried    changes of the graph, of which the cases that every export has notice `usual`, and all cases `noticed`
    cases    the further golden cases, and what each of them is
    """

    seed: int
    tried: int
    usual: int
    noticed: int
    cases: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"{self.usual} of {self.tried} changes noticed"
        if not self.cases:
            return text if self.usual == self.tried else f"{text}; no case that was drawn notices more"
        named = [f"{name} ({what})" for name, what in self.cases.items()]
        return f"{text}, {self.noticed} with {' and '.join(filter(None, (', '.join(named[:-1]), named[-1])))}"

    def to_json(self) -> dict[str, Any]:
        cases = [{"case": name, "inputs": what} for name, what in self.cases.items()]
        return {"seed": self.seed, "mutants": self.tried, "usual": self.usual, "noticed": self.noticed, "cases": cases}


@dataclass
class GraphExport:
    """Everything known of one graph of an export, before it is written.

    label   "NAME: " where the export has several graphs, for lines of progress
    sweep_folder   where PyTorch's answers between the corners lie while the export goes on
    forms   the capture, what each pass that changed it made of it, and what is published of several graphs
    data    the names of the data files that the graph's weights lie in
    power   what the golden cases notice, where that was tried
    """

    name: str
    label: str
    signature: Signature
    checker: ParityChecker
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: Tolerance
    opset: int
    exporter: str
    golden: list[GoldenRef[Arrays]]
    sweep_folder: Path
    cures: list[dict[str, str]] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    forms: list[Form] = field(default_factory=list)
    attention: tuple[AttentionBlock, ...] = ()
    data: tuple[str, ...] = ()
    power: Power | None = None

    @property
    def worst_error(self) -> float:
        return self.stages[-1].verdict.worst

    @property
    def file(self) -> str:
        return f"{self.name}.onnx"

    def golden_file(self, case: str, side: str) -> str:
        """Where the "inputs" or "outputs" of a golden case lie in the bundle."""
        return f"golden/{'' if self.name == ONLY else f'{self.name}.'}{case}.{side}.safetensors"


@dataclass
class Export:
    """Everything known at the end of an export: what was exported, and each of its graphs by name, and what PyTorch wrote."""

    source: Source
    graphs: dict[str, GraphExport] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)

    @property
    def graph(self) -> GraphExport:
        """The graph of an export that has one."""
        (only,) = self.graphs.values()
        return only

    @property
    def worst_error(self) -> float:
        return max(g.worst_error for g in self.graphs.values())
