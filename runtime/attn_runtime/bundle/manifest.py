"""What makes a manifest valid: the published schema, and the rules between values that no schema can state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..compare import is_fill_range
from ..errors import BundleError
from ..files import find_problem, shown
from ..spec import values_problem

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1

#: Assets whose form is published, and the name of its definition in the schema.
ASSET_FORMS = {
    "labels": "labels",
    "classification": "classification",
    "image": "image",
    "text": "text_input",
    "audio": "audio_input",
    "ctc": "ctc",
    "generation": "generation",
    "attention_maps": "attention_maps",
}

Json = Mapping[str, Any]


@lru_cache(maxsize=1)
def schema() -> Json:
    """The document manifest.schema.json, as published."""
    loaded: Json = json.loads(Path(__file__).with_name("manifest.schema.json").read_text(encoding="utf-8"))
    return loaded


def rules_version() -> str:
    """What is to tell the rules of this version from those of another one: that of the package, and the bytes of its schema."""
    from .. import __version__

    return f"{__version__} {Path(__file__).with_name('manifest.schema.json').stat().st_size}"


def form_problem(definition: str, value: Any, at: str) -> str | None:
    """Why `value` has not the form that manifest.schema.json gives under $defs: "AT...: got X, expected Y"; None if it has."""
    return find_problem(value, schema()["$defs"][definition], schema(), at)


def check_manifest(manifest: Any, where: str) -> None:
    """BundleError, opened by `where`, unless this version can read `manifest` and it agrees with itself."""
    advice = "re-export the bundle"
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version is not None and (version != SCHEMA_VERSION or isinstance(version, bool)):
        raise BundleError(
            f"{where}: {MANIFEST} has schema_version {shown(version)}, this attn-runtime knows {SCHEMA_VERSION}; "
            "upgrade attn-runtime or re-export the bundle"
        )
    problem = find_problem(manifest, schema(), schema()) or next(_disagreements(manifest), None)
    if problem:
        raise BundleError(f"{where}: {MANIFEST}: {problem}; {advice}")


def check_asset(name: str, value: Any, where: str) -> None:
    """BundleError unless the asset `name` has its published form; assets that the schema does not know pass."""
    definition = schema()["$defs"][ASSET_FORMS[name]] if name in ASSET_FORMS else None
    problem = find_problem(value, definition, schema()) if definition else None
    if not problem and name == "image":
        problem = _image_problem(value)
    if problem:
        raise BundleError(f"{where}: asset {name}: {problem}; re-export the bundle")


def _image_problem(image: Json) -> str | None:
    mean, std, channels = len(image["mean"]), len(image["std"]), image["channels"]
    if not mean == std == channels:
        return f"mean and std: got {mean} and {std}, expected {channels} values"
    for name in ("fill", "square"):
        if name in image and len(image[name]) != channels:
            return f"{name}: got {len(image[name])}, expected {channels} values"
    needed = {"shortest_edge": ("shortest_edge",), "edges": ("shortest_edge", "longest_edge")}.get(
        image.get("fit", ""), ()
    )
    for name in needed:
        if name not in image:
            return f"fit: got {shown(image['fit'])} without {name}, expected both"
    return None


def _disagreements(manifest: Json) -> Iterator[str]:
    files = manifest["files"]
    folded: dict[str, str] = {}
    for path in files:
        if path == MANIFEST:
            yield f"files: {MANIFEST} can't list itself"
        if path.split("/")[0] == "engines":
            yield f"files: {path} lies in engines/, whose files are derived and never listed"
        # A disk that ignores case would give one file to both.
        twin = folded.setdefault(path.lower(), path)
        if twin != path:
            yield f"files: {path} and {twin} differ by case alone"
    for place, path in _paths(manifest):
        if path not in files:
            yield f"{place}: {shown(path)} is not listed in files"
    for name, graph in manifest["graphs"].items():
        yield from _graph_disagreements(f"graphs.{name}", graph)
    generated = [case["case"] for case in manifest.get("generation", ())]
    if generated and "generation" not in manifest["assets"]:
        yield "generation: there are cases, and no asset generation that says how the graphs make them"
    if len(set(generated)) < len(generated):
        yield "generation: two cases have one name"


def _paths(manifest: Json) -> Iterator[tuple[str, str]]:
    """(place in the manifest, path) of everything that names a file of the bundle."""
    for name, path in manifest["assets"].items():
        yield f"assets.{name}", path
    for name, graph in manifest["graphs"].items():
        for precision, entry in graph["precisions"].items():
            yield f"graphs.{name}.precisions.{precision}.file", entry["file"]
            for index, path in enumerate(entry["data"]):
                yield f"graphs.{name}.precisions.{precision}.data[{index}]", path
        for index, golden in enumerate(graph["golden"]):
            for key in ("inputs", "outputs"):
                yield f"graphs.{name}.golden[{index}].{key}", golden[key]
    for index, case in enumerate(manifest.get("generation", ())):
        for key in ("inputs", "outputs"):
            yield f"generation[{index}].{key}", case[key]


def _graph_disagreements(at: str, graph: Json) -> Iterator[str]:
    ranges: dict[str, tuple[int, int, int]] = {}
    for side in ("inputs", "outputs"):
        names = [tensor["name"] for tensor in graph[side]]
        for name in sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
            yield f"{at}.{side}: name {shown(name)} occurs twice"
        for index, tensor in enumerate(graph[side]):
            place = f"{at}.{side}[{index}]"
            if "low" in tensor and "high" in tensor and tensor["low"] >= tensor["high"]:
                yield f"{place}: got low {tensor['low']} and high {tensor['high']}, expected low < high"
            if problem := tensor_values_problem(tensor):
                yield f"{place}.values: {problem}"
            for axis, dim in enumerate(tensor["dims"]):
                yield from _dim_disagreements(f"{place}.dims[{axis}]", dim, ranges)
    outputs = {tensor["name"]: tensor["dtype"] for tensor in graph["outputs"]}
    for name, precision in graph["precisions"].items():
        for output in precision["tolerance"].get("rtols", {}):
            if output not in outputs:
                place = f"{at}.precisions.{name}.tolerance.rtols"
                yield f"{place}: {shown(output)} is no output of the graph, which has {shown(list(outputs))}"
        fills = precision["tolerance"].get("fills", {})
        yield from _fill_disagreements(f"{at}.precisions.{name}.tolerance.fills", fills, outputs)
    cases = [golden["case"] for golden in graph["golden"]]
    if len(set(cases)) < len(cases):
        yield f"{at}.golden: two cases have one name"
    for index, golden in enumerate(graph["golden"]):
        for key in ("sizes", "checked_sizes"):
            for name, size in golden[key].items():
                place = f"{at}.golden[{index}].{key}: {shown(name)}"
                if name not in ranges:
                    yield f"{place} is no dim of the graph, which has {shown(list(ranges))}"
                elif not ranges[name][0] <= size <= ranges[name][2]:
                    yield f"{place} is {size}, expected {ranges[name][0]}..{ranges[name][2]}"
    if "sweep" in graph:
        yield from _sweep_disagreements(f"{at}.sweep", graph["sweep"], ranges)
    if "power" in graph:
        yield from _power_disagreements(f"{at}.power", graph["power"], cases)


def _sweep_disagreements(at: str, sweep: Json, ranges: Mapping[str, tuple[int, int, int]]) -> Iterator[str]:
    for key in ("dims", "complete"):
        for name in sweep[key]:
            if name not in ranges:
                yield f"{at}.{key}: {shown(name)} is no dim of the graph, which has {shown(list(ranges))}"
    if len(set(sweep["dims"])) < len(sweep["dims"]):
        yield f"{at}.dims: one dim occurs twice"
    for index, sizes in enumerate(sweep["sizes"]):
        if len(sizes) != len(sweep["dims"]):
            yield f"{at}.sizes[{index}]: got {len(sizes)} sizes, expected one for each of {len(sweep['dims'])} dims"
        for name, size in zip(sweep["dims"], sizes):  # noqa: B905  (equal length checked above)
            if not ranges[name][0] <= size <= ranges[name][2]:
                yield f"{at}.sizes[{index}]: {shown(name)} is {size}, expected {ranges[name][0]}..{ranges[name][2]}"


def _power_disagreements(at: str, power: Json, golden: Sequence[str]) -> Iterator[str]:
    if not power["usual"] <= power["noticed"] <= power["mutants"]:
        yield (
            f"{at}: got usual {power['usual']}, noticed {power['noticed']} and mutants {power['mutants']}, "
            "expected usual <= noticed <= mutants"
        )
    for index, entry in enumerate(power["cases"]):
        if entry["case"] not in golden:
            yield f"{at}.cases[{index}]: {shown(entry['case'])} is no golden case of the graph"


def tensor_values_problem(tensor: Json) -> str | None:
    """What is wrong with `values` of a tensor that fits the schema: "got X, expected Y"; None where nothing is."""
    if "values" not in tensor:
        return None
    if not tensor["dtype"].startswith("float"):
        return f"got values of {tensor['dtype']}, expected a float dtype"
    return values_problem(tensor["values"])


def _fill_disagreements(at: str, fills: Json, outputs: Mapping[str, str]) -> Iterator[str]:
    for output, ranges in fills.items():
        if not outputs.get(output, "").startswith("float"):
            yield f"{at}: {shown(output)} is no float output of the graph, which has {shown(list(outputs))}"
        for index, (low, high) in enumerate(ranges):
            if not is_fill_range(float(low), float(high)):
                yield (
                    f"{at}: range {index} of {shown(output)} is {shown([low, high])}, expected low <= high on one side of 0"
                )


def _dim_disagreements(at: str, dim: Json, ranges: dict[str, tuple[int, int, int]]) -> Iterator[str]:
    name, span = dim["name"], (dim["min"], dim["opt"], dim["max"])
    if not span[0] <= span[1] <= span[2]:
        yield f"{at}: got {span[0]}:{span[1]}:{span[2]}, expected min <= opt <= max"
    elif name is None and span[0] != span[2]:
        yield f"{at}: got {span[0]}:{span[1]}:{span[2]} without a name, expected a fixed size"
    elif name is not None and ranges.setdefault(name, span) != span:
        first = ":".join(map(str, ranges[name]))
        yield f"{at}: dim {shown(name)} is {span[0]}:{span[1]}:{span[2]} here and {first} in another tensor"
