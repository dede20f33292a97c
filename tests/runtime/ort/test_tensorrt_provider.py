"""What the TensorRT providers of ONNX Runtime are told, and that what they are told is theirs to read."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.backends import ort, ort_rtx, ort_tensorrt
from attn_runtime.bundle.reader import Bundle
from attn_runtime.device.gpus import find_gpus
from attn_runtime.errors import BackendError, OutputError
from attn_runtime.interface import GraphFile, OpenOptions
from attn_runtime.ort.tensorrt_provider import cache_folder, profile_shapes, tf32_note
from attn_runtime.session import open_session
from attn_runtime.spec import Dim, TensorSpec
from support.graphs.make_graphs import add

BATCH, T = Dim("batch", 1, 8, 32), Dim("T", 1, 50, 200)
TOKENS = TensorSpec("tokens", "int64", (BATCH, T))
IMAGE = TensorSpec("image", "float32", (BATCH, Dim.fixed(3), Dim.fixed(32), Dim.fixed(32)))
SCALE = TensorSpec("scale", "float32", (Dim.fixed(3),))


def graph(file: Path, *inputs: TensorSpec) -> GraphFile:
    return GraphFile(file, f"file {file.name}", inputs or None, ())


# --- shapes -------------------------------------------------------------------------------------------------------


def test_shapes_of_every_input_that_varies() -> None:
    assert profile_shapes((IMAGE, SCALE, TOKENS), "m") == {
        "min": "image:1x3x32x32,tokens:1x1",
        "opt": "image:8x3x32x32,tokens:8x50",
        "max": "image:32x3x32x32,tokens:32x200",
    }


def test_a_named_dim_of_one_size_is_dynamic_in_the_file() -> None:
    one = TensorSpec("x", "float32", (Dim("batch", 4, 4, 4),))
    assert profile_shapes((one,), "m") == {"min": "x:4", "opt": "x:4", "max": "x:4"}


def test_nothing_to_tell_of_fixed_inputs_and_of_none() -> None:
    assert profile_shapes((SCALE, TensorSpec("n", "int64", ())), "m") == {} == profile_shapes((), "m")


@pytest.mark.parametrize("name", ["x:0", "a,b"])
def test_name_that_the_providers_would_misread(name: str) -> None:
    with pytest.raises(BackendError, match=f'bundle m.*input "{name}".*another input name'):
        profile_shapes((TensorSpec(name, "float32", (T,)),), "bundle m")
    assert profile_shapes((TensorSpec(name, "float32", (Dim.fixed(2),)),), "m") == {}


# --- cache --------------------------------------------------------------------------------------------------------


def test_cache_is_by_content(tmp_path: Path) -> None:
    """Both providers name an engine by file and node names: other weights under the same names must not meet it."""
    file = add(tmp_path / "m.onnx")
    first = cache_folder(graph(file), tmp_path / "cache")
    assert first and first.is_dir() and first.is_absolute()
    assert cache_folder(graph(file), tmp_path / "cache") == first
    assert cache_folder(graph(add(tmp_path / "same.onnx")), tmp_path / "cache") == first
    assert cache_folder(graph(add(tmp_path / "m.onnx", {"k": "v"})), tmp_path / "cache") != first
    assert cache_folder(graph(file), None) is None


def test_cache_sees_weights_that_lie_beside_the_graph(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.arange(600, dtype=np.float32), "w")
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    sides = [[onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [600])] for n in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *sides, [weight]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    first = cache_folder(graph(tmp_path / "m.onnx"), tmp_path / "cache")
    (tmp_path / "m.data").write_bytes(np.ones(600, np.float32).tobytes())
    assert cache_folder(graph(tmp_path / "m.onnx"), tmp_path / "cache") != first


def test_cache_that_can_not_be_written(tmp_path: Path) -> None:
    file = add(tmp_path / "m.onnx")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken: can't be written") as caught:
        cache_folder(graph(file), tmp_path / "taken")
    assert caught.value.exit_code == 11 and "\n" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that even root can't write to")
def test_cache_that_is_there_and_takes_no_files(tmp_path: Path) -> None:
    """Root may write anywhere by the permissions, so that only trying tells."""
    file = graph(add(tmp_path / "m.onnx"))
    folder = cache_folder(file, tmp_path / "cache")
    assert folder is not None
    folder.rmdir()
    folder.symlink_to(f"/proc/{os.getpid()}")
    with pytest.raises(OutputError, match="cache: can't be written"):
        cache_folder(file, tmp_path / "cache")


# --- options ------------------------------------------------------------------------------------------------------


def test_options_of_tensorrt(tmp_path: Path) -> None:
    file = add(tmp_path / "m.onnx")
    plain = ort_tensorrt.tensorrt_options(graph(file, IMAGE), "cuda:1", OpenOptions(threads=3))
    assert plain == {
        "device_id": "1",
        "trt_profile_min_shapes": "image:1x3x32x32",
        "trt_profile_opt_shapes": "image:8x3x32x32",
        "trt_profile_max_shapes": "image:32x3x32x32",
    }
    wanted = OpenOptions(None, True, tmp_path / "cache", 2**31)
    told = ort_tensorrt.tensorrt_options(graph(file), "cuda", wanted)
    folder = str(cache_folder(graph(file), tmp_path / "cache"))
    assert told == {
        "device_id": "0",
        "trt_max_workspace_size": "2147483648",
        "trt_cuda_graph_enable": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }


def test_options_of_the_rtx_plugin(tmp_path: Path) -> None:
    file = add(tmp_path / "m.onnx")
    assert ort_rtx.rtx_options(graph(file), OpenOptions(threads=3)) == {}
    told = ort_rtx.rtx_options(graph(file, TOKENS), OpenOptions(None, True, tmp_path / "cache", 1024))
    assert told == {
        "nv_profile_min_shapes": "tokens:1x1",
        "nv_profile_opt_shapes": "tokens:8x50",
        "nv_profile_max_shapes": "tokens:32x200",
        "nv_max_workspace_size": "1024",
        "enable_cuda_graph": "1",
        "nv_runtime_cache_path": str(cache_folder(graph(file), tmp_path / "cache")),
    }


def test_every_option_of_the_plugin_is_one_it_has(tmp_path: Path) -> None:
    plugin = pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx", reason="the plugin is not installed")
    header = (Path(plugin.__file__).parent / "tensorrt_rtx_provider_options.h").read_text()
    wanted = OpenOptions(None, True, tmp_path / "cache", 1024)
    options = ort_rtx.rtx_options(graph(add(tmp_path / "m.onnx"), TOKENS), wanted)
    missing = [name for name in [*options, ort_rtx._GRAPHS.option] if f'= "{name}";' not in header]
    assert len(options) == 6 and not missing
    assert plugin.get_ep_name() == ort_rtx.RTX


def test_capabilities_are_those_of_the_plugin_s_header() -> None:
    plugin = pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx", reason="the plugin is not installed")
    header = (Path(plugin.__file__).parent / "tensorrt_rtx_provider_options.h").read_text()
    assert 'kTargetSMValues[] = {"sm86", "sm89", "sm120", "sm121"};' in header
    assert "if (compute_capability >= 120)" in header
    taken = [c for c in ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "11.0", "12.0", "12.1", "13.0")
             if ort_rtx.why_not_capability(c) is None]  # fmt: skip
    assert taken == ["8.6", "8.9", "12.0", "12.1", "13.0"]
    assert "has 9.0; take backend ort" in (ort_rtx.why_not_capability("9.0") or "")


@pytest.mark.skipif(find_gpus().problem is None, reason="this machine has a GPU")
@pytest.mark.parametrize("backend", ["ort_tensorrt", "ort_rtx"])
def test_neither_is_opened_without_a_gpu(backend: str, valid_bundle: Path) -> None:
    for device in ("cuda", "auto"):
        with pytest.raises(BackendError, match="driver") as caught:
            open_session(valid_bundle, device, backend)
        assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="needs a GPU; take device cuda"):
        open_session(valid_bundle, "cpu", backend)


def test_ranges_of_a_bundle_reach_the_provider(valid_bundle: Path) -> None:
    bundle = Bundle.open(valid_bundle)
    found = bundle.graph()
    file = GraphFile(found.precisions["fp32"].file, "m", found.inputs, found.outputs)
    told = ort_tensorrt.tensorrt_options(file, "cuda", OpenOptions())
    dim = found.inputs[0].dims[0]
    assert told["trt_profile_max_shapes"] == f"x:{dim.max}x16" and told["trt_profile_min_shapes"] == f"x:{dim.min}x16"


def test_tf32_is_told_where_nothing_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA provider has an option for it; TensorRT inside ONNX Runtime has only the variable, and takes TF32 without."""
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    assert "set NVIDIA_TF32_OVERRIDE=0" in str(tf32_note(None)) and str(tf32_note("first")).startswith("first; may")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert tf32_note(None) is None and tf32_note("first") == "first"


@pytest.mark.parametrize("backend", [ort_tensorrt, ort_rtx])
def test_both_providers_tell_of_tf32(backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    monkeypatch.setattr(ort, "create", lambda *_: None)
    monkeypatch.setattr(ort, "gpu_engine", lambda *_: SimpleNamespace(note=None))
    monkeypatch.setattr(backend, "check_on_gpu", lambda *_: None)
    if backend is ort_rtx:
        monkeypatch.setattr(backend, "register", lambda: None)
        monkeypatch.setattr(backend, "_offered", lambda device: object())
    graph = GraphFile(add(tmp_path / "m.onnx"), "file m.onnx")
    assert "TF32" in backend.open(graph, "cuda", OpenOptions()).note
