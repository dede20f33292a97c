"""Triton repositories: the configuration against the server's schema and the bundle, warm-up run for real, generators run by the
model.py that is written, and other people's files left alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.deploy.triton import repository_maker
from attn_export.deploy.triton.config import Signature, batch_dim
from attn_export.deploy.triton.repository_maker import TritonModel, TritonOptions, deploy_triton
from attn_export.deploy.triton.text_proto import Enum, Map, to_text
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BackendError, EngineError, OutputError, UsageError
from attn_runtime.spec import Dim, TensorSpec
from support.command_lines.json_answers import result_of
from support.graphs.make_hostile_bundles import drop, edit, make_valid_bundle
from support.machines import triton_server as server
from support.models import small_classifiers
from support.models import tiny_generators as tiny

WORDS = ["[PAD]", "[END]", "[UNK]", "the", "cat", "sat", "on", "a", "mat", ".", "dog", "ran", "far"]
WRITER = tiny.Tiny(layers=1, max_length=12, batch=3, encoder=False, seed=4)
TRANSLATOR = tiny.Tiny(layers=1, max_length=12, batch=3, seed=2)


@pytest.fixture(scope="module")
def gemm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y[batch, 10] = x[batch, 16] @ w as fp32, with external data as ext, and as half, which any engine runs."""
    bundle = make_valid_bundle(tmp_path_factory.mktemp("gemm") / "gemm.attn")
    drop("graphs", "model", "precisions", "half", "target")(bundle)
    return bundle


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "post_processor": None,
        "added_tokens": [{"id": n, "content": WORDS[n], **special} for n in (0, 1)],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("generators")
    for name, model in (("writer", WRITER), ("translator", TRANSLATOR)):
        names = ("source", "source_mask") if model.encoder else ("tokens", "tokens_mask")
        text = dict(zip(("input", "mask"), names, strict=True)) | {"pad": 0, "unknown": 2}
        tiny.write_bundle(folder / f"{name}.attn", model, text=text, tokenizer=tokenizer)
    tiny.write_bundle(folder / "numbers.attn", WRITER)
    return folder


def deploy(bundle: Path, repository: Path, **options: Any) -> tuple[TritonModel, Any]:
    (model,) = deploy_triton(bundle, repository, TritonOptions(**options))
    return model, server.read_config(model.path)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the configuration ---------------------------------------------------------------------------------------------


def test_text_form_survives_names_that_are_no_words(tmp_path: Path) -> None:
    name = "a\"b\\c'd é #{ }"
    message = {
        "name": name,
        "max_batch_size": 7,
        "input": [{"name": name, "data_type": Enum("TYPE_FP32"), "dims": [-1, 3]}],
        "model_transaction_policy": {"decoupled": True},
        "dynamic_batching": {},
        "parameters": Map({name: {"string_value": name}}),
    }
    (tmp_path / "config.pbtxt").write_text(to_text(message))
    read = server.read_config(tmp_path)
    assert (read.name, read.input[0].name, list(read.input[0].dims)) == (name, name, [-1, 3])
    assert read.parameters[name].string_value == name and read.HasField("dynamic_batching")
    assert read.max_batch_size == 7 and read.model_transaction_policy.decoupled


@pytest.mark.parametrize("precision", ["fp32", "ext", "half"])
def test_a_graph_is_what_its_bundle_says(gemm: Path, tmp_path: Path, precision: str) -> None:
    model, config = deploy(gemm, tmp_path / "repository", precision=precision)
    graph = Bundle.open(gemm).graph()
    assert (config.name, config.platform, config.max_batch_size) == ("gemm", "onnxruntime_onnx", 4)
    for specs, told in zip(graph.borders(precision), (config.input, config.output), strict=True):
        assert [t.name for t in told] == [s.name for s in specs]
        for spec, one in zip(specs, told, strict=True):
            assert list(one.dims) == [d.opt for d in spec.dims[1:]]
            assert server.NUMPY[server.type_name(config, one.data_type)] == np.dtype(spec.dtype)
    assert config.HasField("dynamic_batching") and not config.dynamic_batching.max_queue_delay_microseconds
    assert config.parameters["attn_precision"].string_value == precision
    entry = graph.precisions[precision]
    assert (model.path / "1" / "model.onnx").read_bytes() == entry.file.read_bytes()
    assert {p.name for p in (model.path / "1").iterdir()} == {"model.onnx", *(d.name for d in entry.data)}


