"""TensorRT and TensorRT-RTX: compile a typed ONNX graph, know what came out, run it. Needs no torch and no onnx.

Building (no GPU needed with TensorRT-RTX), from the call to the library:
    compile          the one public call, compile_engine
    source           the file to build: a bundle's precision or a plain ONNX file, with what must be checked of it
    profiles         shapes as trtexec writes them, held against the graph
    traps            what would fail or go wrong silently, found before the build
    flavour_choice, flavour   which of the two libraries, and its version
    apart, worker    the child process that builds; parent's side and child's
    network          parse and build, in this process; listeners: the library's log and progress
    hold             keeps the library from computing in half precision what the graph has in float32
    progress         how far a build is, and how long it will take
    problems         what the library said, as node, module, source line and advice
Knowing:
    layers           the build's own list of layers
    audit            in which type it multiplies and convolves
    fusion           which attention blocks are one kernel, why not, what would help
    key, engines     the key beside an engine; where engines lie and which fits this machine
    doctor           what this machine can build and run
Running (a GPU; the backend is backends/trt.py):
    opening          from a graph or an engine file to a runner
    runner, lane     many threads over a few lanes; a lane has a stream, contexts and buffers
    prepared, graph_cache, bound   a call made ready, its CUDA graphs by shape, fixed buffers
    profile_choice   which profile takes a shape
    executor         what a lane needs of an engine; library_executor: the only file that asks TensorRT for it
    runtime_cache    kernels that TensorRT-RTX compiled on this machine
"""
