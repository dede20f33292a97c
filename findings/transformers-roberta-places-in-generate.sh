#!/usr/bin/env bash
# RoBERTa's kind is given other places by generate() than by a plain call, and other ones with a cache where a text holds the
# padding token.
#
# Library: transformers 5.23.0, torch 2.13.0 (CPU), x86-64 Linux.
# Guess: the first token that generate() chooses is the likeliest of model(ids), and a token behind a cache is scored as in
# the whole text.
# Seen: a plain call counts places from padding_idx + 1, generate() passes its own from 0, so that the places of two other
# tokens are read and the scores differ by half of the largest. A padding token inside a text has no place of its own and
# moves those behind it, but behind a cache it counts as any other. BERT, which counts from 0, is as guessed.
# Output:
#     Bert: generate() and a call alike; behind a cache alike; behind a padding token and a cache alike
#     Roberta: generate() and a call differ; behind a cache alike; behind a padding token and a cache differ
#     XLMRoberta: generate() and a call differ; behind a cache alike; behind a padding token and a cache differ

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$folder/seen"
import torch
import transformers

sizes = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
models = {"Bert": "BertLMHeadModel", "Roberta": "RobertaForCausalLM", "XLMRoberta": "XLMRobertaForCausalLM"}


def told(one: torch.Tensor, other: torch.Tensor) -> str:
    off = float((one - other).abs().max() / one.abs().max())
    return "alike" if off < 1e-5 else "differ" if off > 0.05 else f"off by {off:.1e}"


for name, kind in models.items():
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(is_decoder=True, initializer_range=0.5, pad_token_id=1, **sizes)
    model = getattr(transformers, kind)(config).eval()

    def behind_a_cache(ids: torch.Tensor) -> str:
        first = model(ids[:, :-1], use_cache=True)
        step = model(ids[:, -1:], past_key_values=first.past_key_values).logits[:, -1]
        return told(model(ids).logits[:, -1], step)

    with torch.no_grad():
        ids = torch.tensor([[0, 5, 6, 7]])
        asked = {"max_new_tokens": 1, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
        generated = told(model(ids).logits[:, -1], model.generate(ids, **asked).logits[0])
        cached, padded = behind_a_cache(ids), behind_a_cache(torch.tensor([[0, 5, 1, 6, 7]]))
    print(f"{name}: generate() and a call {generated}; behind a cache {cached}; behind a padding token and a cache {padded}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
