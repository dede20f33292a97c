"""ONNX Runtime with NVIDIA's plugin provider for TensorRT-RTX, which a package of its own brings.

The engine is compiled for the card when the session opens, in seconds to minutes, so it is asked for by name only.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

from .. import forks
from ..device import gpus
from ..errors import BackendError
from ..interface import Engine, GraphFile, OpenOptions
from ..ort import GraphIds, cache_folder, check_on_gpu, one_line, profile_shapes, tf32_note
from . import ort

ABOUT = "ONNX Runtime on an NVIDIA RTX GPU through the TensorRT-RTX plugin provider"
AUTOMATIC = False

#: The provider's name, as its package tells it.
RTX = "NvTensorRTRTXExecutionProvider"
# TensorRT-RTX captures and replays by itself, and looks at the shapes and addresses of each run.
_GRAPHS = GraphIds("cuda_graph_annotation_id")

_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
_INSTALL = "pip install onnxruntime onnxruntime-ep-nv-tensorrt-rtx-cu13"
_OLDEST_ORT = (1, 24)
# By the header in its package: these, and everything from 12.0 on. Not the server cards 8.0, 9.0 and 10.0, no Jetson.
_CAPABILITIES, _FROM = ((8, 6), (8, 9)), (12, 0)

_registering = forks.lock()


def why_unavailable() -> str | None:
    """None when onnxruntime and the plugin's package are installed, else what to install. Loads no library of NVIDIA's."""
    if problem := ort.why_unavailable():
        return problem
    version = str(ort.library().__version__)
    from ..trt import version_tuple

    if version_tuple(version) < _OLDEST_ORT:
        return f"onnxruntime {version} is too old for plugin providers, expected 1.24 or newer; {_INSTALL}"
    if importlib.util.find_spec(_PACKAGE) is None:
        return f"the plugin {_PACKAGE} is not installed; {_INSTALL}"
    return None


def why_not(device: str) -> str | None:
    """None when the plugin loads and offers `device`, else the reason. The driver is asked first: the plugin needs it."""
    if device == "cpu":
        return "TensorRT-RTX needs a GPU; take device cuda"
    return gpus.why_not(device) or _why_not_capable(device) or register() or _why_not_offered(device)


def why_not_capability(capability: str) -> str | None:
    """None when the plugin runs on a GPU of this compute capability ("8.9"), else the reason."""
    from ..trt import version_tuple

    found = version_tuple(capability)
    if found in _CAPABILITIES or found >= _FROM:
        return None
    return (
        f"TensorRT-RTX inside ONNX Runtime runs on compute capability 8.6, 8.9 and from 12.0 on, this GPU has "
        f"{capability}; take backend ort, or trt with the flavour tensorrt"
    )


@cache
def _register() -> str | None:
    try:
        # Its import links and preloads the libraries that lie beside it.
        plugin = importlib.import_module(_PACKAGE)
        ort.library().register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
    except Exception as error:
        return f"the plugin {_PACKAGE} does not register ({one_line(error)}); reinstall it: {_INSTALL}"
    return None


def register() -> str | None:
    """Make the plugin known to ONNX Runtime, once in this process; None, or why it can't be."""
    with _registering:  # ONNX Runtime refuses a second registration under the same name
        return _register()


def open(graph: GraphFile, device: str, options: OpenOptions) -> Engine:
    """As `ort.open`. OutputError where `options.cache` can't be written, EngineError where TensorRT misreads a node."""
    if problem := register():
        raise BackendError(f"{graph.where}: {problem}")
    offered = _offered(device)
    if offered is None:
        raise BackendError(f"{graph.where}: {_why_not_offered(device)}")
    from ..trt.builder import check_for_provider

    check_for_provider(graph.file, graph.where)
    told = rtx_options(graph, options)
    session = ort.create(
        graph, device, options, [], lambda configured: configured.add_provider_for_devices([offered], told)
    )
    check_on_gpu(session, graph.where, device, RTX)
    engine = ort.gpu_engine(session, graph, device, _GRAPHS if options.cuda_graph else None)
    engine.note = tf32_note(engine.note)
    return engine


def rtx_options(graph: GraphFile, options: OpenOptions) -> dict[str, str]:
    """The provider's options for this graph; which GPU, the device tells that they are given with.

    Makes the cache folder; raises OutputError where that can't be written.
    """
    told = {f"nv_profile_{end}_shapes": text for end, text in profile_shapes(graph.inputs or (), graph.where).items()}
    if options.workspace is not None:
        told["nv_max_workspace_size"] = str(options.workspace)
    if options.cuda_graph:
        told["enable_cuda_graph"] = "1"
    if (folder := cache_folder(graph, options.cache)) is not None:
        told["nv_runtime_cache_path"] = str(folder)
    return told


def _why_not_capable(device: str) -> str | None:
    capability = gpus.compute_capability(gpus.device_number(device))
    return why_not_capability(capability) if capability else None


def _why_not_offered(device: str) -> str | None:
    if _offered(device) is not None:
        return None
    count = sum(found.ep_name == RTX for found in ort.library().get_ep_devices())
    return f"the plugin {_PACKAGE} offers {count} GPUs, and {device} is none of them; it needs a driver for CUDA 13"


def _offered(device: str) -> Any | None:
    """The plugin's device for `device`. It leaves out the GPUs that it can't use, so that a place in its list says little."""
    found = [each for each in ort.library().get_ep_devices() if each.ep_name == RTX]
    number = gpus.device_number(device)
    wanted = (gpus.bus_address(number) or "").casefold()
    for each in found:
        if wanted and each.device.metadata.get("pci_bus_id", "").casefold() == wanted:
            return each
    # Windows tells no bus; there, the lists are the same when they are as long.
    told = any("pci_bus_id" in each.device.metadata for each in found)
    return found[number] if not told and number < len(found) == len(gpus.find_gpus().names) else None
