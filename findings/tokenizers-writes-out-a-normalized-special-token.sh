#!/usr/bin/env bash
# A special token that is also "normalized" is not skipped by decode(skip_special_tokens=True).
#
# Library: tokenizers 0.23.3, x86-64 Linux.
# Guess: skip_special_tokens drops every token whose entry says "special": true.
# Seen: with a normalizer that changes its text ("<S>" becomes "<s>" in lower case), the token is found in texts, has its id,
# and is written out as "<s>": what is skipped goes by the text before it was normalized, what is decoded by the text after.
# Output:
#     normalized False  <S> a -> [3, 0]  decoded "a"
#     normalized True   <S> a -> [3, 0]  decoded "<s> a"

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

PYTHONUTF8=1 "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import json

from tokenizers import Tokenizer

for normalized in (False, True):
    token = {"id": 3, "content": "<S>", "single_word": False, "lstrip": False, "rstrip": False}
    file = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "added_tokens": [{**token, "normalized": normalized, "special": True}],
        "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"},
    }
    tokenizer = Tokenizer.from_str(json.dumps(file))
    ids = tokenizer.encode("<S> a").ids
    text = tokenizer.decode(ids, skip_special_tokens=True)
    print(f"""normalized {normalized!s:5}  <S> a -> {ids}  decoded "{text}\"""")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
