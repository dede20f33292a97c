"""What a manifest says, each thing under a name of its own, so that two of them can be laid side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attn_runtime.bundle import ENGINES, Bundle, Graph, Precision, precision_sizes
from attn_runtime.errors import EngineError
from attn_runtime.spec import Dim, TensorSpec
from attn_runtime.text_format import bytes_text
from attn_runtime.trt import key_paths, read_key

Facts = dict[str, str | int]


def model_facts(bundle: Bundle) -> Facts:
    """What was exported, with which tools, and the assets beside the graphs; the time of the export is left out."""
    manifest = bundle.manifest
    source = manifest["source"]
    facts: Facts = {"name": manifest["name"], "source": f"{source['kind']} {source['ref']}"}
    if manifest["task"]:
        facts["task"] = manifest["task"]
    if source["checkpoint"]:
        facts["weights from"] = f"{source['checkpoint']['file']} {_short(source['checkpoint']['sha256'])}"
    facts |= {f"config {key}": str(value) for key, value in source["config"].items()}
    facts |= {key: str(source[key]) for key in ("licence", "inputs_from") if key in source}
    facts |= {f"{key} of huggingface": str(value) for key, value in _huggingface(source).items()}
    facts |= {f"version of {tool}": version for tool, version in manifest["versions"].items()}
    return facts | {
        f"asset {name}": _short(manifest["files"][file]["sha256"]) for name, file in manifest["assets"].items()
    }


def graph_facts(entry: Mapping[str, Any], graph: Graph) -> Facts:
    """Opset, patches, passes, and which cases it was held to."""
    facts: Facts = {"opset": entry["opset"], "exporter": entry["exporter"]}
    for cure in entry["cures"]:
        facts[f"patch {cure['name']}"] = cure["did"] or "applied"
    for stage in entry["stages"]:
        nodes = f"{stage['nodes_after']} nodes"
        if stage["nodes_before"] is not None:
            nodes = f"{stage['nodes_before']} -> {nodes}"
        told = nodes if stage["kept"] else f"not kept: {stage['note']}"
        facts[f"{stage['name']} ({stage['precision']})"] = told
    for check in entry["consistency"]:
        facts[f"check {check['name']}"] = "holds" if check["passed"] else f"does not hold: {check['note']}"
    facts |= {f"golden case {ref.name}": _sizes(ref.sizes) for ref in graph.golden}
    return facts


def tensor_facts(specs: Sequence[TensorSpec], side: str) -> Facts:
    """ "input x" -> "float32[batch=1:8:32, 3] ~ normal(0, 1)"; ranges as --dim takes them."""
    return {f"{side} {spec.name}": _spec(spec) for spec in specs}


def precision_facts(graph: Graph) -> Facts:
    """Each precision of the graph, its limits, and what it leaves in fp32."""
    facts: Facts = {}
    for name, entry in graph.precisions.items():
        facts[name] = ", ".join(map(str, _traits(entry).values()))
        facts |= {f"{name}: {what}": why for what, why in _kept(entry).items()}
    return facts


def chosen_facts(entry: Precision) -> Facts:
    """The same of one precision, without its name, to be laid beside another one."""
    return _traits(entry) | _kept(entry)


def _kept(entry: Precision) -> Facts:
    """What stays as it was in a typed or quantised graph, by module where the graph knows them, and why."""
    left = entry.quantised["left"] if entry.quantised is not None else ()
    together: dict[str, dict[str, list[str]]] = {}
    for kept in (*entry.kept, *left):
        together.setdefault(kept["module"] or kept["node"], {}).setdefault(kept["reason"], []).append(kept["operator"])
    return {
        f"in fp32 {where}": "; ".join(f"{why}: {', '.join(operators)}" for why, operators in reasons.items())
        for where, reasons in together.items()
    }


def size_facts(bundle: Bundle) -> Facts:
    sizes = {f"precision {name}": bytes_text(size.bytes) for name, size in precision_sizes(bundle).items()}
    whole = sum(entry["size"] for entry in bundle.manifest["files"].values())
    return {**sizes, "whole bundle": bytes_text(whole)}


def engine_facts(bundle: Bundle) -> Facts:
    """Engines that were built, and how many of their attention blocks are one kernel."""
    facts: Facts = {}
    for path in key_paths(bundle.folder / ENGINES):
        name = path.name.removesuffix(".json")
        try:
            key = read_key(path)
        except EngineError as error:
            facts[name] = f"can't be judged: {error}"
            continue
        fused = sum(one.fused for one in key.attention)
        facts[name] = (
            f"{key.flavour} {key.version}, {bytes_text(key.engine_size)}, {fused} of {len(key.attention)} attention blocks fused"
        )
    return facts


def generation_facts(bundle: Bundle) -> Facts:
    """What PyTorch was asked to write when the bundle was made."""
    return {
        f"case {case['case']}": f"{case['beams']} beams, penalty {case['length_penalty']:g}, at most {case['max_length']} tokens"
        for case in bundle.manifest.get("generation", ())
    }


def _huggingface(source: Mapping[str, Any]) -> dict[str, Any]:
    told = source.get("huggingface", {})
    return {key: value for key, value in told.items() if key != "files" and value is not None}


def _traits(entry: Precision) -> Facts:
    facts: Facts = {"type": entry.type}
    if entry.quantised is not None:
        own = entry.quantised
        block = f", blocks of {own['block']}" if "block" in own else ""
        facts["quantised"] = (
            f"{own['quantised']} nodes, {own['weights']} weights, {own['activations']} activations{block}"
        )
    if entry.target:
        facts["made for"] = f"for {entry.target} only"
    if entry.half_io:
        facts["borders"] = "float16 inputs and outputs"
    own_limits = {entry.tolerance.rtol, *entry.tolerance.rtols.values()}
    rtols = " to ".join(f"{rtol:.2g}" for rtol in sorted({min(own_limits), max(own_limits)}))
    facts["limits"] = f"limit {entry.tolerance.atol:g} + {rtols} of max"
    if entry.attention:
        count = len(entry.attention)
        facts["attention"] = f"{count} attention block{'s' if count > 1 else ''}"
    return facts


def _spec(spec: TensorSpec) -> str:
    told = f"{spec.dtype}[{', '.join(map(_dim, spec.dims))}]"
    if spec.low is not None or spec.high is not None:
        told += f" from {'' if spec.low is None else spec.low} below {'' if spec.high is None else spec.high}"
    told += f" ~ {spec.values}" if spec.values else ""
    about = ", ".join(text for text in (spec.meaning, spec.unit) if text)
    return f"{told} ({about})" if about else told


def _dim(dim: Dim) -> str:
    if dim.name is None:
        return str(dim.opt)
    return f"{dim.name}={dim.min}:{dim.opt}:{dim.max}" if dim.dynamic else f"{dim.name}={dim.opt}"


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items()) or "fixed shapes"


def _short(sha256: str) -> str:
    return sha256[:12]
