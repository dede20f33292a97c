"""What ONNX Runtime answers from file to file, as a task of a child process, and the options of its sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.ort.file_answers import answers_here
from attn_runtime.ort.session_options import cpu_options, make_session
from onnxruntime import SessionOptions
from safetensors.numpy import load_file, save_file
from support.graphs.half_graphs import half_norm, half_norm_answer
from support.graphs.make_graphs import add, embed

TASK = "attn_runtime.ort.file_answers:answers_here"


@pytest.mark.parametrize("large", [False, True])
def test_every_case_is_answered_and_what_the_graph_does_not_take_is_left_out(tmp_path: Path, large: bool) -> None:
    graph = add(tmp_path / "add.onnx")
    cases = []
    for number in (1, 3):
        a = np.full((number, 2), number, np.float32)
        save_file({"a": a, "b": a, "other": a}, tmp_path / f"{number}.in")
        cases.append([str(tmp_path / f"{number}.in"), str(tmp_path / f"{number}.out")])
    with ChildProcess(60) as child:
        assert child.run(TASK, "x", graph=str(graph), cases=cases, large=large) == {}
    for number in (1, 3):
        answers = load_file(tmp_path / f"{number}.out")
        np.testing.assert_array_equal(answers["z"], np.full((number, 2), 2 * number, np.float32))


def test_threads_wait_for_no_core_that_somebody_else_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[SessionOptions] = []

    def noted(model: Path, options: SessionOptions, *, fp16: bool) -> Any:
        given.append(options)
        return make_session(model, options, fp16=fp16)

    monkeypatch.setattr("attn_runtime.ort.file_answers.make_session", noted)
    answers_here(str(add(tmp_path / "add.onnx")), [], False)
    assert given[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_graph_or_a_case_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x0a")
    save_file({"tokens": np.array([[31]])}, tmp_path / "in")
    case = [str(tmp_path / "in"), str(tmp_path / "out")]
    with ChildProcess(60) as child:
        with pytest.raises(TaskFailed, match=r"stage-x: .*bad\.onnx"):
            child.run(TASK, "stage-x", graph=str(tmp_path / "bad.onnx"), cases=[], large=False)
        with pytest.raises(TaskFailed, match=r"stage-y: RuntimeError: at tokens \[1, 1\]: .*out of data bounds"):
            child.run(TASK, "stage-y", graph=str(embed(tmp_path / "e.onnx")), cases=[case], large=False)
    assert not (tmp_path / "out").exists()


def test_float16_graphs_are_answered_without_what_is_wrong_on_them(tmp_path: Path) -> None:
    half_norm(tmp_path / "half.onnx")
    x16 = np.full((1, 8), 0.06, np.float16)
    save_file({"x": x16}, tmp_path / "in")
    answers_here(str(tmp_path / "half.onnx"), [[str(tmp_path / "in"), str(tmp_path / "out")]], False, fp16=True)
    np.testing.assert_allclose(load_file(tmp_path / "out")["b.z"], half_norm_answer(x16)["b.z"], rtol=0.02)


def test_options_are_what_their_names_say(tmp_path: Path) -> None:
    plain, other = cpu_options(), cpu_options(threads=3, large=True, optimizations=False, stop_spinning=True)
    assert (plain.intra_op_num_threads, other.intra_op_num_threads) == (0, 3)
    assert plain.graph_optimization_level.name == "ORT_ENABLE_ALL"
    assert other.graph_optimization_level.name == "ORT_DISABLE_ALL"
    for entry in ("session.disable_prepacking", "session.force_spinning_stop"):
        assert other.get_session_config_entry(entry) == "1"
        with pytest.raises(RuntimeError):
            plain.get_session_config_entry(entry)
    session = make_session(add(tmp_path / "add.onnx"), plain)
    assert session.get_providers() == ["CPUExecutionProvider"]
