from pathlib import Path

import pytest
import torch
from attn_export.source.resolve import load_source
from attn_runtime.errors import CheckpointError, UsageError

X = ["x:float32[batch,T,16]"]
DIMS = ["batch=1:2:4", "T=1:8:16"]


def test_a_callable_of_the_users_own_folder(project: Path) -> None:
    source = load_source("nets:attention", inputs=X, dims=DIMS, config=["width=16", "gamma=0.5"])
    assert source.name == "attention"
    assert not source.module.training
    assert source.module.gamma.item() == 0.5
    assert source.provenance == {
        "kind": "module",
        "ref": "nets:attention",
        "checkpoint": None,
        "config": {"width": 16, "gamma": 0.5},
    }


def test_a_silent_gate_is_told(project: Path) -> None:
    source = load_source("nets:attention", inputs=X, dims=DIMS, config=["gamma=0.0"])
    assert any("gamma is 0" in note for note in source.notes)


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("attentionnt", "did you mean attentionnet?"),
        ("nets:atention", "did you mean attention?"),
        ("nots:attention", "there is no module nots"),
        ("nets:not_a_module", "returned a int; expected an nn.Module"),
        ("nets:fails", "ValueError: no such size: 3"),
        ("nets:NETS", "has no NETS"),
        ("nets:dataclasses", "expected a callable"),
        ("nets:attention", "the inputs are not known"),
    ],
)
def test_a_source_that_is_none(project: Path, ref: str, says: str) -> None:
    with pytest.raises(UsageError) as told:
        load_source(ref)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_a_module_whose_import_fails_is_the_users_to_mend(project: Path) -> None:
    (project / "broken.py").write_text("import torch\n1/0\n")
    (project / "needs.py").write_text("import a_package_that_is_absent\n")
    with pytest.raises(UsageError, match="importing broken failed: ZeroDivisionError"):
        load_source("broken:x")
    with pytest.raises(UsageError, match="needs a_package_that_is_absent, which is not installed"):
        load_source("needs:x")


def test_a_script_that_ends_the_process_is_the_users_to_mend(project: Path) -> None:
    (project / "script.py").write_text("import argparse\nargparse.ArgumentParser().parse_args(['--nope'])\n")
    (project / "quits.py").write_text("import sys\ndef build():\n    sys.exit(0)\n")
    with pytest.raises(UsageError, match=r"ended with sys.exit\(2\); guard"):
        load_source("script:x")
    with pytest.raises(UsageError, match="SystemExit: 0"):
        load_source("quits:build")


def test_a_builtin_carries_its_own_spec_and_wakes() -> None:
    source = load_source("attentionnet")
    assert [s.name for s in source.graph.inputs] == ["image"]
    assert source.module.attention.gamma.item() != 0
    assert "random weights" in source.notes[0]
    narrow = load_source("attentionnet", dims=["batch=1:2:4"])
    assert narrow.graph.inputs[0].dims[0].max == 4
    with pytest.raises(UsageError, match="has the inputs image"):
        load_source("attentionnet", inputs=["x:float32[1,3,32,32]"])


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    one, two, other = (load_source("attentionnet", seed=s).module.state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_nan_weights_are_refused(project: Path) -> None:
    source = load_source("nets:attention", inputs=X, dims=DIMS)
    with torch.no_grad():
        source.module.q.weight[0, 0] = torch.nan
    torch.save(source.module.state_dict(), "nan.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint nan\.pt has NaN in 1 tensor: q\.weight \(1 of 256\)"):
        load_source("nets:attention", inputs=X, dims=DIMS, checkpoint=Path("nan.pt"))


def test_which_weights_were_loaded_is_told_and_stored(project: Path) -> None:
    state = load_source("nets:attention", inputs=X, dims=DIMS).module.state_dict()
    average = {name: tensor * 0.5 for name, tensor in state.items()}
    torch.save({"params": state, "params_ema": average}, "w.pt")
    for key, expected in ((None, state), ("params_ema", average)):
        source = load_source("nets:attention", inputs=X, dims=DIMS, checkpoint=Path("w.pt"), checkpoint_key=key)
        assert torch.equal(source.module.q.weight, expected["q.weight"])
        assert source.provenance["checkpoint"]["file"] == "w.pt"
        assert [n for n in source.notes if "EMA" in n] == (
            [] if key else ["checkpoint w.pt: params_ema fits as well as an average of the weights (EMA): "
                            "--checkpoint-key params_ema takes it"]
        )  # fmt: skip
    with pytest.raises(UsageError, match="--checkpoint-key params: there is no --checkpoint"):
        load_source("nets:attention", inputs=X, dims=DIMS, checkpoint_key="params")


def test_a_module_of_the_callers_is_a_source() -> None:
    source = load_source(torch.nn.Linear(16, 2), inputs=X, dims=DIMS)
    assert (source.name, source.graph.name, source.parameters) == ("Linear", "model", 34)
    assert source.provenance["ref"] == "torch.nn.modules.linear:Linear"
    with pytest.raises(UsageError, match="a Linear is a module already, not a callable; --config"):
        load_source(torch.nn.Linear(16, 2), inputs=X, dims=DIMS, config=["a=1"])
    with pytest.raises(UsageError, match="the inputs are not known; add --input"):
        load_source(torch.nn.Linear(16, 2))
