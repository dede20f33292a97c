"""Two processes train what one process trains on the same global batch, run by the real torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attn_models import global_norm, loop
from attn_runtime.errors import BackendError
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("distributed_worker.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]

# Two processes add up the same numbers in another order. In float64 one such sum is off by some 1e-16, relative; AdamW
# divides a gradient by its own size, so an error in a small gradient becomes one in a step of the learning rate
# (2e-3), and four steps pass it on. Measured: 2.4e-13 in the worst of 1.3 million weights. The bound leaves room for
# other processors; batch norms that only see their own share differ by 0.1, nine orders of magnitude above it.
BOUND = 1e-10


def run(*command):
    free_port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    if command[: len(TORCHRUN)] == tuple(TORCHRUN):
        command = (*TORCHRUN, *free_port, *command[len(TORCHRUN) :])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def largest_difference(one: Path, other: Path) -> float:
    a, b = load_file(one / loop.WEIGHTS), load_file(other / loop.WEIGHTS)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    out = tmp_path_factory.mktemp("single")
    run(sys.executable, str(WORKER), str(out))
    return out


def test_two_processes_reach_the_weights_of_one(single, tmp_path):
    printed = run(*TORCHRUN, str(WORKER), str(tmp_path))
    assert "2 process(es) on cpu" in printed
    assert printed.count("epoch 1/1") == 1, "one process prints"
    one, two = (json.loads((out / loop.METRICS).read_text()) for out in (single, tmp_path))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["accuracy"] == two["accuracy"] > 0
    assert two["last_loss"] == pytest.approx(one["last_loss"], rel=1e-10)
    difference = largest_difference(single, tmp_path)
    print(f"largest difference of a weight: {difference:.1e}")
    assert difference <= BOUND


def test_plain_batch_norm_would_be_noticed(single, tmp_path):
    run(*TORCHRUN, str(WORKER), str(tmp_path), "plain")
    difference = largest_difference(single, tmp_path)
    print(f"largest difference of a weight with plain batch norm: {difference:.1e}")
    assert difference > 1e-3


def test_the_command_line_trains_under_torchrun(tmp_path):
    command = ["-m", "attn_models.train", "attentionnet", "--limit", "32", "--batch-size", "16", "--epochs", "1"]
    printed = run(*TORCHRUN, *command, "--out", str(tmp_path))
    assert printed.count("test accuracy") == 1
    assert sorted(f.name for f in tmp_path.iterdir()) == [loop.LOG, loop.METRICS, loop.WEIGHTS]


def test_conversion_keeps_parameters_and_buffers():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(4, eps=0.5)))
    before = {name: id(t) for name, t in (*net.named_parameters(), *net.named_buffers())}
    global_norm.convert(net)
    assert isinstance(net[1][0], global_norm.GlobalBatchNorm2d) and net[1][0].eps == 0.5
    assert {name: id(t) for name, t in (*net.named_parameters(), *net.named_buffers())} == before


def test_more_processes_than_gpus_is_told(monkeypatch):
    from attn_models.world import open_world

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(BackendError, match="need as many GPUs, found 1"), open_world("auto"):
        pass
