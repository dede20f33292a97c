"""A bundle that is exported again and again under sessions and generators: each of them answers as one export does, or refuses
in one line."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from attn_export.deploy import deploy_bundle
from attn_export.deploy.jetson import JetsonOptions, deploy_jetson, folder_maker
from attn_export.deploy.triton import TritonOptions, deploy_triton
from attn_runtime import backends
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError
from attn_runtime.generate.generator import open_generator
from attn_runtime.session import open_session
from attn_runtime.tasks.verification import verify
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.graphs.next_export import FACTOR, WAYS, exchanged, next_export
from support.models import tiny_generators as tiny

REPLACED = r"^bundle \S+: was replaced since it was opened; open it again$"
REPLACEMENTS = 30
X = {"x": np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)}
BEFORE = tiny.Tiny(encoder=True, layers=1, seed=1, batch=2)
#: Other weights and another vocabulary: no graph of the one runs on what a graph of the other answers without being told.
AFTER = tiny.Tiny(encoder=True, layers=1, seed=2, batch=2)


@pytest.fixture(params=["ort", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    if reason := backends.get(request.param).why_unavailable():
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A bundle, and the export that follows it."""
    bundle = make_valid_bundle(tmp_path / "gemm.attn")
    return bundle, next_export(bundle, tmp_path / "next.attn")


@contextmanager
def replacing(bundle: Path, by: Path) -> Iterator[threading.Thread]:
    """A writer that puts the one and the other in the place of `bundle`, in turn, so often."""
    both = [by, shutil.copytree(bundle, by.with_name("before.attn"))]

    def write() -> None:
        for count in range(REPLACEMENTS):
            exchanged(bundle, both[count % 2])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield writer
    finally:
        writer.join()


def seen_while(writer: threading.Thread, look: Callable[[], str]) -> Counter[str]:
    """What `look` finds, over and over until the writer is done, and once more."""
    found: Counter[str] = Counter()
    while True:
        last = not writer.is_alive()
        try:
            found[look()] += 1
        except BundleError as error:
            assert "was replaced since it was opened; open it again" in str(error) or "over and over" in str(error)
            found["refused"] += 1
        if last:
            return found


def test_sessions(pair: tuple[Path, Path], backend: str) -> None:
    bundle, by = pair
    with open_session(bundle, "cpu", backend) as session:
        y = session.run(X)["y"]

    def look() -> str:
        opened = Bundle.open(bundle)
        with open_session(bundle, "cpu", backend) as session, open_session(opened, "cpu", backend) as held:
            answers = {"before": y, "next": y * np.float32(FACTOR)}
            for one, asset in ((session, session.asset), (held, opened.asset)):
                expected = answers["next" if asset("labels")[0].startswith("next") else "before"]
                np.testing.assert_allclose(one.run(X)["y"], expected, rtol=1e-5)
            return "next" if session.asset("labels")[0].startswith("next") else "before"

    with replacing(bundle, by) as writer:
        found = seen_while(writer, look)
    assert found["before"] or found["next"], found


def test_generators(tmp_path: Path, backend: str) -> None:
    """Encoder, first and step of one export; their weights are drawn from two seeds, and so is what they write."""
    bundle, by = tmp_path / "writer.attn", tmp_path / "next.attn"
    tiny.write_bundle(bundle, BEFORE)
    tiny.write_bundle(by, AFTER)
    given = tiny.inputs_of(BEFORE, tiny.drawn_prompts(BEFORE, [5, 3]))
    answers = {}
    for name, path in (("before", bundle), ("next", by)):
        with open_generator(path, "cpu", backend) as generator:
            answers[name] = generator.generate(given).tokens.tolist()
    assert answers["before"] != answers["next"]

    def look() -> str:
        with open_generator(bundle, "cpu", backend) as generator:
            written = generator.generate(given).tokens.tolist()
        return next(name for name, tokens in answers.items() if tokens == written)

    with replacing(bundle, by) as writer:
        found = seen_while(writer, look)
    assert found["before"] or found["next"], found


@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_that_is_open_is_not_opened_as_another(
    pair: tuple[Path, Path], backend: str, way: Callable[..., None]
) -> None:
    bundle, by = pair
    opened = Bundle.open(bundle)
    with open_session(opened, "cpu", backend) as session:
        y, call = session.run(X)["y"], session.bind({"batch": 2})
        way(bundle, by)
        assert session.asset("labels")[0] == "class 0"
        assert np.array_equal(session.run(X)["y"], y)
        call.inputs["x"][...] = X["x"]
        assert np.array_equal(call()["y"], y)
    with pytest.raises(BundleError, match=REPLACED):
        open_session(opened, "cpu", backend, precision="fp32")


def test_the_library_s_own_reading_is_of_the_export_that_is_open(pair: tuple[Path, Path]) -> None:
    """C++ reads the bundle for itself when the first session needs it; here all but the labels is the same until then."""
    if reason := backends.get("native").why_unavailable():
        pytest.skip(reason)
    bundle, by = pair
    opened = Bundle.open(bundle)
    manifest = json.loads((by / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = opened.manifest["files"]["model.onnx"]
    (by / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(bundle / "model.onnx", by)
    exchanged(bundle, by)
    with pytest.raises(BundleError, match=REPLACED):
        open_session(opened, "cpu", "native", precision="fp32")


def test_graphs_of_a_generator_that_is_replaced_between_two_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, by = tmp_path / "writer.attn", tmp_path / "next.attn"
    tiny.write_bundle(bundle, BEFORE)
    tiny.write_bundle(by, AFTER)
    opened, create = Bundle.open(bundle), backends.ort.create
    made: list[object] = []

    def create_and_replace(*arguments: object, **options: object) -> object:
        made.append(create(*arguments, **options))  # type: ignore[arg-type]
        if len(made) == 2:
            exchanged(bundle, by)
        return made[-1]

    monkeypatch.setattr(backends.ort, "create", create_and_replace)
    with pytest.raises(BundleError, match=REPLACED):
        open_generator(opened, "cpu", "ort")
    assert len(made) == 2


def test_verify_replays_one_export(pair: tuple[Path, Path]) -> None:
    """The next export's golden cases do not hold for the graph that is open, and would be told as another answer."""
    bundle, by = pair
    for file in (by / "golden").glob("*.outputs.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match=REPLACED):
        verify(bundle, "ort", "cpu", precision="fp32", on_case=lambda _: exchanged(bundle, by))


def test_what_is_deployed_is_of_one_export(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, by = pair
    opened = Bundle.open(bundle)
    exchanged(bundle, by)
    with pytest.raises(BundleError, match=REPLACED):
        deploy_triton(opened, tmp_path / "repository", TritonOptions(precision="fp32"))
    monkeypatch.setattr(folder_maker.Bundle, "open", lambda path: opened)
    with pytest.raises(BundleError, match=REPLACED):
        deploy_jetson(bundle, tmp_path / "board", JetsonOptions("orin-nx", cpp="no"))
    with pytest.raises(BundleError, match=REPLACED):
        deploy_bundle(bundle, tmp_path / "one.attn", only="fp32")
    assert not any((tmp_path / name).exists() for name in ("repository", "board", "one.attn"))
