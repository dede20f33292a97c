"""One graph quantised: what may be is found, written for a CPU, and held against the record."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle import Graph
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import ParityError, PassError
from attn_runtime.onnx_file import read_graph
from attn_runtime.spec import TensorSpec

from ..attention import find_blocks
from ..console import Console
from ..onnx_graph import EXTERNAL_FROM_BYTES, info_of, load, read_info
from ..parity import ReferenceSet, check, parity_error, passed
from .calibration import METHODS, Samples, calibrate, named_samples, open_samples, samples_of_files, second_moments
from .half import FurtherCases, TypedGraph, hold
from .layerwise import short
from .quantised import (
    Aim,
    QuantiseOptions,
    Search,
    Site,
    Weights,
    before_logarithms,
    find_sites,
    fits_cpu_form,
    has_moments,
    key,
    round_weights,
    search,
    weight_hash,
    write_cpu_form,
)
from .schemes import QuantisedScheme

#: A graph whose answers fail where they are really computed is searched again with so much of the limit, in this order.
SHARES = (1.0, 0.8, 0.6)
#: The greatest number of each type that activations are rounded to.
_GREATEST = {"int8": 127.0, "fp8": 448.0}
#: What float16 holds.
_LEAST_SCALE, _MOST_SCALE = 2.0**-24, 65504.0
#: A graph with more of its weights left than this is not worth its place beside fp32.
MAX_LEFT = 0.5
#: The least that a limit of an output's own may be, as a share of max|reference|; a kernel of another CPU adds in another order.
_LEAST_RTOL, _TIMES_MEASURED = 1e-3, 4.0
#: Of the cases beyond the record that failed, so many join it before the next search.
_MOST_ADDED = 2


@dataclass
class Quantisation:
    """One graph on its way: `prepare` once, `choose` what is left, `write` the file; `left` may grow in between.

    source      fp32, with a unique name on every node
    record      the answers that it is held to
    own_limits  whether outputs get limits of their own, as narrow as was measured
    inputs      of a plain file, which its record was drawn by
    samples     what it is calibrated on, where that is neither of its own golden inputs nor named for it alone
    hashes      of the weight of each of these nodes, which other graphs may have too
    every       the sites of all weights that could be quantised in size; `sites` are those that may be
    places      by node of these, the module that it lies in
    delicate    nodes that are not quantised for what their products go into, by whose size nothing is judged
    scales      of static activations, by tensor; `calibration` is the table that they came from
    """

    graph: str
    source: Path
    scheme: QuantisedScheme
    record: ReferenceSet
    tolerance: Tolerance
    isolated: ChildProcess
    work: Path
    min_agreement: float | None = None
    own_limits: bool = True
    cases: FurtherCases = field(default_factory=FurtherCases)
    inputs: tuple[TensorSpec, ...] = ()
    samples: Samples | None = None
    scales: Mapping[str, float] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    every: tuple[Site, ...] = ()
    places: dict[str, str] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    found: Search | None = None
    unfit: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, bytes] = field(default_factory=dict)
    delicate: Collection[str] = ()
    left: dict[str, str] = field(default_factory=dict)
    half_io: bool = False
    _held: int = 0

    @cached_property
    def large(self) -> bool:
        """Whether its weights lie beside it."""
        return read_info(self.source).weight_bytes >= EXTERNAL_FROM_BYTES

    @property
    def path(self) -> Path:
        """Of the file for a CPU, once it is written."""
        return self.work / f"{self.scheme.name}.onnx"

    @property
    def weights_file(self) -> Path:
        """What the weights were rounded to, once they are."""
        return self.work / "weights.safetensors"

    @property
    def weights(self) -> Weights | None:
        """What lies in the weights file, read at each use: the graphs of a model would hold as often what they have in common,
        while a search takes the memory."""
        if not self.weights_file.exists():
            return None
        return Weights.read(self.weights_file, self.scheme.weights, self.scheme.block)

    def prepare(
        self, options: QuantiseOptions, graph: Graph | None, console: Console, before: Sequence[Path] = ()
    ) -> None:
        """Find the sites, round their weights, measure ranges. What no engine takes is left, with the reason.

        `before` are the weights files of other graphs of the model.
        """
        model = onnx.load(self.source, load_external_data=False)
        self.every = tuple(find_sites(model, self.scheme.operators))
        self.delicate = before_logarithms(model, self.every) if self.scheme.activations != "float" else ()
        modules = read_graph(self.source, self.source.name).node_by_name()
        self.places = {site.node: modules[site.node].module for site in self.every}
        for site in self.every:
            if asked(site.node, self.places[site.node], options.leave):
                self.unfit[site.node] = "asked for with --leave"
                self.hashes[site.node] = weight_hash(self.source, site)
            elif site.node in self.delicate:
                self.unfit[site.node] = "it feeds a logarithm, which shows the rounding of small values"
            elif (reason := _unfit(site, self.scheme)) is not None:
                self.unfit[site.node] = reason
        self.left = dict(self.unfit)
        self.sites = tuple(site for site in self.every if site.node not in self.unfit)
        if not self.sites:
            return
        if self.scheme.calibrated:
            self._calibrate(options, graph, console)
        moments = self._moments(options, graph, console) if self.scheme.rounding == "gptq" else {}
        scheme = self.scheme
        with console.stage("rounding") as line:
            try:
                rounded = round_weights(
                    self.source, self.sites, scheme.weights, scheme.block, scheme.rounding, moments, self.weights_file,
                    self.isolated, [path for path in before if path.exists()],
                )  # fmt: skip
            except TaskFailed as problem:
                raise PassError(f"the weights can't be rounded: {problem.reason}") from problem
            self.hashes |= {site.node: rounded.hashes[key(site)] for site in self.sites}
            line.done(f"{len(rounded.found)} weights to {scheme.weights} by {scheme.rounding}")

    def _samples(self, options: QuantiseOptions, graph: Graph | None) -> Samples:
        if self.samples is not None:
            return self.samples
        if graph is not None:
            return open_samples(options.calibrate, graph, self.scheme.held_to)
        if options.calibrate is not None:
            return named_samples(options.calibrate, self.inputs)
        return samples_of_files(self.record.inputs, self.inputs)

    def _moments(self, options: QuantiseOptions, graph: Graph | None, console: Console) -> Mapping[str, Path]:
        """The second moments of what products read."""
        tensors = list(dict.fromkeys(site.activation for site in self.sites if has_moments(site)))
        if not tensors:
            return {}
        samples = self._samples(options, graph)
        with console.stage("calibrate") as line:
            found = second_moments(
                self.source, tensors, samples, self.isolated, self.work, line.progress, large=self.large
            )
            line.done(f"second moments of {len(tensors)} tensors over {samples.source}")
        return found

    def _calibrate(self, options: QuantiseOptions, graph: Graph | None, console: Console) -> None:
        """Measure the ranges of what the sites read, and the scales that come of them."""
        tensors = list(dict.fromkeys(site.activation for site in self.sites))
        samples = self._samples(options, graph)
        method = options.calibration or METHODS[0]
        with console.stage("calibrate") as line:
            table = calibrate(
                self.source, tensors, samples, method, self.isolated, self.work, line.progress,
                large=self.large,
            )  # fmt: skip
            line.done(f"{len(tensors)} tensors over {table.samples} samples of {table.source}, {table.method}")
        most = _GREATEST[self.scheme.weights]
        self.scales = {name: _scale(found.largest / most) for name, found in table.ranges.items()}
        self.calibration = table.to_json()

    def choose(self, share: float) -> None:
        """Search for what must be left, with this share of the limit."""
        self.left = dict(self.unfit)
        if not self.sites:
            return
        aim = Aim(self.tolerance.times(share), self.min_agreement if self.classes else None, self.classes)
        try:
            found = search(
                self.source, self.sites, self.scheme.weights, self.scheme.activations, self.weights_file, self.scheme.block,
                self.scales, self.record, aim, self.isolated,
            )  # fmt: skip
        except TaskFailed as problem:
            raise PassError(f"the quantised graph can't be measured: {problem.reason}") from problem
        if found.chosen is None:
            raise self._failure(found, share)
        # Of the whole limit, whatever share of it was searched with.
        self.found = replace(found, alone={node: ratio * share for node, ratio in found.alone.items()})
        for node in found.chosen.left:
            self.left.setdefault(node, f"error alone {short(self.found.alone[node])} of the limit")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Outputs whose greatest element is an answer: a classifier's, and a generator's next token."""
        outputs = [o.name for o in onnx.load(self.source, load_external_data=False).graph.output]
        return tuple(outputs) if self.record.classifier else tuple(name for name in outputs if name == "logits")

    def _failure(self, found: Search, share: float) -> ParityError:
        best = min(found.front, key=lambda point: point.ratio)
        agreement = "" if self.min_agreement is None else f" and {self.min_agreement:.1%} agreement"
        most, limit = next(iter(found.alone.items())), self.tolerance.rtol * share
        return ParityError(
            f"{self.scheme.name} does not match {self.record.against} within {limit:.0e} of "
            f"max|reference|{agreement}: with {len(best.left)} of {len(self.sites)} weights left in fp32 it is off by "
            f"{best.error:.1e}{'' if best.agreement is None else f', agreement {best.agreement:.1%}'}; the most is done by "
            f"{most[0]} (alone {short(most[1] * share)} of the limit). {self._advice}"
        )

    @property
    def _advice(self) -> str:
        return (
            "Allow more with --max-error, take another scheme, or stay in fp32. "
            f"No {self.scheme.name} graph was written."
        )

    def too_much_left(self, share: float) -> ParityError:
        """The error of a graph of whose weights hardly any are quantised."""
        return ParityError(
            f"{self.scheme.name} leaves {share:.0%} of the weights of graph {self.graph} in fp32 to match "
            f"{self.record.against} within {self.tolerance.rtol:.0e} of max|reference|, more than {MAX_LEFT:.0%}: hardly "
            f"anything of it would be smaller or faster. {self._advice}"
        )

    def share_left(self) -> float:
        """Of the elements of all weights that could be quantised in size, the part that is left; what feeds a logarithm is none
        of them."""
        every = [site for site in self.every if site.node not in self.delicate]
        total = sum(site.elements for site in every)
        return sum(site.elements for site in every if site.node in self.left) / total if total else 0.0

    def write(self) -> TypedGraph:
        """The file for a CPU, run by ONNX Runtime at every case of the record and beyond it.

        Raises ParityError where its answers do not hold, which `choose` with less of the limit may mend.
        """
        path = self.path
        self.write_file(self.left, path)
        try:
            checks = check(path, self.record, self.tolerance, self.work, self.isolated, self.large)
        except TaskFailed as problem:
            raise PassError(f"the {self.scheme.name} graph can't be run: {problem.reason}") from problem
        if not passed(checks):
            raise parity_error(self.scheme.name, checks, self.record.against, advice=self._advice)
        self._held += 1
        further = hold(self, path, self.cases, self.work / f"further{self._held}")
        if further.failing:
            self.record = replace(self.record, cases=(*self.record.cases, *further.failing[:_MOST_ADDED]))
            raise parity_error(self.scheme.name, further.checks, self.record.against, advice=self._advice)
        model = load(path)
        typed = TypedGraph(
            self.scheme.name, path, self.scheme.type, self.graph, (), 0.0, find_blocks(model), self.tolerance,
            tuple(checks), False, read_info(self.source).nodes, info_of(model).nodes, 0.0, "; ".join(self.lines)[:8000],
            further=further, quantised=self.to_json(),
        )  # fmt: skip
        return replace(typed, tolerance=self.tightened(typed))

    def write_file(self, left: Collection[str], path: Path) -> None:
        """The file for a CPU at `path`, with the nodes in `left` as they are."""
        weights = self.weights
        if weights is None:
            model = onnx.load(self.source)
            onnx.save(model, path)
            return
        write_cpu_form(self.source, self.scheme, self.sites, left, weights, self.scales, path)

    def tightened(self, typed: TypedGraph) -> Tolerance:
        if not self.own_limits:
            return self.tolerance
        return typed.own_limits(self.tolerance, _LEAST_RTOL, _TIMES_MEASURED)

    @property
    def lines(self) -> list[str]:
        """Per place, what is left and why: "left in fp32: layers.3.ffn.down (error alone 0.9 of the limit)"."""
        return [f"left in fp32: {row['module'] or row['node']} ({row['reason']})" for row in self.rows]

    @property
    def rows(self) -> list[dict[str, str]]:
        operators = {site.node: site.operator for site in self.every}
        return [
            {"node": name, "operator": operators[name], "module": self.places[name], "reason": reason}
            for name, reason in self.left.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        entry: dict[str, Any] = {
            "weights": self.scheme.weights,
            "activations": self.scheme.activations,
            "rounding": self.scheme.rounding,
            "quantised": len([site for site in self.sites if site.node not in self.left]),
            "left": self.rows,
        }
        if self.scheme.block is not None:
            entry["block"] = self.scheme.block
        if self.calibration is not None:
            entry["calibration"] = dict(self.calibration)
        return entry


def _scale(value: float) -> float:
    """A scale that float16 holds as well, since TensorRT's form has it in float16: over 0, and the same number in both."""
    return float(np.clip(np.float32(np.float16(min(value, _MOST_SCALE))), _LEAST_SCALE, _MOST_SCALE))


def file_bytes(path: Path) -> int:
    """Of a graph with its data files."""
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in read_info(path).data_files)


def asked(node: str, module: str, leave: Sequence[str]) -> bool:
    """Whether the node is named, or a part that it was cut into, or the module that it lies in."""
    return any(name.partition("/part")[0] == node or name == module or module.startswith(f"{name}.") for name in leave)


def _unfit(site: Site, scheme: QuantisedScheme) -> str | None:
    """Why no engine takes it quantised; None where all do."""
    if scheme.block is not None and site.k % scheme.block:
        return f"its {site.k} rows are no whole number of blocks of {scheme.block}"
    return None if fits_cpu_form(site, scheme) else f"rows of {site.k} are no whole number of blocks"
