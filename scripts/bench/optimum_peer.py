"""Optimum's ORTModelForSeq2SeqLM on a MarianMTModel with random weights; started by generate_bench.py in a venv of its own.

Reads one JSON object a line from stdin: {"tokens": [[...]], "new": 16} and answers {"seconds": ..., "made": [rows, tokens]}.
The first line it writes says what it is: {"versions": ..., "seconds": of the export}.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    told, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like; answers go out alone
    folder, threads, sizes = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    import onnxruntime
    import torch
    from optimum.exporters.onnx import main_export
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import GenerationConfig, MarianConfig, MarianMTModel

    torch.set_num_threads(threads)
    started = time.perf_counter()
    exported = folder / "onnx"
    if not (exported / "config.json").exists():
        torch.manual_seed(0)
        MarianMTModel(MarianConfig(**sizes)).save_pretrained(folder / "torch")
        main_export(str(folder / "torch"), exported, task="text2text-generation-with-past", do_validation=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForSeq2SeqLM.from_pretrained(
        exported, session_options=options, provider="CPUExecutionProvider", use_cache=True
    )
    model.generation_config.eos_token_id = None  # nothing ends an answer but its length
    model.generation_config.forced_eos_token_id = None

    def answer(**values: object) -> None:
        print(json.dumps(values), file=told, flush=True)

    packages = ("optimum-onnx", "optimum", "transformers", "onnxruntime", "torch")
    answer(versions={p: version(p) for p in packages}, seconds=time.perf_counter() - started)
    for line in sys.stdin:
        asked = json.loads(line)
        tokens = torch.tensor(asked["tokens"])
        forced = GenerationConfig(
            max_new_tokens=asked["new"],
            do_sample=False,
            num_beams=1,
            use_cache=True,
            pad_token_id=sizes["pad_token_id"],
            decoder_start_token_id=sizes["decoder_start_token_id"],
        )
        started = time.perf_counter()
        made = model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), generation_config=forced)
        answer(seconds=time.perf_counter() - started, made=[made.shape[0], made.shape[1] - 1])


if __name__ == "__main__":
    main()
