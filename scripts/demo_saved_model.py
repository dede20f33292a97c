"""A trained model that others saved: the antibody language model IgLM-S (a GPT-2 kind), out of its package on PyPI.

Called by scripts/demo.py. No line of code for the model: its folder becomes a bundle whose tokens are held against PyTorch's
without a cache, and here against transformers' own `generate` too.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

PACKAGE = "iglm==0.1.0"
INSIDE = "iglm/trained_models/IgLM-S/"
#: Heavy chain, human, and how such a chain begins, as places in iglm/trained_models/vocab.txt.
PROMPT = [31, 26, 8, 18, 14, 10, 18, 20, 8, 10]
NEW_TOKENS = 40


def export_saved_model(folder: Path, run: Callable[..., str]) -> str:
    """Fetch, export, verify; returns what was compared. Ends the program where tokens differ."""
    run(
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", PACKAGE, "-d", folder
    )
    (wheel,) = folder.glob("iglm-*.whl")
    saved = folder / "IgLM-S"
    saved.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in ("config.json", "pytorch_model.bin"):
            (saved / name).write_bytes(archive.read(INSIDE + name))
    bundle = folder / "iglm.attn"
    run("attn-export", "to-onnx", saved, "-o", bundle, "--sweep", "2")
    run("attn-run", "verify", bundle)
    ours, theirs = _written(bundle), _generated(saved)
    if ours != theirs:
        sys.exit(f"error: the bundle wrote {ours}, transformers' generate {theirs}")
    return f"{len(ours)} tokens, the same as transformers' generate"


def _written(bundle: Path) -> list[int]:
    import numpy as np
    from attn_runtime import GenerateOptions, open_generator

    tokens = np.array([PROMPT])
    with open_generator(bundle) as generator:
        options = GenerateOptions(max_length=NEW_TOKENS, stop=(), sample=False)
        return list(map(int, generator.generate({"tokens": tokens, "tokens_mask": tokens >= 0}, options).row(0)))


def _generated(saved: Path) -> list[int]:
    import torch
    from attn_export.torchvision_import import ready_torchvision

    ready_torchvision()
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        saved, local_files_only=True, use_safetensors=False
    ).eval()
    model.generation_config.eos_token_id = None  # the folder's, 50256, is no token of the model
    tokens = torch.tensor([PROMPT])
    made = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
    )
    return list(map(int, made[0, len(PROMPT) :]))
