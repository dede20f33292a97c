from __future__ import annotations

from pathlib import Path

import transformers
from attn_export.huggingface import find_model, kind_of, load_weights, provenance_of
from attn_runtime.bundle import form_problem, sha256_of


def test_repository_class_and_the_hash_of_every_file(own: Path) -> None:
    (own / "README.md").write_text("a card")
    (own / "source.spm").write_bytes(b"words of the source")
    (own / "modeling_evil.py").write_text("raise SystemExit")
    (own / "1_Pooling").mkdir()
    (own / "1_Pooling" / "config.json").write_text("{}")
    saved = find_model(str(own))
    file = load_weights(kind_of(saved).architecture, saved).file
    told = provenance_of(saved, "BertForSequenceClassification", file, "apache-2.0")
    names = ["model.safetensors", "1_Pooling/config.json", "README.md", "config.json", "source.spm"]
    assert told["huggingface"] == {
        "repository": None,
        "commit": None,
        "architecture": "BertForSequenceClassification",
        "model_type": "bert",
        "transformers": transformers.__version__,
        "files": [{"file": name, "sha256": sha256_of(own / name)} for name in names],
    }
    assert told["licence"] == "apache-2.0"
    assert told["checkpoint"] == {"file": "model.safetensors", "sha256": sha256_of(own / "model.safetensors")}
    assert form_problem("source", {"kind": "huggingface", "ref": "x", "config": {}, **told}, "source") is None
