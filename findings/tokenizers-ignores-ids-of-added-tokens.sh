#!/usr/bin/env bash
# The ids that tokenizer.json gives its added tokens are not read: they are counted on from the size of the vocabulary.
#
# Library: tokenizers 0.23.3, x86-64 Linux.
# Guess: "id" of an entry of added_tokens is the id of the token, or a file whose ids leave a gap is refused.
# Seen: with a vocabulary of three and added tokens with the ids 7 and 9 the file loads without a word, and they are 3 and 4:
# what a model with a padded or cut embedding table reads are other rows than its file says. What is saved again says 3 and 4.
# Output:
#     the file says  {"<x>": 7, "<y>": 9}
#     the ids are    {"<x>": 3, "<y>": 4}
#     saved again    {"<x>": 3, "<y>": 4}

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

PYTHONUTF8=1 "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import json

from tokenizers import Tokenizer

flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
wanted = {"<x>": 7, "<y>": 9}
file = {
    "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
    "post_processor": None, "decoder": None,
    "added_tokens": [{"id": number, "content": text, **flags} for text, number in wanted.items()],
    "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"},
}
tokenizer = Tokenizer.from_str(json.dumps(file))
print("the file says ", json.dumps(wanted))
print("the ids are   ", json.dumps({text: tokenizer.encode(text).ids[0] for text in wanted}))
saved = json.loads(tokenizer.to_str())["added_tokens"]
print("saved again   ", json.dumps({token["content"]: token["id"] for token in saved}))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
