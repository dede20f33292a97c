"""onnxruntime-genai on a folder of a LlamaForCausalLM, by its own builder; started by precision_bench.py in a venv of its own.

    python genai_peer.py FOLDER THREADS PRECISION TARGET

Builds into TARGET where it is not there. The builder wants a tokenizer and tokens that begin and end a text, which drawn weights
have none of: a copy of the folder gets them. Asked {"tokens": [[...]], "new": 16, "beams": 1}, it answers {"seconds": ...,
"tokens": [[...]]}. The end token may come last alone, as every row is to have as many tokens.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai
from answering import Told

BEGIN, END = 1, 2


def built(folder: Path, precision: str, target: Path) -> Path:
    if (target / "genai_config.json").exists():
        return target
    copy = target.with_name(f"{target.name}-source")
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    ends = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": 0}
    (copy / "config.json").write_text(json.dumps(config | ends))
    (copy / "generation_config.json").write_text(json.dumps(ends))
    words = {f"w{number}": number for number in range(config["vocab_size"])}
    split = {"type": "WhitespaceSplit"}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": split, "model": model}
    tokenizer |= dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = {"bos_token": "w1", "eos_token": "w2", "pad_token": "w0", "unk_token": "w0"}
    (copy / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}))
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", str(copy), "-i", str(copy)]
    subprocess.run([*command, "-o", str(target), "-p", precision, "-e", "cpu"], check=True, stdout=sys.stderr)
    shutil.rmtree(copy)
    return target


def main() -> None:
    told = Told()
    folder, threads, precision, target = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    config = onnxruntime_genai.Config(str(built(folder, precision, target)))
    options = {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}
    config.overlay(json.dumps(options))
    model = onnxruntime_genai.Model(config)
    files = sum(file.stat().st_size for file in target.glob("model.onnx*"))

    def handle(asked: dict[str, Any]) -> dict[str, Any]:
        prompt = np.array(asked["tokens"], np.int32)
        most = prompt.shape[1] + asked["new"]
        started = time.perf_counter()
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(
            max_length=most, min_length=most, batch_size=len(prompt), num_beams=asked["beams"], do_sample=False
        )
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
        rows = [np.array(generator.get_sequence(row))[prompt.shape[1] :].tolist() for row in range(len(prompt))]
        return {"seconds": time.perf_counter() - started, "tokens": rows, "computes": precision}

    told.serve(handle, ["onnxruntime-genai", "onnxruntime"], bytes=files)


if __name__ == "__main__":
    main()
