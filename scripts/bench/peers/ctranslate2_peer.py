"""CTranslate2 on a folder of a MarianMTModel; started by precision_bench.py in a venv of its own.

    python ctranslate2_peer.py FOLDER THREADS TYPE TARGET

Converts FOLDER/model.safetensors into TARGET where it is not there: through CTranslate2's own description of a model, since its
converter wants a tokenizer, which drawn weights have none of. The start token is read like any other: Marian's own models have
a row of zeros for it. TYPE is "float32" or "int8". Asked {"tokens": [[...]], "new": 16, "beams": 1}, it answers {"seconds": ...,
"tokens": [[...]]}. The end token may come last alone, as every row is to have as many tokens.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from answering import Told
from ctranslate2.converters import utils
from ctranslate2.specs import common_spec, transformer_spec
from safetensors.numpy import load_file


def converted(folder: Path, target: Path) -> Path:
    if (target / "model.bin").exists():
        return target
    config, weights = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")

    def linear(spec: Any, name: str) -> None:
        spec.weight = weights[f"{name}.weight"]
        if f"{name}.bias" in weights:
            spec.bias = weights[f"{name}.bias"]

    def norm(spec: Any, name: str) -> None:
        spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def attention(spec: Any, name: str, joined: int) -> None:
        """`joined` of q, k and v are one product, the others another."""
        parts = [common_spec.LinearSpec() for _ in range(3)]
        for part, letter in zip(parts, "qkv", strict=True):
            linear(part, f"{name}.{letter}_proj")
        utils.fuse_linear(spec.linear[0], parts[:joined])
        if joined < 3:
            utils.fuse_linear(spec.linear[1], parts[joined:])
        linear(spec.linear[-1], f"{name}.out_proj")
        norm(spec.layer_norm, f"{name}_layer_norm")

    spec = transformer_spec.TransformerSpec.from_config(
        (config["encoder_layers"], config["decoder_layers"]),
        config["encoder_attention_heads"],
        pre_norm=False,
        activation=common_spec.Activation.RELU,
    )
    table = weights["model.shared.weight"]
    for side in ("encoder", "decoder"):
        half = getattr(spec, side)
        half.scale_embeddings = config["d_model"] ** 0.5 if config["scale_embedding"] else 1.0
        half.position_encodings.encodings = sinusoids(config["max_position_embeddings"], config["d_model"])
        (half.embeddings[0] if side == "encoder" else half.embeddings).weight = table
        for number, layer in enumerate(half.layer):
            at = f"model.{side}.layers.{number}"
            attention(layer.self_attention, f"{at}.self_attn", 3)
            if side == "decoder":
                attention(layer.attention, f"{at}.encoder_attn", 1)
            linear(layer.ffn.linear_0, f"{at}.fc1")
            linear(layer.ffn.linear_1, f"{at}.fc2")
            norm(layer.ffn.layer_norm, f"{at}.final_layer_norm")
    spec.decoder.projection.weight = table
    spec.decoder.projection.bias = weights["final_logits_bias"].reshape(-1)
    words = [f"w{number}" for number in range(len(table))]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.bos_token = spec.config.unk_token = words[config["pad_token_id"]]
    spec.config.eos_token = words[config["eos_token_id"]]
    spec.config.decoder_start_token = words[config["decoder_start_token_id"]]
    spec.validate()
    target.mkdir(parents=True, exist_ok=True)
    spec.save(str(target))
    return target


def sinusoids(count: int, width: int) -> np.ndarray:
    """Marian's positions [count, width], float32: sines in the first half, cosines in the second."""
    angle = np.arange(count)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)
    return np.concatenate([np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])], axis=1).astype(np.float32)


def main() -> None:
    told = Told()
    folder, threads, kind, target = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    model = str(converted(folder, target))
    translator = ctranslate2.Translator(model, "cpu", compute_type=kind, intra_threads=threads, inter_threads=1)

    def handle(asked: dict[str, Any]) -> dict[str, Any]:
        source = [[f"w{token}" for token in row] for row in asked["tokens"]]
        new = asked["new"]
        started = time.perf_counter()
        made = translator.translate_batch(
            source, beam_size=asked["beams"], min_decoding_length=new, max_decoding_length=new, max_input_length=0
        )
        seconds = time.perf_counter() - started
        tokens = [[int(word[1:]) for word in answer.hypotheses[0]] for answer in made]
        return {"seconds": seconds, "tokens": tokens, "computes": translator.compute_type}

    told.serve(handle, ["ctranslate2"])


if __name__ == "__main__":
    main()
