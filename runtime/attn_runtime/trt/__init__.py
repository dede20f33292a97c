"""TensorRT and TensorRT-RTX: compile a typed ONNX graph, know what came out, run it. Needs no torch and no onnx.

Here, for both: which of the two libraries and its version (library, library_choice), the key beside an engine, where engines
lie and which fits this machine (engine_key, engine_files, machine), shapes as trtexec writes them (profiles), and what an engine
is made of: its layers, in which type they compute, and which attention blocks are one kernel (layers, precision_audit,
fused_attention).

builder   from an ONNX file to an engine; no GPU needed with TensorRT-RTX
run       from an engine to answers; the backend is backends/trt.py
"""
