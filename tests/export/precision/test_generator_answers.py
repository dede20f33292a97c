"""What a quantised generator writes as a whole: how many of PyTorch's tokens, and how likely it finds texts."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from attn_export import QuantiseOptions, convert
from attn_export.cli.app import cli
from attn_export.console import Console
from attn_export.parity.teacher_forcing import agreement, likelihood
from attn_export.precision import generator_answers as answers
from attn_export.precision.calibration.token_rows import write_windows
from attn_runtime import GenerateOptions, open_generator
from attn_runtime.bundle.reader import Bundle
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.child_process import ChildProcess
from attn_runtime.cli.options import run_cli
from attn_runtime.errors import ParityError, UsageError
from attn_runtime.tasks.verification import verify
from onnx import TensorProto
from support.models.small_generators import VOCABULARY, lm
from support.models.tiny_generators import Tiny
from support.models.tiny_texts import WORDS, text_assets

pytestmark = pytest.mark.usefixtures("quickly")

ROWS = np.random.default_rng(1).integers(3, VOCABULARY, (8, 20))
#: Any error is allowed, so that only what is asked here bounds anything.
ANY: dict[str, Any] = {"rtol": 0.9, "skip": ["attention"]}
TEXT = "The cat sat on a mat . A dog ran far ."


@pytest.fixture
def bundle(small_lm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_lm, tmp_path / "lm.attn"))


@pytest.fixture
def rows(tmp_path: Path) -> str:
    np.savez(tmp_path / "rows.npz", tokens=ROWS)
    return str(tmp_path / "rows.npz")


def torch_perplexity(rows: np.ndarray) -> float:
    """Of the source module: exp of torch's cross entropy, each token behind those before it, the first not counted."""
    tokens = torch.from_numpy(rows)
    with torch.no_grad():
        logits, _ = lm().build()(tokens, None, None)
    flat = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    return math.exp(torch.nn.functional.cross_entropy(*flat))


def told(bundle: Path, name: str) -> dict[str, Any]:
    """What the manifest says of the generator: the same of each of its graphs."""
    graphs = Bundle.open(bundle).graphs.values()
    found = [g.precisions[name].quantised for g in graphs]
    assert len(found) == 2 and found[0] is not None and found[1] is not None
    assert found[0]["generation"] == found[1]["generation"]
    generation: dict[str, Any] = found[0]["generation"]
    return generation


def converted(bundle: Path, name: str, **options: Any) -> tuple[dict[str, Any], str]:
    """What the manifest tells, and what was said."""
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as said:
        patch.setattr(sys, "stderr", said)
        made = convert(bundle, name, **ANY, quantise=QuantiseOptions(**options), console=Console())
        generation = told(bundle, name)
        assert all(one.to_json()["quantised"]["generation"] == generation for one in made)
        return generation, said.getvalue()


def test_perplexity_and_agreement_are_told_and_kept(bundle: Path, rows: str, tmp_path: Path) -> None:
    found, said = converted(bundle, "int4-weights", calibrate=rows)
    perplexity, agreed = found["perplexity"], found["agreement"]
    assert perplexity["fp32"] == pytest.approx(torch_perplexity(ROWS), rel=1e-4)
    assert perplexity["tokens"] == ROWS.size - len(ROWS) and perplexity["source"] == "rows.npz"
    assert 1e-3 < abs(perplexity["value"] / perplexity["fp32"] - 1) < 0.5
    change = f"{perplexity['value'] / perplexity['fp32'] - 1:+.2%}"
    line = (
        f"perplexity {perplexity['value']:.4g} (fp32 {perplexity['fp32']:.4g}, {change}), over 152 tokens of rows.npz"
    )
    assert line in said
    # Again, from the files in the bundle; and of a graph of which a weight is spoilt.
    opened = Bundle.open(bundle)
    files = {name: graph.precisions["int4-weights"].file for name, graph in opened.graphs.items()}
    windows = write_windows(tmp_path / "w.safetensors", list(ROWS))
    written = write_windows(tmp_path / "written.safetensors", list(own_texts(bundle)))
    with ChildProcess(60) as isolated:
        again = likelihood(bundle, files, windows, isolated, "the bundle's own")
        assert again.perplexity == pytest.approx(perplexity["value"], rel=1e-5)
        assert agreement(bundle, files, isolated, "the bundle's own").to_json() == agreed
        before = likelihood(bundle, files, written, isolated, "the bundle's own")
        files["step"] = spoilt(files["step"])
        assert likelihood(bundle, files, written, isolated, "spoilt").perplexity > 1.5 * before.perplexity
        assert agreement(bundle, files, isolated, "spoilt").agreeing < 0.8 * agreed["agreeing"]
    assert f"int4-weights writes {agreed['agreeing']} of {agreed['tokens']} tokens of the recorded answers" in said
    assert verify(bundle, precision="int4-weights").passed


