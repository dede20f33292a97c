#!/usr/bin/env bash
# The Metaspace decoder drops all the spaces that the first token begins with, not the one that was put before the text.
#
# Library: tokenizers 0.23.3, x86-64 Linux.
# Guess: "always" puts one mark before every text, the decoder takes that one away again, and texts come back.
# Seen: nothing is put before a text that begins with a space, and the decoder takes away all marks of the first token: with a
# token of several marks, as vocabularies for code have, "    a b" comes back as "a b", all indentation gone. A Strip of
# one, as Llama files have it, takes one space too many.
# Output:
#     text       "    a b"
#     tokens     ["▁▁▁▁", "a", "▁b"]
#     Metaspace  "a b"
#     Strip      "   a b"

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3

PYTHONUTF8=1 "$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

tokenizer = Tokenizer(models.BPE(
    {"▁": 0, "a": 1, "b": 2, "▁▁": 3, "▁▁▁▁": 4, "▁b": 5},
    [("▁", "▁"), ("▁▁", "▁▁"), ("▁", "b")],
))
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
text = "    a b"
encoded = tokenizer.encode(text)
show = lambda value: json.dumps(value, ensure_ascii=False)
print("text      ", show(text))
print("tokens    ", show(encoded.tokens))
tokenizer.decoder = decoders.Metaspace()
print("Metaspace ", show(tokenizer.decode(encoded.ids)))
tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
print("Strip     ", show(tokenizer.decode(encoded.ids)))
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
