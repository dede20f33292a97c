"""What `attn-run info` tells of a manifest."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from attn_runtime.bundle.manifest import check_manifest
from attn_runtime.errors import BundleError
from attn_runtime.tasks.info import describe, info_lines


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
