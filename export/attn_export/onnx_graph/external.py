"""When a graph's weights leave its file. Imports nothing: the child process, which has no torch, needs it too."""

from __future__ import annotations

#: Weights beyond this many bytes go to a data file beside the graph: protobuf ends at 2 GB, and a small graph file
#: with memory-mapped weights loads without a second copy.
EXTERNAL_FROM_BYTES = 256 << 20
