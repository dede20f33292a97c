"""ONNX Runtime with its TensorRT provider first. It builds engines for minutes at the first run, so it is asked for
by name only."""

from __future__ import annotations

from ..device import gpus
from ..interface import Engine, GraphFile, OpenOptions
from ..ort import CUDA, TENSORRT, GraphIds, cache_folder, check_on_gpu, profile_shapes, tf32_note
from . import ort

ABOUT = "ONNX Runtime on an NVIDIA GPU through its TensorRT provider"
AUTOMATIC = False

# The provider numbers its graph 0, whatever it is asked for.
_GRAPHS = GraphIds(option=None)


def why_unavailable() -> str | None:
    return ort.why_unavailable()


def why_not(device: str) -> str | None:
    """None when the provider loads, and the CUDA provider, which runs what TensorRT does not take."""
    if device == "cpu":
        return "TensorRT needs a GPU; take device cuda"
    return ort.why_not_provider(TENSORRT, device) or ort.why_not_provider(CUDA, device)


def open(graph: GraphFile, device: str, options: OpenOptions) -> Engine:
    """As `ort.open`. OutputError where `options.cache` can't be written, EngineError where TensorRT misreads a node."""
    from ..trt.builder import check_for_provider

    check_for_provider(graph.file, graph.where)
    asked = [(TENSORRT, tensorrt_options(graph, device, options)), ort.cuda_provider(device)]
    session = ort.create(graph, device, options, asked)
    check_on_gpu(session, graph.where, device, TENSORRT)
    engine = ort.gpu_engine(session, graph, device, _GRAPHS if options.cuda_graph else None)
    engine.note = tf32_note(engine.note)
    return engine


def tensorrt_options(graph: GraphFile, device: str, options: OpenOptions) -> dict[str, str]:
    """The provider's options for this graph. Makes the cache folder; raises OutputError where that can't be written.

    No `trt_fp16_enable`: it lets TensorRT compute an fp32 graph in fp16. Without it, ONNX Runtime makes the network
    strongly typed, and the types are those of the graph.
    """
    told = {"device_id": str(gpus.device_number(device))}
    told |= {f"trt_profile_{end}_shapes": text for end, text in profile_shapes(graph.inputs or (), graph.where).items()}
    if options.workspace is not None:
        told["trt_max_workspace_size"] = str(options.workspace)
    if options.cuda_graph:
        told["trt_cuda_graph_enable"] = "1"
    if (folder := cache_folder(graph, options.cache)) is not None:
        told |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
        told |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
    return told
