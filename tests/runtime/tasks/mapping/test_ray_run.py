"""Runs on a real Ray cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from attn_runtime import map_rows
from attn_runtime.errors import BackendError, StageError
from attn_runtime.tasks.mapping.progress import Progress
from support.golden.proven import proven
from support.models.small_classifiers import texts

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="no Ray here; make test-ray installs it"
)

ROWS = 3000
WORDS = {"good": "praise", "bad": "blame", "odd": "wonder"}
#: A node that is gone is noticed within seconds.
_NOTICED = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_timeout_ms": 500,
            "health_check_failure_threshold": 3}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proven(texts(tmp_path_factory.mktemp("ray") / "t.attn"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head and another node, each of one core and a process of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    common = {"num_cpus": 1, "object_store_memory": 100 << 20}
    made = Cluster(
        initialize_head=True, head_node_args={**common, "include_dashboard": False, "_system_config": _NOTICED}
    )
    made.second = made.add_node(**common)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ray") / "a.jsonl"
    lines = [json.dumps({"text": " ".join([list(WORDS)[n % 3]] * (1 + n % 5)), "id": n}) for n in range(ROWS)]
    lines[7] = "no JSON"
    file.write_text("\n".join(lines))
    return file


def check(folder: Path) -> None:
    """Each row once, with its answer."""
    found = sorted(pq.read_table(folder).to_pylist(), key=lambda row: row["row"])
    assert [row["row"] for row in found] == [*range(ROWS)]
    for number, row in enumerate(found):
        assert row["label"] == (list(WORDS.values())[number % 3] if number != 7 else None)
        assert row["id"] == (number if number != 7 else None)


def test_a_node_is_killed_and_each_row_is_there_once(cluster: Any, bundle: Path, rows: Path, tmp_path: Path) -> None:
    told: list[Progress] = []

    def kill(now: Progress) -> None:
        told.append(now)
        if len(told) == 10:
            cluster.remove_node(cluster.second, allow_graceful=False)

    report = map_rows(
        bundle,
        [rows],
        tmp_path / "out",
        ray=cluster.address,
        keep=["id:int64"],
        part_rows=30,
        allow_failed=1,
        on_progress=kill,
    )
    assert (report.rows, report.failed, report.parts, report.choice) == (ROWS, 1, 100, "2 actors on Ray")
    check(tmp_path / "out")
    assert told[-1].left == 0


def test_what_a_run_here_began_a_run_on_ray_ends(cluster: Any, bundle: Path, rows: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(now: Progress) -> None:
        if now.rows >= 900:
            raise Enough

    keep, out = ["id:int64"], tmp_path / "out"
    with pytest.raises(Enough):
        map_rows(bundle, [rows], out, keep=keep, part_rows=100, on_progress=stop)
    report = map_rows(bundle, [rows], out, ray=cluster.address, keep=keep, part_rows=500, allow_failed=1, workers=1)
    assert (report.mapped, report.rows) == (ROWS - 900, ROWS)
    check(out)


def test_a_bundle_that_is_not_proven_on_a_node_answers_no_row(cluster: Any, rows: Path, tmp_path: Path) -> None:
    wrong = proven(texts(tmp_path / "t.attn"), wrong=0.1)
    with pytest.raises(
        StageError, match=r"a machine of the cluster can't run the bundle: .*differ|a machine of the cluster"
    ):
        map_rows(wrong, [rows], tmp_path / "out", ray=cluster.address, workers=1)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_cluster_that_is_not_there(bundle: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="Ray at 127.0.0.1:1: can't be reached"):
        map_rows(bundle, [rows], tmp_path / "out", ray="127.0.0.1:1")
