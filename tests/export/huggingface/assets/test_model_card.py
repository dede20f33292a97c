"""The licence that a model card names."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_export.huggingface.assets import licence
from support.texts.saved_folders import saved


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n# A model\nlicense: mit\n", "apache-2.0"),
        ("\ufeff---\r\nlicense: 'mit'  \r\n---\r\n", "mit"),
        ("---\nlicense: cc-by-4.0 # as agreed\n---\n", "cc-by-4.0"),
        ("---\nlicense:\n- apache-2.0\n- mit\ntags:\n- other\n---\n", "apache-2.0, mit"),
        ("---\nlicense: [mit, 'bsd-3-clause']\n---\n", "mit, bsd-3-clause"),
        ("---\nlicense: other\nlicense_name: gemma\nlicense_link: LICENSE\n---\n", "other: gemma"),
        ("---\nlicense: a\x1b[31mb\n---\n", "a\ufffd[31mb"),
        ("---\nmodel-index:\n  license: mit\n---\n", None),
        ("---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense: !!python/object/apply:os.system ['true']\n---\n", "!!python/object/apply:os.system ['true']"),
        ("", None),
    ],
)
def test_the_front_matter_names_it(tmp_path: Path, card: str, expected: str | None) -> None:
    folder = saved(tmp_path, None, {"README.md": card})
    assert licence(folder) == expected
    assert folder.notes == ([] if expected else ["no licence is named: the model card (README.md) says none"])


def test_a_long_one_is_cut_and_a_folder_may_have_none(tmp_path: Path) -> None:
    assert len(licence(saved(tmp_path, None, {"README.md": f"---\nlicense: {'x' * 999}\n---\n"})) or "") == 256
    bare = saved(tmp_path / "bare", None, {})
    assert licence(bare) is None and "has no model card" in bare.notes[0]
