"""Running an engine: streams, contexts, buffers.

open_engine      from a graph or an engine file to a pool
engine_pool      many threads over a few streams; stream: a CUDA stream with its contexts and buffers
context          a call made ready; cuda_graph_cache: its CUDA graphs by shape; bound_call: fixed buffers
profile_choice   which profile takes a shape
executor         what a stream needs of an engine; executor_trt10, executor_trt8: the only files that ask TensorRT for it
kernel_cache     kernels that TensorRT-RTX compiled on this machine
"""
