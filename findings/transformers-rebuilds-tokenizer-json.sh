#!/usr/bin/env bash
# A tokenizer.json is not loaded as it is: some classes rebuild it from its vocabulary, and lose what else it says.
#
# Library: transformers 5.23.0, tokenizers 0.23.3, x86-64 Linux.
# Guess: from_pretrained of a folder with a tokenizer.json gives the tokenizer that the file describes.
# Seen: PreTrainedTokenizerFast does. BertTokenizer and GPT2Tokenizer take words and merges alone and set normalizer and
# post-processor as their class has them: a file without [CLS] and [SEP] gets them, one that lowers letters no longer does.
# Nothing is said.
# Output:
#     BERT, no post-processor   the file [5, 6]      PreTrainedTokenizerFast [5, 6]      BertTokenizer [2, 5, 6, 3]
#     GPT-2, lower case         the file ['a', 'b']  PreTrainedTokenizerFast ['a', 'b']  GPT2Tokenizer ['A', 'B']

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3

HF_HUB_OFFLINE=1 PYTHONUTF8=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null | tee "$folder/seen"
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer


def loaded(name, made, cls, config):
    folder = Path(sys.argv[1]) / f"{name}-{cls}"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": cls}))
    return AutoTokenizer.from_pretrained(folder)


words = {w: n for n, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "day"])}
bert = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
kinds = ("PreTrainedTokenizerFast", "BertTokenizer")
told = [f"{kind} {loaded('bert', bert, kind, {'model_type': 'bert'})('good day').input_ids}" for kind in kinds]
print(f"BERT, no post-processor   the file {bert.encode('good day').ids}      {'      '.join(told)}")

gpt = Tokenizer(models.BPE({"a": 0, "b": 1, "A": 2, "B": 3, "<|endoftext|>": 4}, []))
gpt.normalizer, gpt.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.ByteLevel(add_prefix_space=False)
kinds = ("PreTrainedTokenizerFast", "GPT2Tokenizer")
told = [f"{kind} {loaded('gpt', gpt, kind, {'model_type': 'gpt2'}).tokenize('AB')}" for kind in kinds]
print(f"GPT-2, lower case         the file {gpt.encode('AB').tokens}  {'  '.join(told)}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
