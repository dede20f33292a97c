"""The heatmap tells what was recorded, and a bundle whose proof does not hold is not told to be proven."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from attn_export.report_page import overview, proof
from attn_runtime.bundle import Bundle
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.pages.page_tags import PageTags

CHECK = {
    "case": "min",
    "sizes": {"batch": 1},
    "output": "y",
    "max_error": 1e-6,
    "max_reference": 1.0,
    "limit": 4e-6,
    "passed": True,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(make_valid_bundle(tmp_path_factory.mktemp("base") / "gemm.attn"))


def with_checks(base: Bundle, *stages: tuple[bool, list[dict[str, Any]]], **more: Any) -> Bundle:
    """The same bundle, with these stages: whether one was kept, and its checks."""
    manifest = copy.deepcopy(base.manifest)
    told = [
        {
            "name": f"stage{n}",
            "precision": "fp32",
            "nodes_before": 1,
            "nodes_after": 1,
            "kept": kept,
            "note": "",
            "checks": checks,
        }
        for n, (kept, checks) in enumerate(stages)
    ]
    manifest["graphs"]["model"] |= {"stages": told, "consistency": [], **more}
    return Bundle(base.path, manifest)


def cells(page: str) -> list[tuple[str, str]]:
    """(class, title) of each cell of the heatmap."""
    found = [dict(attributes) for tag, attributes in PageTags(page).tags if tag == "td"]
    return [
        (told["class"].removeprefix("heat"), told.get("title") or "")
        for told in found
        if told.get("class", "").startswith("heat")
    ]


def test_a_cell_is_the_worst_of_its_outputs_and_a_case_of_one_stage_alone_has_gaps(base: Bundle) -> None:
    checks = [CHECK, {**CHECK, "output": "z", "max_error": 3.9e-6}, {**CHECK, "case": "max", "max_error": 0}]
    bundle = with_checks(base, (True, checks), (True, [CHECK]))
    assert cells(proof.told(bundle)) == [
        (" h9", "z: |error| 3.9e-06, allowed 4e-06"), (" h5", "y: |error| 1e-06, allowed 4e-06"),
        (" h0", "y: |error| 0, allowed 4e-06"), ("", ""),
    ]  # fmt: skip
    text = PageTags(proof.told(bundle)).text
    assert "98 %" in text and "25 %" in text and "0 %" in text
    assert "all of them hold" in overview.told(bundle, {}) and "97.5%" in overview.told(bundle, {})


@pytest.mark.parametrize(
    "spoilt",
    [
        {"passed": False},
        {"max_error": 5e-6, "passed": False},
        {"max_error": None, "passed": False},
        {"limit": 0.0, "passed": False},
    ],
)
def test_what_does_not_hold_is_told(base: Bundle, spoilt: dict[str, Any]) -> None:
    bundle = with_checks(base, (True, [CHECK, {**CHECK, "case": "max", **spoilt}]))
    assert [kind for kind, _ in cells(proof.told(bundle))] == [" h5", " over"]
    assert "1 comparisons with PyTorch&#x27;s answers do not hold" in overview.told(bundle, {})
    assert "verdict fail" in overview.told(bundle, {})
    dropped = with_checks(base, (True, [CHECK]), (False, [{**CHECK, **spoilt}]))
    assert "verdict fail" not in overview.told(dropped, {}), "what was not kept is no part of the proof"


def test_a_bundle_without_a_comparison_is_not_proven(base: Bundle) -> None:
    assert "records no comparison" in overview.told(with_checks(base), {})
    against_itself = [{"name": "row-alone", "passed": False, "max_error": 1.0, "note": "why"}]
    broken = with_checks(base, (True, [CHECK]), consistency=against_itself)
    assert "row-alone does not hold" in overview.told(broken, {})
    assert 'class="state fail">failed' in proof.told(broken)


@pytest.mark.parametrize(
    ("check", "share"),
    [({"max_error": 2.0, "limit": 4.0}, 0.5), ({"max_error": 0, "limit": 0}, 0), ({"max_error": 1.0, "limit": 0}, math.inf),
     ({"max_error": None, "limit": 1.0, "passed": False}, math.inf)],
)  # fmt: skip
def test_a_share_is_of_what_is_allowed(check: dict[str, Any], share: float) -> None:
    assert proof.share({"passed": True, **check}) == share


def test_sizes_and_mutants_and_generation(base: Bundle, tmp_path: Path) -> None:
    sweep = {"seed": 1, "dims": ["batch"], "sizes": [[2], [3]], "complete": ["batch"], "worst_relative_error": 1e-7}
    power = {"seed": 1, "mutants": 20, "usual": 17, "noticed": 19, "cases": [{"case": "min", "inputs": "drawn again"}]}
    bundle = with_checks(base, (True, [CHECK]), sweep=sweep, power=power)
    told = proof.told(bundle)
    assert told.count('class="mark"') == len(
        {1, 2, 3} | {ref["checked_sizes"]["batch"] for ref in base.manifest["graphs"]["model"]["golden"]}
    )
    text = PageTags(told).text
    assert (
        "batch 1..4: every size" in text and "the golden cases notice 19 (17 by those" in text and "drawn again" in text
    )
    assert "19 of 20" in overview.told(bundle, {})
