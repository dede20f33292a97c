"""What the server tells of a generator at its port for metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_export.deploy.triton.repository_maker import TritonOptions, deploy_triton
from support.machines import triton_server as server
from support.models import tiny_generators as tiny

WRITER = tiny.Tiny(layers=1, max_length=12, batch=8, encoder=False, seed=4, stop=())


class Older(server.MetricFamily):
    """Of a server that has no histograms yet."""

    HISTOGRAM = None  # type: ignore[assignment]


class Broken(server.MetricFamily):
    def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> server.Metric:
        raise RuntimeError("metrics are off")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    deploy_triton(tiny.write_bundle(folder / "it.attn", WRITER), folder / "repository", TritonOptions(name="it"))
    return folder / "repository" / "it"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> dict[str, server.Metric]:
    shown: dict[str, server.Metric] = {}
    monkeypatch.setattr(server.MetricFamily, "shown", shown)
    return shown


def ask(model: server.Settled, *prompts: list[int], **options: int) -> None:
    requests = [server.request(tokens=tiny.padded([prompt])[0], max_length=4, **options) for prompt in prompts]
    model.execute(requests)
    for request in requests:
        assert request.sender.responses[-1].error is None


def test_counters_gauges_and_histograms(served: Path, fresh: dict[str, server.Metric]) -> None:
    with server.python_model(served) as model:
        ask(model, [3, 4], [5])
        assert fresh["attn_generator_requests_total"].value == 2 and fresh["attn_generator_tokens_total"].value == 8
        ask(model, [6, 7], beams=2)
        stats = model.model._generator.stats()
    assert {name: fresh[f"attn_generator_{name}_total"].value for name in ("requests", "tokens", "failed_requests")} == {
        "requests": 3, "tokens": 12, "failed_requests": 0,
    }  # fmt: skip
    assert fresh["attn_generator_requests_waiting"].value == 0
    times = fresh["attn_generator_request_seconds"]
    assert len(times.observed) == 3 and sum(times.observed) == pytest.approx(stats.request_latencies.seconds, rel=0.12)
    assert times.labels == {"model": "it", "version": "1", "instance": "it_0_0"}


@pytest.mark.parametrize(("metrics", "shown"), [(None, 0), (Older, 10), (Broken, 0)])
def test_a_server_without_them_answers_as_well(
    served: Path, fresh: dict[str, server.Metric], metrics: type | None, shown: int
) -> None:
    with server.python_model(served, metrics=metrics) as model:
        ask(model, [3, 4])
    assert len(fresh) == shown
