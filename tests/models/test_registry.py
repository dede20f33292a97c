"""Models are found by file, and nothing generic knows one by name."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import attn_models
import pytest
from attn_models import registry
from attn_models.spec import ModelSpec
from attn_runtime.errors import UsageError

FOLDER = Path(attn_models.__file__).parent
ZOO = FOLDER / "zoo"


def test_every_name_is_a_model_that_bears_it():
    assert "attentionnet" in registry.names()
    for name in registry.names():
        spec = registry.get(name)
        assert isinstance(spec, ModelSpec)
        assert spec.name == name


def test_other_modules_are_no_models():
    assert not {"spec", "recipe", "registry", "digits", "loop", "train", "__init__"} & set(registry.names())


def test_a_new_file_with_a_model_is_found(tmp_path, monkeypatch):
    (tmp_path / "fresh.py").write_text("import torch\n\nMODEL = 1\n")
    (tmp_path / "typed.py").write_text("MODEL: ModelSpec = 1\n")
    (tmp_path / "helper.py").write_text("# MODEL = no\nMODELS = []\n\ndef f():\n    MODEL = 1\n")
    monkeypatch.setattr(registry, "ZOO", tmp_path)
    assert registry.names() == ["fresh", "typed"]


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UsageError, match="did you mean attentionnet") as caught:
        registry.get("atentionnet")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"available: .*attentionnet"):
        registry.get("zzz")


def test_names_are_known_without_torch():
    code = "import sys; from attn_models import registry; registry.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


#: Files beside a model's own that are there for it alone, and the door of a room that has a file of a model's name.
COMPANIONS = {"speech/stored_words.py", "__init__.py"}


def test_generic_code_names_no_model():
    root = FOLDER.parents[1]
    models = {ZOO / f"{name}.py" for name in registry.names()} | {FOLDER / "data" / name for name in COMPANIONS}
    files = [f for part in ("models", "export", "runtime") for f in (root / part).rglob("*.py") if f not in models]
    assert len(files) > 10
    found = {str(f.relative_to(root)): _models_named_in(f.read_text(encoding="utf-8")) for f in files}
    assert not {file: names for file, names in found.items() if names}


def test_the_search_for_model_names_finds_them():
    assert _models_named_in('if name == "attentionnet":\n    pass')
    assert _models_named_in("from attn_models.zoo.attentionnet import MODEL")
    assert _models_named_in("isinstance(module, AttentionNet)")
    assert _models_named_in("from . import attentionnet")
    assert _models_named_in('run("attn_models.zoo.attentionnet:MODEL")')
    assert not _models_named_in("from .recipe import Recipe\nattentionnets = 1")
    assert not _models_named_in('"""As in `attn-export to-onnx attentionnet`."""\nf(help="such as attentionnet")')


def _models_named_in(source: str) -> list[str]:
    """Classes, imports and whole strings of the code that name a model; prose may use one as an example.

    Words that contain a name don't count, nor do variables: "vit" is in "sensitivity", and keywords are many things.
    Nor does what a room exports: __all__ of the data names its files, one of which is called as a model is.
    """
    models = registry.names()
    classes = {name for model in models for name in vars(importlib.import_module(f"attn_models.zoo.{model}"))}
    words = []
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not ast.unparse(node).startswith("__all__")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in classes and not node.id.isupper():
            words.append(node.id.lower())
        elif isinstance(node, ast.ImportFrom):
            words.append((node.module or "").rpartition(".")[2])
            words += [alias.name.lower() for alias in node.names if alias.name in {*models, *classes}]
        elif isinstance(node, ast.Import):
            words += [alias.name.rpartition(".")[2] for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.append(node.value.removeprefix("attn_models.zoo.").partition(":")[0])
    return [word for word in words if word in models]
