#!/usr/bin/env bash
# scatter_add by an expanded index into a wider tensor adds to the wrong places, on the CPU.
#
# Library: torch 2.13.0, CPU, x86-64 Linux.
# Guess: whether an index is expanded or copied makes no difference to what is computed.
# Seen: index[:, None].expand(-1, 16), which is how rows are summed by group, has a way of its own, which takes the
# destination to be as wide as the source. The index may be narrower than the destination by the documentation
# (index.size(d) <= self.size(d)); then rows land in other rows' columns. Sums, means and maxima by
# scatter_reduce do the same, products do not. An index that was copied is right, and so are 8 columns, and ONNX
# Runtime and onnx's evaluator with the graph that is exported: it is PyTorch's own answer that is wrong.
# Output:
#     scatter_add, 16 columns into 16: equal
#     scatter_add, 16 columns into 20: 60 of 80 numbers differ
#     scatter_add,  8 columns into 20: equal
#     sum,         16 columns into 20: 60 of 80 numbers differ
#     mean,        16 columns into 20: 60 of 80 numbers differ
#     amax,        16 columns into 20: 60 of 80 numbers differ
#     prod,        16 columns into 20: equal
#     row 0, expanded: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
#     row 0, copied:   [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 0, 0, 0]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import torch


def scattered(how, columns, wide, copied):
    x = torch.arange(1.0, 4 * columns + 1).reshape(4, columns)
    index = torch.arange(4)[:, None].expand(-1, columns)
    index = index.contiguous() if copied else index
    if how == "scatter_add":
        return torch.zeros(4, wide).scatter_add(0, index, x)
    return torch.zeros(4, wide).scatter_reduce(0, index, x, how)


cases = [("scatter_add", 16, 16), ("scatter_add", 16, 20), ("scatter_add", 8, 20)]
cases += [(how, 16, 20) for how in ("sum", "mean", "amax", "prod")]
for how, columns, wide in cases:
    expanded, copied = (scattered(how, columns, wide, copied) for copied in (False, True))
    differ = int((expanded != copied).sum())
    what = f"{differ} of {copied.numel()} numbers differ" if differ else "equal"
    print(f"{how + ',':12} {columns:2} columns into {wide}: {what}")
for label, copied in (("expanded:", False), ("copied:  ", True)):
    print("row 0,", label, scattered("scatter_add", 16, 20, copied)[0].int().tolist())
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