def own_texts(bundle: Path) -> np.ndarray:
    """What fp32 itself writes behind two tokens: to random rows a spoilt model may be nearer than a whole one."""
    with open_generator(bundle, "cpu", "ort") as generator:
        found = generator.generate({"tokens": ROWS[:, :2].copy()}, GenerateOptions(18, stop=()))
    return np.concatenate([ROWS[:, :2], found.tokens], 1)


def spoilt(file: Path) -> Path:
    """Every other byte of every four-bit weight is turned over."""
    model = onnx.load(file)
    packed = [t for t in model.graph.initializer if t.data_type == TensorProto.UINT8]
    assert packed
    for tensor in packed:
        data = np.frombuffer(tensor.raw_data, np.uint8).copy()
        data[::2] ^= 0xFF
        tensor.raw_data = data.tobytes()
    onnx.save(model, file.with_name("spoilt.onnx"))
    return file.with_name("spoilt.onnx")


def test_texts_by_the_tokenizer_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    """A scheme that looks at no samples tells the perplexity all the same."""
    opened = Bundle.open(bundle)
    with BundleWriter(bundle, amends=opened) as writer:
        assets = dict(opened.manifest["assets"])
        for name, value in text_assets(Tiny(encoder=False)).items():
            assets[name] = f"assets/{name}.json"
            writer.add_json(assets[name], value)
        writer.commit({**opened.manifest, "assets": assets})
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "texts" / name).write_text(TEXT)
    found, _ = converted(bundle, "int8-dynamic", calibrate=str(tmp_path / "texts"))
    tokens = np.array([WORDS.index(word) for word in TEXT.lower().split()])
    assert found["perplexity"]["fp32"] == pytest.approx(torch_perplexity(tokens[None]), rel=1e-4)
    assert found["perplexity"]["tokens"] == 2 * (len(tokens) - 1) and found["perplexity"]["source"] == "folder texts"


def test_rows_of_tokens_calibrate_both_graphs(bundle: Path, rows: str) -> None:
    converted(bundle, "int8", calibrate=rows)
    graphs = Bundle.open(bundle).graphs
    tables = {name: graph.precisions["int8"].quantised["calibration"] for name, graph in graphs.items()}  # type: ignore[index]
    assert {name: (t["source"], t["samples"]) for name, t in tables.items()} == {
        "first": ("rows.npz", 8), "step": ("rows.npz", 16)
    }  # fmt: skip


def test_more_weights_are_left_until_the_tokens_agree(bundle: Path) -> None:
    free, _ = converted(bundle, "int4-weights")
    everything = [p.quantised for p in (g.precisions["int4-weights"] for g in Bundle.open(bundle).graphs.values())]
    assert all(q is not None and not q["left"] for q in everything)
    assert "perplexity" not in free and free["agreement"]["agreeing"] < free["agreement"]["tokens"]
    least = (free["agreement"]["agreeing"] + 1) / free["agreement"]["tokens"]
    found, said = converted(bundle, "int4-weights", min_agreement=least)
    assert found["agreement"]["agreeing"] / found["agreement"]["tokens"] >= least
    entries = [g.precisions["int4-weights"].quantised for g in Bundle.open(bundle).graphs.values()]
    left = [[row["reason"] for row in entry["left"]] for entry in entries if entry]
    assert len(left[0]) == len(left[1]) and 1 <= len(left[0]) <= 4, "the same weights in both graphs"
    assert all(reason.startswith("for --min-agreement (error alone ") for one in left for reason in one)
    assert f"; {len(left[0])} more weights are left for that" in said
    assert "left in fp32: " in said and "(for --min-agreement (error alone" in said


