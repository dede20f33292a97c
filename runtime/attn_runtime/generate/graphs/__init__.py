"""The graphs of a generator, bound to the buffers that they share."""
