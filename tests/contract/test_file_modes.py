"""Whatever is written, files have the mode 0666 less the umask and folders 0777 less it: another account can read a bundle
where the umask lets it, however the libraries beneath write."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export import convert
from attn_export.deploy import deploy_bundle
from attn_export.deploy.jetson import JetsonOptions, deploy_jetson
from attn_export.deploy.triton import TritonOptions, deploy_triton
from attn_runtime.bundle.writer import OnnxWriter
from attn_runtime.tasks.benchmark import bench
from attn_runtime.tasks.file_run import run_file
from attn_runtime.tasks.plots.bench import plot_bench
from support.graphs.make_hostile_bundles import gemm_model, make_valid_bundle

NOBODY = 65534


@pytest.fixture(scope="module", params=[0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture(scope="module")
def made(umask: int) -> Iterator[Path]:
    """A folder where anybody may go, which pytest's own are not, with everything that `fill` writes."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        fill(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def fill(folder: Path) -> None:
    """A bundle with a precision more, a plain file with its data, what is deployed of the bundle, and reports."""
    bundle = make_valid_bundle(folder / "gemm.attn")
    (bundle / "golden/min.inputs.safetensors").chmod(0o600)  # as an exporter wrote it that is older than this test
    convert(bundle, "bf16")
    with OnnxWriter(folder / "plain.onnx") as writer:
        told = {"save_as_external_data": True, "location": "plain.onnx.data", "size_threshold": 0}
        onnx.save(gemm_model(), writer.path(), **told)
        writer.commit()
    deploy_bundle(bundle, folder / "one.attn", only="ext")
    deploy_jetson(bundle, folder / "board", JetsonOptions("orin-nx", cpp="no"))
    deploy_triton(bundle, folder / "repository", TritonOptions(precision="ext"))
    np.savez(folder / "x.npz", x=np.ones((1, 16), np.float32))
    run_file(bundle, folder / "x.npz", output=folder / "y.npz", precision="fp32")
    plot_bench(bench(bundle, batches=[1], warmup_s=0, measure_s=0, min_runs=1), folder / "bench.png")


def test_every_file_and_folder(made: Path, umask: int) -> None:
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in made.rglob("*")}
    names = {path.name for path in found}
    assert names >= {
        "model.bf16.onnx",
        "plain.onnx.data",
        "README.txt",
        "config.pbtxt",
        "y.npz",
        "bench.png",
        "labels.txt",
    }
    expected = {path: (0o777 if path.is_dir() or path.name == "setup.sh" else 0o666) & ~umask for path in found}
    assert {path: oct(mode) for path, mode in found.items() if mode != expected[path]} == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_another_user_opens_the_bundle(made: Path, umask: int) -> None:
    # Once as root, who can read Python's own modules wherever they lie: some are imported when they are used.
    code = (
        "import os, sys; from attn_runtime.tasks.verification import verify; verify(sys.argv[1], 'ort', 'cpu'); "
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); verify(sys.argv[1], 'ort', 'cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(made / "gemm.attn")], capture_output=True, text=True)
    assert (done.returncode == 0) == (umask == 0o022), done.stderr
    assert done.returncode == 0 or "can't read manifest.json: Permission denied" in done.stderr
