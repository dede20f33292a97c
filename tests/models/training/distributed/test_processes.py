"""Two processes train what one process trains on the same global batch, run by the real torchrun."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attn_models.training import checkpoint, loop
from attn_models.training.distributed import sync_batch_norm
from attn_runtime.errors import BackendError
from safetensors.torch import load_file
from support.models import training_worker

WORKER = Path(training_worker.__file__)

# Two processes add up the same numbers in another order. In float64 one such sum is off by some 1e-16, relative; AdamW
# divides a gradient by its own size, so an error in a small gradient becomes one in a step of the learning rate
# (2e-3), and four steps pass it on. Measured: 1.1e-14 in the worst weight. The bound leaves room for other
# processors; batch norms that only see their own share differ by 0.02, eight orders of magnitude above it.
BOUND = 1e-10

# What two processes train (folder: options); a folder that ends in "one" is trained by one, to compare with.
ONE = {
    "images-one": {"model": "images"},
    "tokens-one": {"model": "tokens"},
    "clipped-one": {"model": "tokens_clipped"},
}
TWO = {
    "images": {"model": "images"},
    "images-plain": {"model": "images", "plain": True},
    "tokens": {"model": "tokens"},
    "tokens-accumulated": {"model": "tokens", "accumulate": 3},
    "tokens-fsdp": {"model": "tokens", "fsdp": True},
    "images-fsdp": {"model": "images", "fsdp": True},
    "clipped-fsdp": {"model": "tokens_clipped", "fsdp": True, "accumulate": 2},
    # Goes on with shards of what one process left after its first epoch.
    "tokens-resumed": {"model": "tokens", "fsdp": True, "resume": True},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of all trainings, what the two processes printed). One start of torchrun: it costs more than the trainings."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        real = checkpoint.save_state

        def save_and_keep(path, tensors, run):
            real(path, tensors, run)
            if path.parent.name == "tokens-one" and len(run["rows"]) == 1:
                (folder / "tokens-resumed").mkdir()
                shutil.copy(path, folder / "tokens-resumed")

        patch.setattr(checkpoint, "save_state", save_and_keep)
        for name, job in ONE.items():
            training_worker.run({"out": str(folder / name), "quiet": True, **job})
    work = [{"out": str(folder / name), **job} for name, job in TWO.items()]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command = [sys.executable, *torchrun, *rendezvous, str(WORKER), json.dumps(work)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def largest_difference(one: Path, other: Path) -> float:
    a, b = load_file(one / loop.WEIGHTS), load_file(other / loop.WEIGHTS)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def metrics(folder: Path):
    return json.loads((folder / loop.METRICS).read_text())


@pytest.mark.parametrize(
    ("two", "one"),
    [
        ("images", "images-one"),
        ("tokens", "tokens-one"),
        ("tokens-accumulated", "tokens-one"),
        ("tokens-fsdp", "tokens-one"),
        ("images-fsdp", "images-one"),
        ("clipped-fsdp", "clipped-one"),
        ("tokens-resumed", "tokens-one"),
    ],
)
def test_two_processes_reach_the_weights_of_one(trained, two, one):
    folder, _ = trained
    difference = largest_difference(folder / one, folder / two)
    print(f"{two}: largest difference of a weight: {difference:.1e}")
    assert difference <= BOUND
    a, b = metrics(folder / one), metrics(folder / two)
    assert (a["processes"], b["processes"]) == (1, 2)
    assert b["fsdp"] == TWO[two].get("fsdp", False)
    assert a["accuracy"] == pytest.approx(b["accuracy"], rel=1e-12) and a["accuracy"] > 0
    for key in ("first_loss", "last_loss", "validation_loss", "test_loss"):
        assert b[key] == pytest.approx(a[key], rel=1e-10), key
    assert b["gates"] == pytest.approx(a["gates"], rel=1e-10)


def test_plain_batch_norm_would_be_noticed(trained):
    folder, _ = trained
    difference = largest_difference(folder / "images-one", folder / "images-plain")
    print(f"largest difference of a weight with plain batch norm: {difference:.1e}")
    assert difference > 1e-3


def test_clipping_is_not_the_same_as_no_clipping(trained):
    folder, _ = trained
    assert largest_difference(folder / "tokens-one", folder / "clipped-one") > 1e-6


def test_one_process_prints_and_writes(trained):
    folder, printed = trained
    assert printed.count("2 process(es) on cpu") == len(TWO)
    assert printed.count("resumed after epoch 1") == 1 and printed.count("epoch 1/") == len(TWO) - 1
    for name in TWO:
        assert sorted(f.name for f in (folder / name).iterdir()) == [loop.HISTORY, loop.METRICS, loop.WEIGHTS]


def test_conversion_keeps_parameters_and_buffers():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(4, eps=0.5)))
    before = {name: id(t) for name, t in (*net.named_parameters(), *net.named_buffers())}
    sync_batch_norm.convert(net)
    assert isinstance(net[1][0], sync_batch_norm.GlobalBatchNorm2d) and net[1][0].eps == 0.5
    assert {name: id(t) for name, t in (*net.named_parameters(), *net.named_buffers())} == before


def test_more_processes_than_gpus_is_told(monkeypatch):
    from attn_models.training.distributed.processes import joined_processes

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(BackendError, match="need as many GPUs, found 1"), joined_processes("auto"):
        pass
