"""Training on a GPU: bf16 by default, and weights that are as good as those of the CPU."""

from pathlib import Path
from typing import Any

from attn_models.training import loop
from safetensors.torch import load_file
from support.models import training_worker


def test_a_training_on_the_gpu_is_in_bf16_and_close_to_that_of_the_cpu(torch_with_cuda: Any, tmp_path: Path) -> None:
    spec = training_worker.tokens()
    spec = training_worker.replace(spec, build=lambda: training_worker.NextToken().float())
    found = {}
    for device, precision in (("cpu", "auto"), ("cuda", "fp32"), ("cuda", "auto")):
        out = tmp_path / f"{device}-{precision}"
        metrics = loop.train(spec, loop.TrainOptions(out=out, device=device, precision=precision, quiet=True))
        found[out.name] = (metrics, load_file(out / loop.WEIGHTS))
    assert [metrics.precision for metrics, _ in found.values()] == ["fp32", "fp32", "bf16"]
    (cpu, weights), (_, in_fp32), (gpu, in_bf16) = found.values()
    assert all(tensor.dtype == weights[name].dtype for name, tensor in in_bf16.items()), "weights stay in float32"
    assert max(float((in_fp32[name] - weights[name]).abs().max()) for name in weights) < 1e-3
    assert abs(gpu.last_loss - cpu.last_loss) < 0.02 * cpu.last_loss
