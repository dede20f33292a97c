"""What `attn-run info` tells of a manifest."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from attn_export.precision.bundle_files import write_precision
from attn_runtime.bundle.manifest import check_manifest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError
from attn_runtime.tasks.info import describe, info_lines
from support.quantised.two_graphs import rounded, two_graphs


def test_the_licence_of_the_weights(valid_bundle: Path) -> None:
    told = describe(valid_bundle)
    manifest = deepcopy(told["manifest"])
    lines = list(info_lines(told))
    assert lines[2] == "  licence of the weights: apache-2.0" and lines[1].startswith("  from ")
    for value in ("", "a\x1b[31m", 3, "x" * 257):
        manifest["source"]["licence"] = value
        with pytest.raises(BundleError, match=r"source\.licence: got"):
            check_manifest(manifest, "x")
    del manifest["source"]["licence"]
    check_manifest(manifest, "x")
    assert not any("licence" in line for line in info_lines({**told, "manifest": manifest}))


def test_the_size_of_each_precision_and_what_it_shares(tmp_path: Path) -> None:
    path = two_graphs(tmp_path / "two.attn")
    write_precision(path, Bundle.open(path), "cut", rounded(path, tmp_path, "cut"))
    told = describe(path)
    fp32, cut = told["sizes"]["fp32"], told["sizes"]["cut"]
    assert fp32 == {"bytes": fp32["bytes"], "shared": {}} and cut == {"bytes": cut["bytes"], "shared": {"fp32": 6400}}
    lines = [line for line in info_lines(told) if " takes " in line]
    assert lines == [
        f"fp32 takes {fp32['bytes'] / 1024:.1f} KiB",
        f"cut takes {cut['bytes'] / 1024:.1f} KiB, of which 6.2 KiB shared with fp32",
    ]
