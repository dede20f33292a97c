#!/usr/bin/env bash
# BPE with byte fallback: the bytes of a character overtake the unknown token of the character before it.
#
# Library: tokenizers 0.23.3, x86-64 Linux.
# Guess: the tokens of a text stand in the order of its characters.
# Seen: a character without bytes in the vocabulary becomes the unknown token, which waits for what comes next, fused or
# not. The byte tokens of the characters behind it are written at once, and the unknown one only before the next token
# that is a word. With a word between them, a space here, the order is kept.
# Output:
#     fuse_unk  aèéa    ['a', '<0xC3>', '<0xA9>', '<unk>', 'a']
#     fuse_unk  aèéèéa  ['a', '<0xC3>', '<0xA9>', '<0xC3>', '<0xA9>', '<unk>', 'a']
#     fuse_unk  aè é a  ['a', '<unk>', ' ', '<0xC3>', '<0xA9>', ' ', 'a']
#     without   aèéa    ['a', '<0xC3>', '<0xA9>', '<unk>', 'a']

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

PYTHONUTF8=1 "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
from tokenizers import Tokenizer, models

words = {"<unk>": 0, "<0xC3>": 1, "<0xA9>": 2, "a": 3, " ": 4}  # é is C3 A9; è is C3 A8, which is not there
for name, fuse in (("fuse_unk", True), ("without", False)):
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>", fuse_unk=fuse, byte_fallback=True))
    for text in ("aèéa", "aèéèéa", "aè é a") if fuse else ("aèéa",):
        print(name.ljust(9), text.ljust(7), made.encode(text).tokens)
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
