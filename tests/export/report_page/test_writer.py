"""A report is one sealed page, whatever the bundle says; it is written whole, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export import report
from attn_export.cli.app import cli
from attn_runtime.bundle import Bundle
from attn_runtime.cli.options import run_cli
from attn_runtime.errors import BundleError, InputError, OutputError, UsageError
from attn_runtime.trt.engine_files import EngineStaging, bundle_digest
from attn_runtime.trt.engine_key import EngineKey
from attn_runtime.trt.fused_attention import BlockFusion
from attn_runtime.trt.precision_audit import Audit, AuditedLayer
from support.attention import looking
from support.checks.foreign_names import PLAIN, acted_on
from support.command_lines.json_answers import result_of
from support.graphs.foreign_graphs import odd_bundle
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.pages.page_tags import PageTags, check_sealed

SECTIONS = [
    "Proof",
    "What it looks at",
    "Examples",
    "Precisions",
    "Engines",
    "Attention blocks",
    "Sizes and provenance",
]


def written(bundle: Path, page: Path, *inputs: str) -> PageTags:
    told = report(bundle, page, inputs=inputs)
    text = page.read_text(encoding="utf-8")
    assert told.size == page.stat().st_size and not acted_on(text)
    return check_sealed(text)


def headings(path: Path) -> list[str]:
    return [part.partition("</h2>")[0] for part in path.read_text().split("<h2>")[1:]]


def put_engine(bundle: Path, name: str) -> None:
    """An engine of fp32 whose key says `name` wherever it may say anything."""
    opened = Bundle.open(bundle)
    entry = opened.graph().precisions["fp32"]
    (block, *_) = entry.attention or ()
    layers = (AuditedLayer(name, "gemm", "float16", (name,), "", name),)
    key = EngineKey(
        "odd", entry.file.name, bundle_digest(opened, entry), "model", "fp32", entry.type,
        ({"x": ((1, 2), (2, 2), (4, 2))},), "tensorrt", "10.13.3.9", ("8.9",), "linux-x86_64",
        hashlib.sha256(b"plan").hexdigest(), 4, None, None, None, False,
        Audit("fp32", 3, {"float32": 2, "float16": 1}, "", layers, layers),
        (BlockFusion(block, False, "", name, name),), 0.5, "2026-01-31T12:00:00+00:00", "attn-runtime 0.1.0",
    )  # fmt: skip
    with EngineStaging(bundle / "engines" / "model.fp32.tensorrt.engine") as staging:
        staging.publish(b"plan", key)
    measured = {"machine": {"cpu": name, "cores": 2}, "graphs": [
        {"graph": name, "precision": name, "threads": 2, "milliseconds": {name: 1.0},
         "results": [{"backend": name, "batch": batch, "p50_ms": 1.0 * batch} for batch in (1, 2)]}]}  # fmt: skip
    (bundle / "engines" / "measured-0123456789abcdef.json").write_text(json.dumps(measured))


def test_a_bundle_with_something_in_every_field(tmp_path: Path) -> None:
    page = written(make_valid_bundle(tmp_path / "gemm.attn"), tmp_path / "page.html")
    assert headings(tmp_path / "page.html") == SECTIONS
    for told in (
        "apache-2.0",
        "org/gemm",
        "encoder.norm",
        "overflow",
        "gemm:draw",
        "--with-attention",
        "attn-run verify gemm.attn",
    ):
        assert told in page.text, told
    assert page.text.count("encoder.attention") == 1 and "script" not in page.names


def test_names_of_a_hostile_bundle_are_text(tmp_path: Path) -> None:
    """The page of hostile names has the tags of the page of harmless ones."""
    harmless = [f"name {number}" for number in range(len(PLAIN))]
    pages = []
    for folder, names in (("plain", harmless), ("hostile", PLAIN)):
        (tmp_path / folder).mkdir()
        bundle = odd_bundle(tmp_path / folder / "odd.attn", names)
        put_engine(bundle, names[1])
        pages.append(written(bundle, tmp_path / folder / "page.html"))
    plain, hostile = pages
    assert hostile.names == plain.names and "svg" in plain.names
    assert all(name in hostile.text for name in PLAIN if not acted_on(name))
    assert hostile.text.count(PLAIN[1]) > 40, "in every place, the engine's and the measurement's too"


def test_what_the_model_looks_at_is_in_the_page(tmp_path: Path) -> None:
    bundle = looking.watcher(tmp_path / "watcher.attn")
    lamp = str(looking.lamp(tmp_path / "lamp.png"))
    page = written(bundle, tmp_path / "page.html", lamp)
    (view,) = json.loads(page.inside["script"][0])["views"]
    assert view["title"] == "lamp.png: light, 100.0%" and view["picture"].startswith("data:image/png;base64,")
    assert [layer["name"] for layer in view["layers"]] == ["look"]
    assert "light" in page.text and "100.0%" in page.text, "the answer is among the examples"


def test_arrays_are_looked_at_too(tmp_path: Path) -> None:
    bundle = looking.watcher(tmp_path / "watcher.attn")
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 3, looking.ROWS * 2, looking.COLUMNS * 2), np.float32))
    page = written(bundle, tmp_path / "page.html", str(tmp_path / "x.npz"))
    assert json.loads(page.inside["script"][0])["views"][0]["title"].startswith("x.npz")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"path": "no.attn"}, BundleError, "no.attn"),
        ({"output": "page.txt"}, UsageError, "got suffix .txt, expected .html"),
        ({"output": "no/page.html"}, OutputError, "does not exist"),
        ({"output": "folder.html"}, OutputError, "is a folder"),
        ({"inputs": ["no.png"]}, InputError, "there is no such file"),
        ({"inputs": "lamp.png"}, UsageError, "inputs: got"),
    ],
)
def test_an_error_leaves_what_was_there(
    change: dict[str, Any], error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    looking.watcher(tmp_path / "watcher.attn")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "page.html").write_text("old")
    before = {file.name for file in tmp_path.iterdir()}
    with pytest.raises(error, match=says):
        report(**{"path": "watcher.attn", "output": "page.html", **change})
    assert (tmp_path / "page.html").read_text() == "old" and {file.name for file in tmp_path.iterdir()} == before


def test_the_command_tells_the_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, page = looking.watcher(tmp_path / "watcher.attn"), tmp_path / "page.html"

    def run(*options: str) -> str:
        with pytest.raises(SystemExit) as ended:
            run_cli(lambda: cli, "attn-export", ["report", str(bundle), "-o", str(page), *options])
        assert not ended.value.code
        return capsys.readouterr().out

    assert run("--input", str(looking.lamp(tmp_path / "lamp.png"))) == (
        f"{page}: {page.stat().st_size / 1024:.1f} KiB, 1 attention map to look at\n"
    )
    assert run("--quiet") == ""
    assert result_of(run("--json")) == {"file": str(page), "size": page.stat().st_size, "maps": 0, "notes": []}
    assert dataclasses.asdict(report(bundle, page))["maps"] == 0, "without a golden case nothing is looked at"