def test_what_can_not_agree_is_exit_code_4_and_changes_nothing(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recorded tokens of a row are others here, which no form of the model writes."""
    from safetensors.numpy import load_file, save_file

    manifest = json.loads((bundle / "manifest.json").read_text())
    case = next(c for c in manifest["generation"] if c["beams"] == 1)
    stored = load_file(bundle / case["outputs"])
    stored["tokens"][0, : stored["lengths"][0]] = (stored["tokens"][0, : stored["lengths"][0]] + 5) % 20 + 3
    save_file({n: np.ascontiguousarray(v) for n, v in stored.items()}, bundle / case["outputs"])
    from attn_runtime.bundle.known_hashes import sha256_of

    manifest["files"][case["outputs"]]["sha256"] = sha256_of(bundle / case["outputs"])
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    before = {str(p): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
    with pytest.raises(SystemExit) as ended:
        run_cli(
            lambda: cli, "attn-export",
            ["convert", str(bundle), "--precision", "int8-dynamic", "--min-agreement", "1", "--max-error", "0.9", "-q"],
        )  # fmt: skip
    out, err = capsys.readouterr()
    assert ended.value.code == 4 and not out and err.count("\n") == 1
    assert err.startswith("error: --min-agreement 100.0%: int8-dynamic writes ") and "of 8 more weights left" in err
    assert {str(p): p.read_bytes() for p in bundle.rglob("*") if p.is_file()} == before


def test_without_recorded_answers_golden_cases_are_counted(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["generation"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    made = convert(bundle, "int4-weights", **ANY, quantise=QuantiseOptions(min_agreement=0.95))
    assert all("generation" not in (one.quantised or {}) for one in made)
    for one in made:
        (chosen,) = [point for point in one.front if point["chosen"]]
        assert chosen["left"] >= 1, "some are left for it"


def test_a_translator_has_agreement_and_says_why_no_perplexity(small_translator: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(small_translator, tmp_path / "t.attn"))
    for name, graph in Bundle.open(bundle).graphs.items():
        (tmp_path / "samples" / name).mkdir(parents=True)
        np.savez(tmp_path / "samples" / name / "a.npz", **next(iter(graph.cases(None))).inputs)
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as said:
        patch.setattr(sys, "stderr", said)
        quantise = QuantiseOptions(calibrate=str(tmp_path / "samples"), min_agreement=0.1)
        convert(bundle, "int8", **ANY, quantise=quantise, console=Console())
        text = said.getvalue()
    assert "no perplexity is told on the samples of --calibrate: it needs sources with their answers" in text
    assert "agreement  int8 writes " in text
    assert all(
        g.precisions["int8"].quantised["generation"].keys() == {"agreement"}  # type: ignore[index]
        for g in Bundle.open(bundle).graphs.values()
    )


@pytest.mark.parametrize(
    ("name", "calibrate", "says"),
    [
        ("int4-weights", "texts", "it holds texts, and bundle lm.attn has no tokenizer for them"),
        ("int8-dynamic", "folders", "--calibrate: int8-dynamic needs no ranges of activations"),
        ("int8", "short.npz", "--calibrate short.npz: no row in it has 2 tokens or more"),
    ],
)
def test_what_is_refused_in_one_line(name: str, calibrate: str, says: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(TEXT)
    (tmp_path / "folders" / "step").mkdir(parents=True)
    (tmp_path / "folders" / "a.txt").write_text(TEXT)
    np.savez(tmp_path / "short.npz", tokens=ROWS[:, :1])
    before = {str(p): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=says) as caught:
        convert(bundle, name, quantise=QuantiseOptions(calibrate=str(tmp_path / calibrate)))
    assert "\n" not in str(caught.value) and not isinstance(caught.value, ParityError)
    assert {str(p): p.read_bytes() for p in bundle.rglob("*") if p.is_file()} == before


def test_its_error_is_one_of_parity() -> None:
    assert issubclass(answers.TooFewTokensError, ParityError)
