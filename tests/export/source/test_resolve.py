from pathlib import Path
from typing import Any

import pytest
import torch
from attn_export.source.resolve import is_saved_model, load_source
from attn_runtime.errors import CheckpointError, UsageError
from safetensors.torch import load_file, save_file
from support.huggingface.folders import tiny_folder

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


def test_what_means_a_saved_model(project: Path) -> None:
    for name in ("bert", "attentionnet", "a:b"):
        (project / name).mkdir()
    saved = ["hf:org/name", "bert", "./attentionnet", "a:b", "no/such", "./no", "~/no", str(project / "bert")]
    assert [ref for ref in saved if not is_saved_model(ref)] == []
    others = ["attentionnet", "nets:attention", "attentionnt", "a/b:c", "no"]
    assert [ref for ref in others if is_saved_model(ref)] == []


def test_options_of_a_saved_model_are_refused_elsewhere_and_others_there(project: Path) -> None:
    folder = tiny_folder("bert_classifier", project / "bert")
    given: dict[str, Any] = {"task": "fill-mask", "revision": "main", "download": True, "graphs": ["text"]}
    for name, value in given.items():
        with pytest.raises(UsageError, match=f"--{name} belongs to a saved Hugging Face model"):
            load_source("attentionnet", **{name: value})
    with pytest.raises(UsageError, match="--config classes: bert is a saved model"):
        load_source("bert", config=["classes=3"])
    with pytest.raises(UsageError, match="did you mean length?"):
        load_source("bert", dims=["lenght=4"])
    assert load_source(str(folder), dims=["length=4"]).graph.inputs[0].dims[1].max == 4


def test_a_checkpoint_is_loaded_over_the_weights_of_a_folder(project: Path) -> None:
    folder = tiny_folder("bert_classifier", project / "bert")
    state = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in state.items()}, "tuned.safetensors")
    source = load_source("bert", checkpoint=Path("tuned.safetensors"))
    assert torch.equal(source.module.classifier.bias, state["classifier.bias"] + 1)
    assert source.provenance["checkpoint"]["file"] == "tuned.safetensors"
    assert source.provenance["huggingface"]["files"][0]["file"] == "model.safetensors"