@pytest.mark.parametrize("precision", ["fp32", "ext"])
def test_warm_up_runs_and_gives_the_golden_answers(gemm: Path, tmp_path: Path, precision: str) -> None:
    import onnxruntime

    model, config = deploy(gemm, tmp_path / "repository", precision=precision)
    session = onnxruntime.InferenceSession(model.path / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    cases = {case.name: case for case in Bundle.open(gemm).graph().cases()}
    seen = []
    for name, requests in server.warm_up_requests(model.path, config):
        for request in requests:
            server.check_request(config, request)
        batch = {"x": np.concatenate([request["x"] for request in requests])}
        (answer,) = session.run(["y"], batch)
        assert answer.shape[0] == cases[name].sizes["batch"]
        np.testing.assert_allclose(
            answer, np.broadcast_to(cases[name].outputs["y"][:1], answer.shape), rtol=2e-5, atol=1e-6
        )
        seen.append(name)
    assert seen == list(cases) and model.warm_ups == len(seen)


def test_labels_go_with_the_output_that_has_the_classes(gemm: Path, tmp_path: Path) -> None:
    model, config = deploy(gemm, tmp_path / "repository")
    assert config.output[0].label_filename == "labels.txt"
    assert (model.path / "labels.txt").read_text().splitlines() == [f"class {n}" for n in range(10)]


def test_choices(gemm: Path, tmp_path: Path) -> None:
    _, config = deploy(gemm, tmp_path, device="gpu", instances=3, delay_us=250, warm_up=False)
    (group,) = config.instance_group
    assert (group.count, group.Kind.Name(group.kind)) == (3, "KIND_GPU")
    assert config.dynamic_batching.max_queue_delay_microseconds == 250
    assert not config.model_warmup and not (tmp_path / "gemm" / "warmup").exists()
    assert not config.optimization.execution_accelerators.gpu_execution_accelerator  # fp32 is not rounded unasked


@pytest.mark.parametrize(
    ("options", "mode"),
    [({"precision": "half"}, "FP16"), ({"accelerator": "tensorrt"}, "FP32"), ({"precision": "half", "accelerator": "none"}, None),
     ({"precision": "half", "device": "cpu"}, None)],
)  # fmt: skip
def test_the_accelerator_keeps_the_precision_and_knows_the_shapes(
    gemm: Path, tmp_path: Path, options: dict[str, Any], mode: str | None
) -> None:
    _, config = deploy(gemm, tmp_path, cache="engines", **options)
    found = config.optimization.execution_accelerators.gpu_execution_accelerator
    if mode is None:
        assert not found
        return
    (one,) = found
    assert one.name == "tensorrt"
    assert dict(one.parameters) == {
        "precision_mode": mode,
        "trt_profile_min_shapes": "x:1x16",
        "trt_profile_opt_shapes": "x:2x16",
        "trt_profile_max_shapes": "x:4x16",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "engines",
    }


def test_what_the_accelerator_would_misread_is_refused(
    gemm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misread(file: Path, where: str, way_out: str) -> None:
        raise EngineError(f"{where}: {file.name} would be misread; {way_out}")

    monkeypatch.setattr(repository_maker, "check_for_provider", misread)
    with pytest.raises(EngineError, match=r"model\.half\.onnx would be misread; take --accelerator none"):
        deploy(gemm, tmp_path, precision="half")
    deploy(gemm, tmp_path, precision="half", accelerator="none")


def spec(name: str, *dims: Dim, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, dims)


def test_what_can_be_batched() -> None:
    batch, other, three = Dim("batch", 1, 2, 8), Dim("other", 1, 2, 8), Dim.fixed(3)
    assert batch_dim([spec("x", batch, three), spec("y", batch)]) == batch
    assert batch_dim([spec("x", batch, three), spec("y", three)]) is None  # an output without the batch
    assert batch_dim([spec("x", batch), spec("y", other)]) is None
    assert batch_dim([spec("x", batch, batch)]) is None  # twice in one tensor: a batch of two would be another input
    assert batch_dim([spec("x", Dim("batch", 2, 4, 8))]) is None  # one request alone would be too small
    assert batch_dim([spec("x", Dim("batch", 1, 1, 1))]) is None
    assert batch_dim([spec("x")]) is None and batch_dim([]) is None
    told = Signature.of([spec("x", batch, other)], [spec("score", batch)]).tensors()
    assert told["max_batch_size"] == 8 and told["input"][0]["dims"] == [-1]
    assert told["output"][0]["dims"] == [1] and told["output"][0]["reshape"] == {"shape": []}


def test_texts_are_served_as_tokens(tmp_path: Path) -> None:
    _, config = deploy(small_classifiers.texts(tmp_path / "texts.attn"), tmp_path / "repository")
    assert config.max_batch_size == 4
    assert [list(t.dims) for t in config.input] == [[-1], [-1]]
    assert {server.type_name(config, t.data_type) for t in config.input} == {"TYPE_INT64", "TYPE_BOOL"}


def test_each_graph_of_several_is_a_model(generators: Path, tmp_path: Path) -> None:
    model, config = deploy(generators / "writer.attn", tmp_path, graph="step", precision="fp16")
    assert (model.name, config.platform) == ("tiny-step", "onnxruntime_onnx")
    step = Bundle.open(generators / "writer.attn").graph("step")
    told = {t.name: server.type_name(config, t.data_type) for t in config.input}
    assert told == {
        s.name: {"float32": "TYPE_FP16", "int64": "TYPE_INT64", "bool": "TYPE_BOOL"}[s.dtype] for s in step.inputs
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "onxx"}, 'unknown format "onxx"; did you mean onnx'),
        ({"device": "cuda"}, 'unknown device "cuda"'),
        ({"precision": "fp8"}, 'unknown precision "fp8"; .*available: fp32, ext, half'),
        ({"version": 0}, "version: got 0, expected 1"),
        ({"name": "../up"}, "letters, digits"),
        ({"accelerator": "tensorrt", "device": "cpu"}, "needs a GPU"),
        ({"format": "tensorrt", "device": "cpu"}, "takes a GPU"),
    ],
)  # fmt: skip
def test_a_choice_that_can_not_be_is_refused(gemm: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        deploy(gemm, tmp_path / "repository", **options)
    assert not (tmp_path / "repository").exists()


def test_a_name_that_is_no_folder_is_refused(gemm: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(gemm, tmp_path / "gemm.attn")
    edit("name", to="../../gemm 1")(bundle)
    with pytest.raises(UsageError, match="--name"):
        deploy(bundle, tmp_path / "repository")


def test_a_file_for_one_compiler_alone_is_refused(tmp_path: Path) -> None:
    bundle = make_valid_bundle(tmp_path / "gemm.attn")
    with pytest.raises(UsageError, match="made for tensorrt alone; take --format tensorrt"):
        deploy(bundle, tmp_path / "repository", precision="half")


# --- engines -------------------------------------------------------------------------------------------------------


def put_engine(bundle: Path, plan: bytes = b"a plan", name: str = "model", **changes: Any) -> None:
    from attn_runtime.trt.engine_files import EngineStaging, bundle_digest
    from attn_runtime.trt.engine_key import EngineKey
    from attn_runtime.trt.precision_audit import Audit

    opened = Bundle.open(bundle)
    entry = opened.graph().precisions["fp32"]
    key = EngineKey(
        "gemm", entry.file.name, bundle_digest(opened, entry), "model", "fp32", entry.type,
        ({"x": ((1, 16), (2, 16), (3, 16))},), "tensorrt", "10.13.3.9", ("8.9",), "linux-x86_64",
        hashlib.sha256(plan).hexdigest(), len(plan), None, None, None, False, Audit(entry.type, 1), (), 0.5,
        "2026-01-31T12:00:00+00:00", "attn-runtime 0.1.0",
    )  # fmt: skip
    with EngineStaging(bundle / "engines" / f"{name}.engine") as staging:
        staging.publish(plan, dataclasses.replace(key, **changes))


@pytest.fixture
def own(gemm: Path, tmp_path: Path) -> Path:
    """A bundle that the test may change."""
    return shutil.copytree(gemm, tmp_path / "own" / "gemm.attn")


def test_engines_are_served_by_compute_capability(own: Path, tmp_path: Path) -> None:
    put_engine(own, b"for ampere on", "wide", compute_capabilities=("8.0", "8.9"))
    put_engine(own, b"for ada", "narrow")
    model, config = deploy(own, tmp_path / "repository", format="tensorrt")
    assert config.platform == "tensorrt_plan" and config.max_batch_size == 3  # the engine's, not the graph's
    files = {key: (model.path / "1" / name).read_bytes() for key, name in config.cc_model_filenames.items()}
    assert files == {"8.0": b"for ampere on", "8.9": b"for ada"}
    assert (model.path / "1" / config.default_model_filename).is_file()
    assert {p.name for p in (model.path / "1").iterdir()} == set(config.cc_model_filenames.values())
    (group,) = config.instance_group
    assert group.Kind.Name(group.kind) == "KIND_GPU" and not group.profile
    assert max(len(requests) for _, requests in server.warm_up_requests(model.path, config)) <= 3
    assert "10.13.3.9" in model.notes[0]


def test_all_profiles_are_named(own: Path, tmp_path: Path) -> None:
    small, large = ((1, 16), (1, 16), (1, 16)), ((1, 16), (2, 16), (4, 16))
    put_engine(own, profiles=({"x": small}, {"x": large}))
    _, config = deploy(own, tmp_path / "repository", format="tensorrt")
    assert config.max_batch_size == 4 and list(config.instance_group[0].profile) == ["0", "1"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flavour": "rtx"}, "is of flavour rtx, for RTX cards and not for servers"),
        ({"os": "win32-amd64"}, "is for win32-amd64"),
        ({"model_sha256": "0" * 64}, r"differs in model_sha256"),
        ({"precision": "half"}, r"no engine that Triton loads\. Build one"),
    ],
)
def test_an_engine_for_something_else_is_refused(own: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    put_engine(own, **changes)
    with pytest.raises(BackendError, match=f"{says}.*attn-run compile .*--backend tensorrt"):
        deploy(own, tmp_path / "repository", format="tensorrt")
    assert not (tmp_path / "repository").exists()


def test_a_damaged_engine_is_refused(own: Path, tmp_path: Path) -> None:
    put_engine(own, b"a plan")
    (own / "engines" / "model.engine").write_bytes(b"a plam")
    with pytest.raises(EngineError, match="sha256"):
        deploy(own, tmp_path / "repository", format="tensorrt")


def test_engines_of_two_versions_are_refused(own: Path, tmp_path: Path) -> None:
    put_engine(own, name="old")
    put_engine(own, name="new", version="11.4.0")
    with pytest.raises(BackendError, match=r"TensorRT 10\.13\.3\.9 and 11\.4\.0"):
        deploy(own, tmp_path / "repository", format="tensorrt")


# --- whose files these are -----------------------------------------------------------------------------------------


def test_writing_twice_is_writing_once_and_versions_stay(gemm: Path, tmp_path: Path) -> None:
    deploy(gemm, tmp_path)
    first = tree(tmp_path)
    deploy(gemm, tmp_path)
    assert tree(tmp_path) == first
    model, _ = deploy(gemm, tmp_path, version=2, precision="ext")
    now = tree(tmp_path)
    assert now["gemm/1/model.onnx"] == first["gemm/1/model.onnx"] and "gemm/2/model.ext.onnx.data" in now
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    record = json.loads((model.path / "attn-export.json").read_text())["files"]
    assert set(record) == {p.removeprefix("gemm/") for p in now} - {"attn-export.json"}


@pytest.mark.parametrize(
    "place", ["config.pbtxt", "notes.txt", "1/model.onnx", "1/extra.bin", "3/model.onnx", "warmup/0.0.bin"]
)
def test_what_somebody_changed_or_added_is_kept(gemm: Path, tmp_path: Path, place: str) -> None:
    model, _ = deploy(gemm, tmp_path)
    (model.path / place).parent.mkdir(exist_ok=True)
    (model.path / place).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=place.rpartition("/")[2]):
        deploy(gemm, tmp_path)
    assert tree(tmp_path) == before


def test_force_replaces_what_was_changed_but_not_another_version(gemm: Path, tmp_path: Path) -> None:
    model, _ = deploy(gemm, tmp_path)
    (model.path / "config.pbtxt").write_text("mine")
    deploy(gemm, tmp_path, force=True)
    assert server.read_config(model.path).name == "gemm"
    deploy(gemm, tmp_path, version=2)
    (model.path / "1" / "model.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match="1/model.onnx"):
        deploy(gemm, tmp_path, version=2, force=True)


def test_a_model_of_somebody_else_is_kept(gemm: Path, tmp_path: Path) -> None:
    (tmp_path / "gemm" / "1").mkdir(parents=True)
    (tmp_path / "gemm" / "1" / "model.onnx").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="did not write"):
        deploy(gemm, tmp_path)
    assert tree(tmp_path) == {"gemm/1/model.onnx": b"theirs"}
    deploy(gemm, tmp_path, force=True)
    assert "gemm/config.pbtxt" in tree(tmp_path)


def test_a_version_with_other_tensors_is_refused(gemm: Path, generators: Path, tmp_path: Path) -> None:
    deploy(gemm, tmp_path, name="served")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="version 1 there has other inputs"):
        deploy(generators / "writer.attn", tmp_path, name="served", version=2)
    assert tree(tmp_path) == before
    deploy(generators / "writer.attn", tmp_path, name="served")  # in its place it may be another


