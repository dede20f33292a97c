"""A bundle as models of a Triton repository.

A graph becomes a model of ONNX Runtime or TensorRT; a generator becomes one model of the Python backend that streams its
answers, and carries the whole bundle: the server then writes what the bundle's golden cases say it writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Bundle, Graph, Precision
from attn_runtime.errors import BundleError, UsageError, did_you_mean
from attn_runtime.generate.graphs import GraphIO
from attn_runtime.spec import TensorSpec
from attn_runtime.trt.builder import check_for_provider

from .. import runtime_wheel
from .config import Message, Signature, accelerator, dynamic_batching, instance_group, parameters
from .engines import Plans, find_plans
from .repository import CONFIG, ModelFolder, check_name, check_place, write_model
from .text_proto import Enum, Map, to_text
from .warmup import warm_up

FORMATS = ("onnx", "tensorrt")
DEVICES = ("auto", "cpu", "gpu")
ACCELERATORS = ("auto", "none", "tensorrt")
_LABELS = "labels.txt"


@dataclass(frozen=True)
class TritonOptions:
    """How to serve. `None` leaves a choice to the bundle.

    name         of the model; of several, what their names begin with
    delay_us     how long a request may wait for others to be put together with
    accelerator  "tensorrt" runs ONNX graphs through TensorRT on a GPU; "auto" does that for fp16 graphs
    cache        folder on the server in which that keeps its engines, and a generator its graphs as they are optimised for a CPU
    """

    name: str | None = None
    version: int = 1
    graph: str | None = None
    precision: str | None = None
    format: str = "onnx"
    device: str = "auto"
    instances: int = 1
    delay_us: int = 0
    accelerator: str = "auto"
    cache: str | None = None
    warm_up: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        for option, value, known in (
            ("format", self.format, FORMATS),
            ("device", self.device, DEVICES),
            ("accelerator", self.accelerator, ACCELERATORS),
        ):
            if value not in known:
                raise UsageError(
                    f'unknown {option} "{value}"; {did_you_mean(value, known)}available: {", ".join(known)}'
                )
        for counted, number, least, most in (
            ("version", self.version, 1, 2**31 - 1),
            ("instances", self.instances, 1, 1024),
            ("max-queue-delay", self.delay_us, 0, 10**9),
        ):
            if not least <= number <= most:
                raise UsageError(f"{counted}: got {number}, expected {least}..{most}")
        if self.format == "tensorrt" and (self.device == "cpu" or self.accelerator == "tensorrt"):
            raise UsageError("--format tensorrt runs the engine itself: it takes a GPU, and no accelerator")
        if self.accelerator == "tensorrt" and self.device == "cpu":
            raise UsageError("--accelerator tensorrt needs a GPU: take --device gpu or auto")
        if self.name is not None:
            check_name(self.name)


@dataclass(frozen=True)
class TritonModel:
    """A model as it was written.

    precision         the one that it serves
    other_precisions  the bundle's further ones, of which `TritonOptions.precision` takes one
    notes             what its server must have and what else to know, a line each
    """

    name: str
    path: Path
    precision: str
    other_precisions: tuple[str, ...]
    backend: str
    most: int
    warm_ups: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": str(self.path),
            "precision": self.precision,
            "other_precisions": list(self.other_precisions),
            "backend": self.backend,
            "max_batch_size": self.most,
            "warm_ups": self.warm_ups,
            "notes": list(self.notes),
        }


def deploy_triton(
    path: str | Path | Bundle, repository: str | Path, options: TritonOptions | None = None
) -> tuple[TritonModel, ...]:
    """Write the models of the bundle at `path` into the folder `repository`, and say what they are.

    Raises UsageError for a choice that the bundle does not have, BackendError where there is no engine for a server, OutputError
    where a model of somebody else is in the way, and what `Bundle.open` raises.
    """
    options = options or TritonOptions()
    bundle = path if isinstance(path, Bundle) else Bundle.open(path)
    name = options.name or bundle.name
    if options.graph is None and "generation" in bundle.manifest["assets"]:
        made = [_generator(bundle, name, options)]
    else:
        graphs = bundle.graphs.values() if options.graph is None else [bundle.graph(options.graph)]
        many = len(bundle.graphs) > 1
        made = [_graph(bundle, graph, f"{name}-{graph.name}" if many else name, options) for graph in graphs]
    for folder, _ in made:
        check_name(folder.name)
        check_place(Path(repository), folder.name)
    done = []
    for folder, told in made:
        done.append(TritonModel(folder.name, write_model(Path(repository), folder, options.force), *told))
    return tuple(done)


_Told = tuple[str, tuple[str, ...], str, int, int, tuple[str, ...]]  # the fields of TritonModel from precision on


def _graph(bundle: Bundle, graph: Graph, name: str, options: TritonOptions) -> tuple[ModelFolder, _Told]:
    precision = graph.chosen(options.precision or None, bundle.label(graph))
    entry = graph.precisions[precision]
    inputs, outputs = graph.borders(precision)
    plans = find_plans(bundle, graph.name, precision) if options.format == "tensorrt" else None
    signature = Signature.of(inputs, outputs, plans.most if plans else None)
    folder = ModelFolder(name, options.version, bundle.files, {})
    config: Message = {"name": name, "platform": "tensorrt_plan" if plans else "onnxruntime_onnx"}
    config |= signature.tensors()
    notes: list[str] = []
    if plans is not None:
        config |= _engine_files(folder, plans)
        notes.append(f"its engine is of TensorRT {plans.version}: take a server with that very version")
    else:
        _onnx_files(folder, bundle, graph, precision, entry)
        if _accelerated(entry, options):
            check_for_provider(entry.file, bundle.label(graph), "take --accelerator none, or export the model again")
            config["optimization"] = accelerator(signature, entry.type, options.cache)
            notes.append("on a GPU it builds TensorRT engines when it is loaded; --engine-cache keeps them")
    _labels(folder, bundle, config)
    config["dynamic_batching"] = dynamic_batching(signature, options.delay_us)
    config["instance_group"] = instance_group(
        "gpu" if plans else options.device, options.instances, plans.profiles if plans else 1
    )
    cases = (case.to_fp16() if entry.half_io else case for case in graph.cases(entry.held_to))
    warm = warm_up(cases, signature) if options.warm_up else None
    if warm is not None:
        config["model_warmup"] = list(warm.messages)
        folder.files.update({f"warmup/{file}": data for file, data in warm.files.items()})
    config["parameters"] = _parameters(bundle, graph.name, precision)
    if not signature.most:
        notes.append("its batch is fixed: the server can't put requests together")
    others = _others([graph], precision, notes)
    return _with_config(folder, config), (
        precision, others, config["platform"], signature.most, len(warm.messages) if warm else 0, tuple(notes),
    )  # fmt: skip


def _engine_files(folder: ModelFolder, plans: Plans) -> Message:
    folder.files.update({f"{folder.version}/{file}": content for file, content in plans.contents.items()})
    # The file of a capability that is not listed: the last, as no other fits better. The server says so if it does not load.
    return {"default_model_filename": list(plans.contents)[-1], "cc_model_filenames": Map(plans.names)}


def _onnx_files(folder: ModelFolder, bundle: Bundle, graph: Graph, precision: str, entry: Precision) -> None:
    where = bundle.label(graph)
    if entry.target is not None:
        raise UsageError(
            f"{where}: precision {precision} was made for {entry.target} alone; take --format {entry.target}, or "
            "another precision"
        )
    folder.files[f"{folder.version}/model.onnx"] = entry.file
    for data in entry.data:
        # The graph names its data by a path from its own folder.
        if not data.is_relative_to(entry.file.parent) or data.name == "model.onnx":
            raise BundleError(
                f"{where}: {data.name} lies outside the folder of {entry.file.name}; re-export the bundle"
            )
        folder.files[f"{folder.version}/{data.relative_to(entry.file.parent).as_posix()}"] = data


def _accelerated(entry: Precision, options: TritonOptions) -> bool:
    if options.accelerator == "tensorrt" and entry.type == "bf16":
        raise UsageError("--accelerator tensorrt: Triton has no bf16 for it; take --precision fp16 or fp32")
    asked = {"tensorrt": True, "none": False, "auto": entry.type == "fp16" and options.device != "cpu"}
    return asked[options.accelerator]


def _labels(folder: ModelFolder, bundle: Bundle, config: Message) -> None:
    """A labels file for the output whose columns are the classes."""
    labels = bundle.asset("labels")
    if labels is None:
        return
    dims = [len(labels)] if config["max_batch_size"] else [1, len(labels)]
    classes = [
        output for output in config["output"] if output["dims"][-1:] == dims[-1:] and len(output["dims"]) == len(dims)
    ]
    if len(classes) == 1:
        folder.files[_LABELS] = "".join(f"{label}\n" for label in labels).encode()
        classes[0]["label_filename"] = _LABELS


def _generator(bundle: Bundle, name: str, options: TritonOptions) -> tuple[ModelFolder, _Told]:
    if options.format != "onnx" or options.accelerator == "tensorrt":
        raise UsageError(
            f"bundle {bundle.path.name}: a generator is served by the Python backend, through attn-runtime, which finds "
            "engines by itself; leave --format and --accelerator out"
        )
    wiring = GraphIO.of(bundle, options.precision)
    texts = bundle.asset("text") is not None and bundle.asset("tokenizer") is not None
    most = wiring.most_rows
    inputs = (
        [_tensor("text", "TYPE_STRING", [1])]
        if texts
        else [_prompt(spec) for spec in wiring.inputs if spec.name != "tokens_mask"]
    )
    # Whole numbers and shares of what generate_options has; a request that leaves them out takes the bundle's defaults.
    inputs += [
        {**_tensor(option, kind, [1]), "optional": True}
        for option, kind in (
            ("max_length", "TYPE_INT64"), ("beams", "TYPE_INT64"), ("length_penalty", "TYPE_FP32"), ("temperature", "TYPE_FP32"),
            ("top_k", "TYPE_INT64"), ("top_p", "TYPE_FP32"), ("seed", "TYPE_INT64"), ("min_length", "TYPE_INT64"),
            ("repetition_penalty", "TYPE_FP32"), ("no_repeat_ngram", "TYPE_INT64"),
            *([("lookup", "TYPE_INT64")] if wiring.extend is not None else []),
        )
    ]  # fmt: skip
    # What answers begin with, by name: a language, a task.
    inputs += [{**_tensor(choice, "TYPE_STRING", [1]), "optional": True} for choice in wiring.rules.choices]
    outputs = [
        _tensor("text", "TYPE_STRING", [1]),
        _tensor("token", "TYPE_INT64", [1]),
        _tensor("answer", "TYPE_STRING", [1]),
        _tensor("stopped", "TYPE_STRING", [1]),
    ]
    folder = ModelFolder(name, options.version, bundle.files, {})
    folder.files[f"{options.version}/model.py"] = Path(__file__).with_name("model.py")
    # model.py finds it by the suffix, which a bundle's folder may lack; "." has no name at all.
    root = f"{options.version}/{bundle.path.resolve().name.removesuffix('.attn')}.attn"
    folder.files[f"{root}/manifest.json"] = bundle.folder / "manifest.json"
    folder.files.update({f"{root}/{file}": bundle.file(file) for file in bundle.manifest["files"]})
    asked = {"precision": options.precision, "cache": options.cache}
    given = {name: value for name, value in asked.items() if value is not None}
    config: Message = {
        "name": name,
        "backend": "python",
        "max_batch_size": most,
        "input": inputs,
        "output": outputs,
        "model_transaction_policy": {"decoupled": True},
        "dynamic_batching": {"max_queue_delay_microseconds": options.delay_us} if options.delay_us else {},
        "instance_group": instance_group(options.device, options.instances),
        "parameters": parameters({"attn_bundle": bundle.name, **given}),
    }
    warm = _warm_text(bundle) if texts and options.warm_up else None
    if warm is not None:
        config["model_warmup"], folder.files["warmup/text.bin"] = [warm[0]], warm[1]
    graphs = [bundle.graphs[side.name] for side in (wiring.encoder, wiring.first, wiring.step) if side is not None]
    precision = options.precision or graphs[0].default_precision
    wheel, folder.files[f"wheels/{wheel}"] = runtime_wheel()
    notes = [
        f"its server's Python needs: pip install {name}/wheels/{wheel} onnxruntime tokenizers (on a GPU onnxruntime-gpu)"
    ]
    others = _others(graphs, precision, notes)
    told = (precision, others, "python", most, 1 if warm else 0, tuple(notes))
    return _with_config(folder, config), told


def _others(graphs: Sequence[Graph], precision: str, notes: list[str]) -> tuple[str, ...]:
    """The precisions beside `precision` that all of `graphs` have; where there are any, `notes` gets a line that tells of them.
    What was made for one engine alone is taken through the one that it was made from."""
    names = [name for name, entry in graphs[0].precisions.items() if entry.target is None and name != precision]
    others = tuple(name for name in names if all(name in graph.precisions for graph in graphs))
    if others:
        notes.append(
            f"it serves {precision}; the bundle has {', '.join(others)} too: --precision {others[0]} takes that"
        )
    return others


def _tensor(name: str, kind: str, dims: list[int]) -> Message:
    return {"name": name, "data_type": Enum(kind), "dims": dims}


def _prompt(spec: TensorSpec) -> Message:
    item = Signature((spec,), (), spec.dims[0].max)
    (told,) = item.tensors()["input"]
    return dict(told)


def _warm_text(bundle: Bundle) -> tuple[Message, bytes] | None:
    """A request of one word that the tokenizer has; None where its vocabulary has none that is a word."""
    words = ((bundle.asset("tokenizer") or {}).get("model") or {}).get("vocab")
    word = next((w for w in words if w.isalpha()), None) if isinstance(words, Mapping) else None
    if word is None:
        return None
    data = len(word.encode()).to_bytes(4, "little") + word.encode()
    message: Message = {
        "name": "one word",
        "batch_size": 1,
        "inputs": Map(text={"data_type": Enum("TYPE_STRING"), "dims": [1], "input_data_file": "text.bin"}),
    }
    return message, data


def _parameters(bundle: Bundle, graph: str, precision: str) -> Map:
    return parameters({"attn_bundle": bundle.name, "attn_graph": graph, "attn_precision": precision})


def _with_config(folder: ModelFolder, config: Message) -> ModelFolder:
    folder.files[CONFIG] = to_text(config).encode()
    kind: Message = {key: config[key] for key in ("platform", "backend") if key in config}
    seen = [[t["name"], t["data_type"], t["dims"]] for key in ("input", "output") for t in config[key]]
    return replace(folder, signature={**kind, "max_batch_size": config["max_batch_size"], "tensors": seen})
