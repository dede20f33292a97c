"""Whether threads wait busily behind a call, by the processor time that passes while the process does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attn_runtime.backends import native
from tiny_generators import Tiny, write_bundle

_CHILD = """
import json, sys, time
import numpy as np
from attn_runtime.generate import GenerateOptions, open_generator
from attn_runtime.session import open_session

path, backend = sys.argv[1:]

def busy(call):
    spent = []
    for _ in range(5):
        call()
        began = time.process_time()
        time.sleep(0.1)
        spent.append(time.process_time() - began)
    return sorted(spent)[2]

how = {"device": "cpu", "backend": backend, "threads": 2}
waiting = open_session(path, graph="encoder", **how)
sleeping = open_session(path, graph="encoder", **how, stop_spinning=True)
generator = open_generator(path, **how)
inputs = {"source": np.ones((8, 32), np.int64), "source_mask": np.ones((8, 32), bool)}
print(json.dumps([
    busy(lambda: waiting.run(inputs)),
    busy(lambda: sleeping.run(inputs)),
    busy(lambda: generator.generate(inputs, GenerateOptions(max_length=3, stop=()))),
]))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator whose products are worth a second thread."""
    return write_bundle(
        tmp_path_factory.mktemp("wide") / "wide.attn", Tiny(heads=8, key_heads=8, head_size=64, layers=1)
    )


@pytest.mark.parametrize("backend", ["ort", "native"])
def test_a_generators_threads_sleep_behind_a_call(backend: str, wide: Path) -> None:
    if backend == "native" and (reason := native.why_unavailable()):
        pytest.skip(reason)
    done = subprocess.run([sys.executable, "-c", _CHILD, wide, backend], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    waiting, sleeping, generating = json.loads(done.stdout)
    assert waiting > 0.01, (
        "a session waits busily, unless it is told to stop: without that, there is nothing to see here"
    )
    assert sleeping < 0.005 and generating < 0.005, "seconds of processor time in 0.1 s of nothing"
