#!/usr/bin/env bash
# Two translators of transformers let a token see those behind it: FSMT (wmt19) whenever a cache is kept, which is the default
# of a plain call, and ProphetNet always.
#
# Library: transformers 5.23.0, torch 2.13.0 (CPU), x86-64 Linux.
# Guess: a decoder's answer at a place depends on no later token, with `use_cache` or without, to within rounding.
# Seen: FSMT makes its causal mask only where use_cache is off: a call with several decoder_input_ids, as scores of a
# translation are computed, answers otherwise than token by token. ProphetNet's answers at the first places move with what
# follows, either way. Marian and Pegasus, for comparison, are as guessed.
# Output:
#     Marian with its defaults: alike
#     Marian without a cache: alike
#     Pegasus with its defaults: alike
#     Pegasus without a cache: alike
#     FSMT with its defaults: other answers
#     FSMT without a cache: alike
#     ProphetNet with its defaults: other answers
#     ProphetNet without a cache: other answers

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 sacremoses==0.1.1

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$folder/seen"
import torch
import transformers

sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
bart = {**sizes, "d_model": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "init_std": 0.5}
prophet = {"hidden_size": 32, "num_encoder_layers": 2, "num_decoder_layers": 2, "num_encoder_attention_heads": 2}
prophet |= {"num_decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "init_std": 0.5}
models = {
    "Marian": (transformers.MarianMTModel, transformers.MarianConfig(vocab_size=100, pad_token_id=0, **bart)),
    "Pegasus": (transformers.PegasusForConditionalGeneration, transformers.PegasusConfig(vocab_size=100, **bart)),
    "FSMT": (
        transformers.FSMTForConditionalGeneration,
        transformers.FSMTConfig(src_vocab_size=100, tgt_vocab_size=100, langs=["en", "de"], **bart),
    ),
    "ProphetNet": (
        transformers.ProphetNetForConditionalGeneration,
        transformers.ProphetNetConfig(vocab_size=100, **prophet),
    ),
}
for name, (kind, config) in models.items():
    torch.manual_seed(0)
    model = kind(config).eval()
    source, written = torch.randint(5, 90, (1, 8)), torch.randint(5, 90, (1, 8))
    for how, given in (("with its defaults", {}), ("without a cache", {"use_cache": False})):
        with torch.no_grad():
            whole = model(input_ids=source, decoder_input_ids=written, **given).logits[:, :4]
            start = model(input_ids=source, decoder_input_ids=written[:, :4], **given).logits
        off = float((whole - start).abs().max() / whole.abs().max())
        print(f"{name} {how}: {'alike' if off < 1e-5 else 'other answers' if off > 5e-3 else f'between, {off:.1e}'}")
PYTHON
if ! diff <(sed -n 's/^#     //p' "$0") "$folder/seen"; then
    echo "no longer as stated" >&2
    exit 1
fi
