"""Where the model comes from, under which licence, what goes in and out, and every file of the bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attn_runtime.bundle import Bundle
from attn_runtime.page import Content, Html, details_list, joined, table, tag
from attn_runtime.spec import TensorSpec
from attn_runtime.text_format import bytes_text

Json = Mapping[str, Any]


def told(bundle: Bundle) -> Html:
    manifest = bundle.manifest
    whole = sum(entry["size"] for entry in manifest["files"].values())
    return joined(
        [
            details_list(_source(manifest)),
            tag("h3", "What goes in and out"),
            _tensors(manifest),
            _cures(manifest),
            tag("h3", f"Files, {bytes_text(whole)} in all"),
            _files(manifest),
        ]
    )


def _source(manifest: Json) -> Iterator[tuple[str, Content]]:
    source = manifest["source"]
    yield "exported from", f"{source['kind']} {source['ref']}"
    if checkpoint := source["checkpoint"]:
        yield "weights", f"{checkpoint['file']}, sha256 {checkpoint['sha256']}"
    if source["config"]:
        yield "arguments", json.dumps(source["config"])
    if found := source.get("huggingface"):
        commit = f", commit {found['commit']}" if found["commit"] else ""
        yield "Hugging Face", f"{found['repository'] or 'a folder'}{commit}, {found['architecture']}"
    yield "licence of the weights", source.get("licence") or "not recorded: ask whoever trained them"
    if "inputs_from" in source:
        yield "inputs drawn by", source["inputs_from"]
    yield "made with", ", ".join(f"{name} {value}" for name, value in manifest["versions"].items())


def _tensors(manifest: Json) -> Html:
    rows = []
    for name, graph in manifest["graphs"].items():
        for side in ("inputs", "outputs"):
            for data in graph[side]:
                spec = TensorSpec.from_json(data)
                about = ", ".join(filter(None, (spec.meaning, spec.unit)))
                rows.append((name, side[:-1], str(spec), about))
    return table(("graph", "", "tensor", "meaning"), rows)


def _cures(manifest: Json) -> Html:
    rows = [(name, cure["name"], cure["did"]) for name, graph in manifest["graphs"].items() for cure in graph["cures"]]
    return joined(
        [tag("h3", "What helped the export") if rows else None, table(("graph", "patch", "what it did"), rows)]
    )


def _files(manifest: Json) -> Html:
    rows = [
        (file, bytes_text(entry["size"]), tag("code", entry["sha256"])) for file, entry in manifest["files"].items()
    ]
    return table(("file", "size", "sha256"), rows, numbers=(1,))
