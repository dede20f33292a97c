"""-DATTN_GENERATION=OFF: the same interface without generators, texts and transcription, which says what it lacks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attn_runtime import Bundle, open_session
from safetensors.numpy import save_file
from support.graphs.make_graphs import brightness_classifier
from support.graphs.make_hostile_bundles import rehash
from support.models.tiny_generators import Tiny, case_of, drawn_prompts, write_bundle

HEADER = Path(__file__).parents[3] / "runtime" / "cpp" / "include" / "attn" / "runtime.h"

#: A bundle's name -> what opening, verifying and generating answer.
PROGRAM = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.attn_last_error.restype = ctypes.c_char_p
bundle, handle = ctypes.c_void_p(), ctypes.c_void_p()
def said(status):
    print(status, (library.attn_last_error() or b"").decode() if status else "")
said(library.attn_bundle_open(sys.argv[2].encode(), ctypes.byref(bundle)))
said(library.attn_bundle_verify(bundle, None, None, None))
said(library.attn_generator_open(bundle, None, ctypes.byref(handle)))
said(library.attn_bundle_text(bundle, None, 0, None, None))
"""


@pytest.fixture(scope="module")
def small(cpp_build: Path) -> Path:
    return cpp_build / "tests" / "libattn_runtime_small.so"


def answers(small: Path, bundle: Path, environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, str(small), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_proves_and_runs_a_graph_and_refuses_to_write(
    small: Path, cpp_environment: dict[str, str], tmp_path: Path
) -> None:
    opened, verified, *refused = answers(small, brightness_classifier(tmp_path / "a.attn"), cpp_environment)
    assert (opened.strip(), verified.strip()) == ("0", "0")
    assert len(refused) == 2
    for line in refused:
        assert re.match(r"10 this libattn_runtime was built without .*-DATTN_GENERATION=ON", line), line


def test_what_was_written_is_not_called_proven(small: Path, cpp_environment: dict[str, str], tmp_path: Path) -> None:
    tiny = Tiny(encoder=False)
    bundle = write_bundle(tmp_path / "lm.attn", tiny, [case_of(tiny, drawn_prompts(tiny, [4, 2]), 20)])
    add_golden_cases(bundle)
    opened, verified, *_ = answers(small, bundle, cpp_environment)
    assert opened.strip() == "0"
    assert verified.startswith("10 this libattn_runtime was built without generators")


def add_golden_cases(path: Path) -> None:
    """To every graph the least sizes, and what the graph answers here."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name, graph in Bundle.open(path).graphs.items():
        sizes = {dim.name: dim.min for spec in (*graph.inputs, *graph.outputs) for dim in spec.dims if dim.name}
        inputs = {spec.name: np.ones(spec.shape(sizes), spec.dtype) for spec in graph.inputs}
        with open_session(path, "cpu", "ort", graph=name) as session:
            sides = {"inputs": inputs, "outputs": session.run(inputs)}
        golden = {"case": "min", "sizes": sizes, "checked_sizes": sizes, "seed": 0}
        for side, tensors in sides.items():
            golden[side] = f"golden/{name}.{side}.safetensors"
            save_file(dict(tensors), path / golden[side])
            manifest["files"][golden[side]] = {"sha256": "0" * 64, "size": 0}
        manifest["graphs"][name]["golden"].append(golden)
    (path / "manifest.json").write_text(json.dumps(manifest))
    rehash(path)


def test_the_interface_is_the_same(small: Path) -> None:
    declared = re.findall(r"^ATTN_API [^;(]*?(attn_\w+)\(", HEADER.read_text(), re.MULTILINE)
    there = subprocess.run(["nm", "-D", "--defined-only", small], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split()[-1] for line in there.splitlines()) == sorted(declared)
