"""Which output feeds which input, from assets/generation.json and the graphs, checked once when a generator is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ...bundle import Bundle
from ...errors import BundleError, UsageError
from ...files import shown
from ...spec import TensorSpec
from .generation_rules import GenerationRules
from .kv_cache import capacity_for

FLOATS = ("float16", "float32", "float64")
#: What the loop itself gives to `first` and `step`, with dtype and rank.
_OF_FIRST = {"tokens": ("int64", 2), "tokens_mask": ("bool", 2)}
_OF_STEP = {"token": ("int64", 2), "position": ("int64", 2), "past_mask": ("bool", 2)}

Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True)
class Sides:
    """A graph's inputs and outputs by name, as the chosen precision has them."""

    name: str
    inputs: Specs
    outputs: Specs


@dataclass(frozen=True)
class GraphIO:
    """How the graphs of a generator fit together.

    encoder     None for a decoder-only model
    cache       the KIND_N of each cached tensor
    carried     the step's inputs that are the same at every step: outputs of `first` or of the encoder, inputs of the encoder
    capacities  fewest and most entries that the cache of the step may have
    extend      a step of several tokens, which reads nothing else than `step`; None where the bundle has none
    rules       how answers begin, which tokens are not chosen, and what is done by default
    max_length  most tokens of a row, prompt included: the model's, or what the exported graph has positions or a cache for
    vocabulary  how many tokens there are to choose from
    one_place   whether all rows of the step stand at the same place: its position is [1, 1], not [batch, 1]
    """

    where: str
    encoder: Sides | None
    first: Sides
    step: Sides
    cache: tuple[str, ...]
    carried: tuple[str, ...]
    rules: GenerationRules
    stop: tuple[int, ...]
    pad: int
    capacities: tuple[int, int]
    max_length: int
    vocabulary: int
    one_place: bool
    extend: Sides | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the caller gives: the encoder's inputs, or tokens and tokens_mask."""
        if self.encoder is not None:
            return tuple(self.encoder.inputs.values())
        return tuple(self.first.inputs[name] for name in _OF_FIRST)

    @property
    def source_tokens(self) -> tuple[str, str | None] | None:
        """The encoder's first input int64 [batch, length], and the bool mask beside it; None where it reads no tokens."""
        pairs = [spec for spec in self.encoder.inputs.values() if len(spec.dims) == 2] if self.encoder else []
        tokens = next((spec for spec in pairs if spec.dtype == "int64"), None)
        if tokens is None:
            return None
        masks = (spec.name for spec in pairs if spec.dtype == "bool" and spec.dims[1].name == tokens.dims[1].name)
        return tokens.name, next(masks, None)

    @property
    def most_rows(self) -> int:
        """Rows that every graph takes in one call; those of the step are rows times beams."""
        graphs = [graph for graph in (self.encoder, self.first, self.step) if graph is not None]
        specs = [
            spec
            for graph in graphs
            for name, spec in graph.inputs.items()
            if not (name == "position" and self.one_place)
        ]
        return min(spec.dims[0].max for spec in specs)

    @property
    def most_guessed(self) -> int:
        """Tokens that may be guessed ahead, fed behind the one that is known; 0 without `extend`."""
        return 0 if self.extend is None else self.extend.inputs["token"].dims[1].max - 1

    @classmethod
    def of(cls, bundle: Bundle, precision: str | None = None) -> GraphIO:
        """The wiring of a bundle's generator. Raises BundleError where there is none or where its parts do not fit."""
        where = f"bundle {bundle.path.name}"
        asset = bundle.asset("generation")
        if asset is None:
            raise BundleError(
                f"{where}: is no generator: it has no assets/generation.json; its graphs are {', '.join(bundle.graphs)}. "
                f"attn-run run runs one."
            )
        return _Reader(bundle, asset, precision, where).read()


