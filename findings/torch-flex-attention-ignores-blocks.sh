#!/usr/bin/env bash
# flex_attention without torch.compile looks at a block mask's mask_mod alone; its blocks are ignored, without a word.
#
# Library: torch 2.13.0, CPU, x86-64 Linux; the compiled form needs a C++ compiler.
# Guess: a BlockMask means the same compiled and not; from_kv_blocks says which blocks of keys a block of queries sees.
# Seen: not compiled, the answer is attention to all keys; compiled, it is attention to the blocks. The documented use
# (create_block_mask) hides it, since there both say the same.
# Output:
#     blocks seen     [[1, 0], [1, 0]]
#     not compiled    all keys True, blocks False
#     compiled        all keys False, blocks True

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0

TORCHINDUCTOR_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import warnings

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

warnings.simplefilter("ignore")
torch.manual_seed(0)
x = torch.randn(1, 1, 256, 16)
number, indices = torch.ones(1, 1, 2, dtype=torch.int32), torch.tensor([[[[0, 1], [0, 1]]]], dtype=torch.int32)
mask = BlockMask.from_kv_blocks(number, indices, BLOCK_SIZE=128, seq_lengths=(256, 256))
print("blocks seen    ", mask.to_dense()[0, 0].tolist())
everything, part = scaled_dot_product_attention(x, x, x), scaled_dot_product_attention(x, x[:, :, :128], x[:, :, :128])
for name, attend in ("not compiled", flex_attention), ("compiled", torch.compile(flex_attention)):
    found = attend(x, x, x, block_mask=mask)
    same = [torch.allclose(found, other, atol=1e-5) for other in (everything, part)]
    print(f"{name:<15} all keys {same[0]}, blocks {same[1]}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
