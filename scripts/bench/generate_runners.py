"""Ways to write a fixed number of tokens greedily on the CPU, for generate_bench.py. Each one answers how many it wrote."""

from __future__ import annotations

import json
import logging
import subprocess
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_models import reference_generation
from attn_models.reference_rules import begin_of
from attn_models.spec import ModelSpec
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Model:
    """A class of transformers by its name, and what its config is made with."""

    name: str
    config: dict[str, Any]

    @property
    def begin(self) -> int | None:
        """The token that an encoder-decoder's answers begin with."""
        return self.config.get("decoder_start_token_id")

    @property
    def optimum(self) -> str:
        return "ORTModelForCausalLM" if self.begin is None else "ORTModelForSeq2SeqLM"


@dataclass(frozen=True)
class Made:
    """The tokens [rows, new] of one generation, and how long it took."""

    tokens: Tokens
    seconds: float


class Runner:
    name: str
    #: Whether it has the same weights as attn-runtime, and must write the same tokens.
    same_weights = True

    def run(self, prompt: Tokens, new: int) -> Made:
        """Write `new` tokens behind (or, translating, about) each row of `prompt`, int64 [rows, length] without padding."""
        started = time.perf_counter()
        tokens = self.write(prompt, new)
        return Made(tokens, time.perf_counter() - started)

    def write(self, prompt: Tokens, new: int) -> Tokens:
        """The new tokens [rows, new]."""
        raise NotImplementedError

    def close(self) -> None:
        pass


class OurRuntime(Runner):
    """attn_runtime.generate on ONNX Runtime."""

    name = "attn-runtime"

    def __init__(self, bundle: Path, threads: int) -> None:
        from attn_runtime.generate import open_generator

        self.generator = open_generator(bundle, "cpu", "ort", threads=threads)

    def write(self, prompt: Tokens, new: int) -> Tokens:
        from attn_runtime.generate import GenerateOptions

        inputs: dict[str, Any] = {"tokens": prompt}
        if self.generator.wiring.encoder is not None:
            inputs = {"source": prompt, "source_mask": np.ones(prompt.shape, bool)}
        return self.generator.generate(inputs, GenerateOptions(max_length=new, stop=())).tokens

    def close(self) -> None:
        self.generator.close()


class PyTorchCached(Runner):
    """The same module's graphs in PyTorch, with a cache: attn_models.reference_generation.cached."""

    name = "PyTorch, cached loop"

    def __init__(self, spec: ModelSpec, module: torch.nn.Module) -> None:
        assert spec.generation is not None
        endless = replace(spec.generation, asset={**spec.generation.asset, "stop": []})
        self.spec, self.module = replace(spec, generation=endless), module

    def write(self, prompt: Tokens, new: int) -> Tokens:
        return reference_generation.cached(
            self.module, self.spec, _prompt(self.spec, prompt), new, scores=False
        ).tokens.numpy()

    def margin(self, prompt: Tokens, new: int) -> float:
        """Least gap, in logits, between what is chosen and what comes next."""
        return reference_generation.cached(self.module, self.spec, _prompt(self.spec, prompt), new).margin


class NoCache(Runner):
    """The whole module as one ONNX graph, which reads everything again for each token."""

    name = "ONNX without a cache"

    def __init__(self, spec: ModelSpec, module: torch.nn.Module, file: Path, threads: int) -> None:
        import onnxruntime

        assert spec.generation is not None
        self.begin = begin_of(spec.generation.asset)
        if not file.exists():
            self._export(module, file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def _export(self, module: torch.nn.Module, file: Path) -> None:
        tokens = torch.randint(3, 20, (2, 5))
        batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
        row = {0: batch, 1: length}
        if not self.begin:
            arguments: tuple[torch.Tensor, ...] = (tokens,)
            shapes: tuple[dict[int, Any], ...] = (row,)
        else:
            source = torch.randint(3, 20, (2, 7))
            arguments = (source, torch.ones_like(source, dtype=torch.bool), tokens)
            other = {0: batch, 1: torch.export.Dim("source")}
            shapes = (other, other, row)
        partial = file.with_suffix(".partial.onnx")
        logging.disable(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, arguments, partial, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
            )
        logging.disable(logging.NOTSET)
        partial.replace(file)

    def write(self, prompt: Tokens, new: int) -> Tokens:
        names = [i.name for i in self.session.get_inputs()]
        told: list[NDArray[Any]] = []
        tokens = prompt
        if self.begin:
            told = [prompt, np.ones(prompt.shape, bool)]
            tokens = np.tile(np.array(self.begin, np.int64), (len(prompt), 1))
        start = tokens.shape[1]
        for _ in range(new):
            (logits,) = self.session.run(None, dict(zip(names, [*told, tokens], strict=True)))
            tokens = np.concatenate([tokens, logits[:, -1].argmax(-1)[:, None]], axis=1)
        return tokens[:, start:]


class HuggingFace(Runner):
    """`generate` of a model in transformers."""

    def __init__(self, model: Any, pad: int, begin: int | None, same_weights: bool = False) -> None:
        import transformers

        self.name = f"transformers {type(model).__name__}.generate"
        self.model, self.encodes, self.same_weights = model.eval(), begin is not None, same_weights
        self.model.generation_config.eos_token_id = None  # nothing ends an answer but its length
        self.model.generation_config.forced_eos_token_id = None
        start = {} if begin is None else {"decoder_start_token_id": begin}
        self.config = lambda new: transformers.GenerationConfig(
            max_new_tokens=new, do_sample=False, num_beams=1, use_cache=True, pad_token_id=pad, **start
        )

    def write(self, prompt: Tokens, new: int) -> Tokens:
        return np.asarray(self._made(prompt, new)[:, 1 if self.encodes else prompt.shape[1] :])

    def margin(self, prompt: Tokens, new: int) -> float:
        """Least gap, in logits, between what is chosen and what comes next."""
        made = self._made(prompt, new, return_dict_in_generate=True, output_logits=True)
        best = torch.stack(made.logits).topk(2, dim=-1).values
        return float((best[..., 0] - best[..., 1]).min())

    def _made(self, prompt: Tokens, new: int, **options: Any) -> Any:
        tokens = torch.from_numpy(prompt)
        mask = torch.ones_like(tokens)
        with torch.no_grad():
            return self.model.generate(
                input_ids=tokens, attention_mask=mask, generation_config=self.config(new), **options
            )


class Optimum(Runner):
    """ORTModelForSeq2SeqLM or ORTModelForCausalLM on a folder that Optimum exported, in a process and a venv of its own."""

    def __init__(self, python: Path, folder: Path, model: Model, threads: int, same_weights: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.same_weights = f"optimum {model.optimum}.generate", same_weights
        words = [str(python), str(HERE / "peers" / "optimum_peer.py"), str(folder), str(threads), model.name]
        words.append(json.dumps(model.config))
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"its process ended with code {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, prompt: Tokens, new: int) -> Made:
        assert self.process.stdin is not None
        print(json.dumps({"tokens": prompt.tolist(), "new": new}), file=self.process.stdin, flush=True)
        answer = self._answer()
        return Made(np.array(answer["tokens"], np.int64), answer["seconds"])

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _prompt(spec: ModelSpec, prompt: Tokens) -> dict[str, torch.Tensor]:
    assert spec.generation is not None
    tokens = torch.from_numpy(prompt)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    if spec.generation.asset["encoder"] is None:
        return {"tokens": tokens, "tokens_mask": mask}
    return {"source": tokens, "source_mask": mask}