class _Reader:
    def __init__(self, bundle: Bundle, asset: Mapping[str, Any], precision: str | None, where: str) -> None:
        self.bundle, self.asset, self.precision, self.where = bundle, asset, precision, where

    def read(self) -> GraphIO:
        asset = self.asset
        first, step = self.sides("first"), self.sides("step")
        encoder = self.sides("encoder") if asset["encoder"] is not None else None
        cache = tuple(asset["cache"])
        if len(set(cache)) < len(cache):
            self.refuse(f"cache names {shown(list(cache))}, one of them twice")
        if len({first.name, step.name, encoder.name if encoder else ""}) < 3:
            self.refuse("encoder, first and step name one graph twice")
        self.check_inputs(first, _OF_FIRST)
        self.check_inputs(step, _OF_STEP)
        # What flows from graph to graph under its own name.
        flow: dict[str, TensorSpec] = {}
        if encoder is not None:
            flow |= {**encoder.inputs, **encoder.outputs}
            for name in {*_OF_FIRST, *_OF_STEP} & set(flow):
                self.refuse(
                    f'graph {encoder.name} has "{name}", a name that the graphs behind it have for what they are fed'
                )
        self.check_flow(first, flow, set(_OF_FIRST))
        flow |= first.outputs
        own = {*_OF_STEP, *(f"past_{name}" for name in cache)}
        self.check_flow(step, flow, own)
        lengths = {self.check_cached(first, step, name) for name in cache}
        mask = step.inputs["past_mask"].dims[1]
        if lengths != {(mask.min, mask.max)}:
            self.refuse(f"graph {step.name}: the inputs past_* and past_mask allow caches of different sizes")
        found = self.wiring(encoder, first, step, cache, tuple(n for n in step.inputs if n not in own))
        return replace(found, extend=self.extend(found)) if asset.get("extend") is not None else found

    def extend(self, found: GraphIO) -> Sides:
        """The graph `extend`, held against `step`: it reads the same, and several tokens of each row."""
        extend, step = self.sides("extend"), found.step
        others = {graph.name for graph in (found.encoder, found.first, step) if graph is not None}
        if extend.name in others:
            self.refuse(f"extend is graph {extend.name}, which has another part already")
        self.check_inputs(extend, _OF_STEP)
        self.check_flow(extend, step.inputs, set())
        for name in found.cache:
            self.check_entries(((step, step.inputs, f"past_{name}"), (extend, extend.inputs, f"past_{name}"),
                                (extend, extend.outputs, f"new_{name}")))  # fmt: skip
        scores = extend.outputs.get("logits")
        if scores is None or scores.dtype not in FLOATS or len(scores.dims) != 3 or scores.dims[2].dynamic:
            got = scores or "no output logits"
            self.refuse(f"graph {extend.name}: got {got}; expected logits: float[batch, count, vocabulary]")
        if scores.dims[2].opt != found.vocabulary:
            self.refuse(f"graphs {step.name} and {extend.name} choose from different numbers of tokens")
        count = extend.inputs["token"].dims[1]
        if not count.min <= 2 <= count.max:
            self.refuse(f"graph {extend.name} reads {count.min}..{count.max} tokens of a row; expected 2, or more")
        for name in ("token", "position"):
            rows, own = step.inputs[name].dims[0], extend.inputs[name].dims[0]
            if (rows.min, rows.max) != (own.min, own.max):
                self.refuse(f"graphs {step.name} and {extend.name} take different numbers of rows of {name}")
        if extend.inputs["position"].dims[1].dynamic or extend.inputs["position"].dims[1].opt != 1:
            self.refuse(f"graph {extend.name}: input {extend.inputs['position']}; expected the first position alone")
        for name in ("past_mask", *(f"past_{name}" for name in found.cache)):
            entries = extend.inputs[name].dims[1 if name == "past_mask" else 2]
            if entries.min > capacity_for(1, found.capacities) or entries.max != found.capacities[1]:
                self.refuse(f"graph {extend.name}: input {name} allows other sizes of the cache than {step.name} does")
        return extend

    def wiring(
        self, encoder: Sides | None, first: Sides, step: Sides, cache: tuple[str, ...], carried: tuple[str, ...]
    ) -> GraphIO:
        asset = self.asset
        vocabulary = self.vocabulary(first)
        if self.vocabulary(step) != vocabulary:
            self.refuse(f"graphs {first.name} and {step.name} choose from different numbers of tokens")
        rules = GenerationRules.of(asset)
        if (rules.begin is None) != (encoder is None):
            self.refuse("begin is given for a model with an encoder, and null for one without, whose prompt begins")
        for name, token in [*rules.tokens(), ("pad", asset["pad"]), *(("stop", each) for each in asset["stop"])]:
            if token >= vocabulary:
                self.refuse(f"{name} is token {token}, the graphs have {vocabulary} tokens")
        if problem := rules.problem():
            self.refuse(problem)
        prompt = first.inputs["tokens"].dims[1]
        for length in rules.begin_lengths():
            if not prompt.min <= length <= prompt.max:
                self.refuse(f"begin has {length} tokens, graph {first.name} reads {prompt.min}..{prompt.max}")
        rows = step.inputs["position"].dims[0]
        capacity = step.inputs["past_mask"].dims[1]
        places = (
            step.inputs["position"].high or asset["max_length"]
        )  # behind its table's end a GPU reads what lies there
        return GraphIO(
            self.where,
            encoder,
            first,
            step,
            cache,
            carried,
            rules,
            tuple(asset["stop"]),
            asset["pad"],
            (capacity.min, capacity.max),
            min(asset["max_length"], capacity.max + 1, places),  # the newest token is not in the cache
            vocabulary,
            not rows.dynamic and rows.max == 1 and step.inputs["token"].dims[0].max > 1,
        )

    def sides(self, role: str) -> Sides:
        name = self.asset[role]
        if name not in self.bundle.graphs:
            self.refuse(f"{role} is graph {shown(name)}, the bundle has {', '.join(self.bundle.graphs)}")
        graph = self.bundle.graphs[name]
        precision = graph.default_precision if self.precision is None else self.precision
        if precision not in graph.precisions:
            raise UsageError(
                f'unknown precision "{precision}"; available: {", ".join(graph.precisions)} ({self.where}, graph {name})'
            )
        inputs, outputs = graph.borders(precision)
        return Sides(name, {spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs})

    def check_inputs(self, graph: Sides, wanted: Mapping[str, tuple[str, int]]) -> None:
        for name, (dtype, rank) in wanted.items():
            spec = graph.inputs.get(name)
            if spec is None:
                self.refuse(f'graph {graph.name} has no input "{name}"; it has {", ".join(graph.inputs)}')
            if (spec.dtype, len(spec.dims)) != (dtype, rank):
                self.refuse(f"graph {graph.name}: input {spec}; expected {dtype} of rank {rank}")

    def check_flow(self, graph: Sides, flow: Specs, own: set[str]) -> None:
        """Every input that the loop does not make comes from a graph before, in the dtype and rank that it is wanted in."""
        for name, spec in graph.inputs.items():
            if name in own:
                continue
            if name not in flow:
                self.refuse(
                    f'graph {graph.name}: nobody gives its input "{name}"; the graphs before have {shown(list(flow))}'
                )
            if (flow[name].dtype, len(flow[name].dims)) != (spec.dtype, len(spec.dims)):
                self.refuse(f"graph {graph.name}: input {spec}, and the graph before it gives {flow[name]}")

    def check_cached(self, first: Sides, step: Sides, name: str) -> tuple[int, int]:
        """(fewest, most) entries of the cache."""
        new, past = f"new_{name}", f"past_{name}"
        self.check_entries(((first, first.outputs, new), (step, step.inputs, past), (step, step.outputs, new)))
        return step.inputs[past].dims[2].min, step.inputs[past].dims[2].max

    def check_entries(self, tensors: Sequence[tuple[Sides, Specs, str]]) -> None:
        """That the tensors of one entry of the cache have one form."""
        found = []
        for graph, specs, tensor in tensors:
            spec = specs.get(tensor)
            if spec is None:
                self.refuse(f'graph {graph.name} has no "{tensor}", which cache asks for')
            dims = spec.dims
            if spec.dtype not in FLOATS or len(dims) != 4 or dims[1].dynamic or dims[3].dynamic:
                self.refuse(f"graph {graph.name}: {spec}; expected float [batch, heads, entries, head_size]")
            found.append((spec.dtype, dims[1].opt, dims[3].opt))
        if len(set(found)) > 1:
            names = " and ".join(dict.fromkeys(tensor for _, _, tensor in tensors))
            graphs = " and ".join(dict.fromkeys(graph.name for graph, _, _ in tensors))
            self.refuse(f"{names} differ in dtype, heads or head size between {graphs}: {found}")

    def vocabulary(self, graph: Sides) -> int:
        spec = graph.outputs.get("logits")
        if spec is None or spec.dtype not in FLOATS or len(spec.dims) != 2 or spec.dims[1].dynamic:
            self.refuse(
                f"graph {graph.name}: got {spec or 'no output logits'}; expected logits: float[batch, vocabulary]"
            )
        return spec.dims[1].opt

    def refuse(self, problem: str) -> NoReturn:
        raise BundleError(f"{self.where}: asset generation: {problem}; re-export the bundle")