def test_a_failing_disk_leaves_what_was_there(gemm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(gemm, tmp_path / "repository")
    before = tree(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match="No space left"):
        deploy(gemm, tmp_path / "repository")
    with pytest.raises(OutputError, match="No space left"):
        deploy(gemm, tmp_path / "another")
    assert tree(tmp_path) == before and not (tmp_path / "another").exists()


# --- generators, by the model.py that is written -------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(generators: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("served")
    for bundle in sorted(generators.glob("*.attn")):
        deploy_triton(bundle, repository, TritonOptions(name=bundle.stem))
    return repository


def answers(model: Any, config: Any, *requests: server.Request) -> list[dict[str, Any]]:
    for one in requests:
        server.check_request(config, one.inputs)
    assert model.execute(list(requests)) is None
    found = []
    outputs = {told.name: list(told.dims) for told in config.output}
    for one in requests:
        assert one.sender.ended
        for response in one.sender.responses[:-1]:
            assert response.error is None and not response.outputs["stopped"].item()
        last = one.sender.responses[-1]
        if last.error is not None:
            found.append({"error": str(last.error), "code": last.error.code})
            continue
        for response in one.sender.responses:
            assert {name: list(value.shape) for name, value in response.outputs.items()} == {
                name: [1, *dims] for name, dims in outputs.items()
            }
        found.append({
            "tokens": [int(r.outputs["token"].item()) for r in one.sender.responses[:-1]],
            "streamed": b"".join(r.outputs["text"].item() for r in one.sender.responses).decode(),
            "answer": last.outputs["answer"].item().decode(), "stopped": last.outputs["stopped"].item().decode(),
        })  # fmt: skip
    return found


def test_the_model_of_a_generator(served: Path, generators: Path) -> None:
    config = server.read_config(served / "translator")
    assert (config.backend, config.platform, config.max_batch_size) == ("python", "", 3)
    assert config.model_transaction_policy.decoupled and config.HasField("dynamic_batching")
    assert [t.name for t in config.input if not t.optional] == ["text"]
    (carried,) = (served / "translator" / "1").glob("*.attn")
    assert Bundle.open(carried).manifest == Bundle.open(generators / "translator.attn").manifest
    (warm,) = config.model_warmup
    data = (served / "translator" / "warmup" / warm.inputs["text"].input_data_file).read_bytes()
    assert data == (3).to_bytes(4, "little") + b"the"


@pytest.mark.parametrize(("name", "model"), [("writer", WRITER), ("translator", TRANSLATOR)])
def test_streamed_tokens_are_the_model_s(served: Path, name: str, model: tiny.Tiny) -> None:
    config = server.read_config(served / name)
    texts = ["the cat sat", "dog", "a mat ran far"]
    with server.python_model(served / name) as python:
        together = answers(python, config, *(server.request(text=text, max_length=6) for text in texts))
        alone = [answers(python, config, server.request(text=text, max_length=6))[0] for text in texts]
    expected = [tiny.greedy_of(model, [WORDS.index(word) for word in text.split()], 6) for text in texts]
    assert [found["tokens"] for found in together] == expected
    assert together == alone
    for found in together:
        assert found["answer"] == found["streamed"]
        assert found["stopped"] == ("stop" if found["tokens"][-1] == 1 else "length")


def test_requests_that_differ_are_not_put_together_and_a_bad_one_fails_alone(served: Path) -> None:
    config = server.read_config(served / "writer")
    with server.python_model(served / "writer") as python:
        good, empty, long, short, wrong = answers(
            python, config,
            server.request(text="the cat", max_length=6),
            server.request(text=" "),
            server.request(text=" ".join(["cat"] * 50)),
            server.request(text="the cat", max_length=2),
            server.request(text="dog", temperature=-1.0),
        )  # fmt: skip
    assert len(good["tokens"]) == 6 and short["tokens"] == good["tokens"][:2]
    assert "is empty" in empty["error"] and "has 50 tokens" in long["error"] and "temperature" in wrong["error"]
    assert {empty["code"], long["code"], wrong["code"]} == {3}


def test_drawn_tokens_depend_on_the_seed_of_the_request_alone(served: Path) -> None:
    config = server.read_config(served / "writer")

    def drawn(seed: int) -> server.Request:
        return server.request(text="the cat", temperature=2.0, seed=seed, max_length=8)

    with server.python_model(served / "writer") as python:
        one, two, again = answers(python, config, drawn(5), drawn(6), drawn(5))
        (alone,) = answers(python, config, drawn(6))
    assert one == again and two == alone and one["tokens"] != two["tokens"]


@pytest.mark.parametrize("given", ["no suffix", "."])
def test_a_generator_is_found_whatever_its_folder_is_called(
    generators: Path, tmp_path: Path, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(generators / "translator.attn", tmp_path / "no suffix")
    monkeypatch.chdir(tmp_path / "no suffix" if given == "." else tmp_path)
    deploy_triton(given, tmp_path / "repository", TritonOptions(name="translator"))
    (carried,) = (tmp_path / "repository/translator/1").glob("*.attn")
    assert carried.name == "no suffix.attn"
    with server.python_model(tmp_path / "repository/translator"):
        pass  # it opens


def test_beams_are_told_when_they_are_over(served: Path, generators: Path) -> None:
    from attn_runtime.generate import GenerateOptions
    from attn_runtime.generate.text_generation import generate_texts

    config = server.read_config(served / "translator")
    with server.python_model(served / "translator") as python:
        found = answers(
            python, config, *(server.request(text=t, beams=2, max_length=6) for t in ("the cat", "dog", "far"))
        )
    expected = generate_texts(generators / "translator.attn", ["the cat", "dog", "far"], GenerateOptions(6, beams=2))
    assert [f["tokens"] for f in found] == [list(a.tokens) for a in expected.answers]
    assert [f["answer"] for f in found] == [a.text for a in expected.answers]


def test_a_client_that_leaves_ends_its_generation(served: Path) -> None:
    config = server.read_config(served / "writer")
    with server.python_model(served / "writer") as python:
        (found,) = answers(python, config, server.request(text="the cat", cancel_after=2))
    assert found["stopped"] == "cancelled" and len(found["tokens"]) == 2


def test_a_generator_without_tokenizer_takes_tokens(served: Path) -> None:
    config = server.read_config(served / "numbers")
    assert [(t.name, list(t.dims)) for t in config.input if not t.optional] == [("tokens", [-1])]
    assert not config.model_warmup
    prompts = [[3, 4, 5], [7], [8, 9, 10]]
    with server.python_model(served / "numbers") as python:
        found = answers(python, config, *(server.request(tokens=np.array([p]), max_length=5) for p in prompts))
    assert [f["tokens"] for f in found] == [tiny.greedy_of(WRITER, p, 5) for p in prompts]
    assert {f["answer"] for f in found} == {""}


@pytest.mark.parametrize(("asked", "served", "others"), [(None, "fp32", ("fp16",)), ("fp16", "fp16", ("fp32",))])
def test_which_precision_is_served_is_told(
    generators: Path, tmp_path: Path, asked: str | None, served: str, others: tuple[str, ...]
) -> None:
    model, _ = deploy(generators / "writer.attn", tmp_path, precision=asked)
    assert (model.precision, model.other_precisions) == (served, others)
    assert f"it serves {served}; the bundle has {others[0]} too: --precision {others[0]}" in model.notes[-1]


def test_what_was_made_for_an_engine_is_no_other_precision(tmp_path: Path) -> None:
    model, _ = deploy(make_valid_bundle(tmp_path / "gemm.attn"), tmp_path / "repository")
    assert model.other_precisions == ("ext",)


def test_a_generator_takes_no_engine_options(generators: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="served by the Python backend"):
        deploy(generators / "writer.attn", tmp_path, format="tensorrt")


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command(gemm: Path, tmp_path: Path) -> None:
    from attn_export.cli.app import cli
    from click.testing import CliRunner

    result = CliRunner().invoke(
        cli, ["deploy", "triton", str(gemm), "-o", str(tmp_path / "r"), "--max-queue-delay", "100", "--json"]
    )
    assert result.exit_code == 0, result.output
    (model,) = result_of(result.stdout)["models"]
    assert (model["name"], model["backend"], model["max_batch_size"]) == ("gemm", "onnxruntime_onnx", 4)
    assert (model["precision"], model["other_precisions"]) == ("fp32", ["ext", "half"])
    assert server.read_config(Path(model["path"])).dynamic_batching.max_queue_delay_microseconds == 100
    told = CliRunner().invoke(cli, ["deploy", "triton", str(gemm), "-o", str(tmp_path / "s"), "--precision", "half"])
    assert "onnxruntime_onnx, precision half, batches up to 4" in told.stdout
    assert "note: it serves half; the bundle has fp32, ext too: --precision fp32 takes that" in told.stderr
    with pytest.raises(UsageError, match="did you mean triton"):
        CliRunner().invoke(cli, ["deploy", "tritno"], catch_exceptions=False)
