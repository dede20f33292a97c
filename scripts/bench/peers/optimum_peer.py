"""Optimum's ORT models on what Optimum exported of a folder; started by generate_bench.py in a venv of its own.

    python optimum_peer.py FOLDER THREADS CLASS CONFIG

FOLDER/torch is a model of transformers' CLASS with CONFIG, a JSON object, and drawn weights: saved here where it is not
there, so that an older transformers, which cannot read what a newer one saved, need not. FOLDER/onnx is Optimum's export.
Reads one JSON object a line from stdin: {"tokens": [[...]], "new": 16} and answers {"seconds": ..., "tokens": [[...]]}.
The first line it writes says what it is: {"versions": ..., "seconds": of the export}.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def save_drawn(folder: Path, name: str, config: dict[str, Any], gain: float = 1.5) -> Path:
    """`folder`/torch, with a model of transformers' class `name` as save_pretrained writes it.

    Weights are drawn from a seed, of a size that keeps that of what goes through them, times `gain`: as they are initialised
    (0.02), every token is all but equally likely, and equal tokens would say nothing.
    """
    import torch
    import transformers

    target = folder / "torch"
    if (target / "config.json").exists():
        return target
    maker = getattr(transformers, name)
    torch.manual_seed(0)
    model = maker(maker.config_class(**config)).eval()
    random = torch.Generator().manual_seed(0)
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                size = 1.0 if id(parameter) in tables else gain * parameter[0].numel() ** -0.5
                parameter.copy_(size * torch.randn(parameter.shape, generator=random))
    if model.can_generate():
        ends = {"eos_token_id": None, "forced_eos_token_id": None}  # nothing ends an answer but its length
        begin = {k: config[k] for k in ("pad_token_id", "decoder_start_token_id") if k in config}
        model.generation_config = transformers.GenerationConfig(**begin, **ends)
    model.save_pretrained(target)
    return target


def main() -> None:
    told, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like; answers go out alone
    folder, threads, name, config = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    import onnxruntime
    import torch
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSeq2SeqLM
    from transformers import GenerationConfig

    torch.set_num_threads(threads)
    saved = save_drawn(folder, name, config)
    started = time.perf_counter()
    exported = folder / "onnx"
    encodes = "decoder_start_token_id" in config
    if not (exported / "config.json").exists():
        task = "text2text-generation-with-past" if encodes else "text-generation-with-past"
        main_export(str(saved), exported, task=task, do_validation=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    maker = ORTModelForSeq2SeqLM if encodes else ORTModelForCausalLM
    model = maker.from_pretrained(exported, session_options=options, provider="CPUExecutionProvider", use_cache=True)
    model.generation_config.eos_token_id = None
    model.generation_config.forced_eos_token_id = None

    def answer(**values: object) -> None:
        print(json.dumps(values), file=told, flush=True)

    packages = ("optimum-onnx", "optimum", "transformers", "onnxruntime", "torch")
    answer(versions={p: version(p) for p in packages}, seconds=time.perf_counter() - started)
    start = {"decoder_start_token_id": config["decoder_start_token_id"]} if encodes else {}
    for line in sys.stdin:
        asked = json.loads(line)
        tokens = torch.tensor(asked["tokens"])
        forced = GenerationConfig(
            max_new_tokens=asked["new"],
            do_sample=False,
            num_beams=1,
            use_cache=True,
            pad_token_id=config["pad_token_id"],
            **start,
        )
        started = time.perf_counter()
        made = model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), generation_config=forced)
        seconds = time.perf_counter() - started
        answer(seconds=seconds, tokens=made[:, 1 if encodes else tokens.shape[1] :].tolist())


if __name__ == "__main__":
    main()
