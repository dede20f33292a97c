"""The memory side of running on a GPU, behind one small interface, so that everything but the driver calls runs on a CPU.

interface    what a device can do: memory, copies, streams, events, graphs
cuda_device  that, by cuda-python; the only file here that a CPU can't execute
blocks       device memory that is lent and comes back
buffers      memory that grows to the largest call; page-locked numpy arrays
dlpack       tensors in and out through DLPack, read and written with ctypes
tensor       a tensor on a device: borrowed from the caller, or owned and handed out
pool         a bounded number of things, one thread at a time each

Memory: who allocates frees. A tensor of the caller is read during the call and let go of before it returns; a tensor that
is handed out owns its memory until the last reference, DLPack's included, is gone, whether or not the session is closed.
Threads: a Device may be used by many threads; each calls `use` first, since CUDA keeps the current device per thread.
"""
