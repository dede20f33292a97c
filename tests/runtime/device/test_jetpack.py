"""Jetsons as their files tell of them, in folders laid out like theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from attn_runtime.device.jetpack import parse_dpkg, parse_tegra_release, read_jetpack

ORIN = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n"

STATUS = """Package: nvidia-jetpack
Status: install ok installed
Priority: standard
Maintainer: NVIDIA Corporation
Architecture: arm64
Version: 6.2+b77
Description: NVIDIA Jetpack Meta Package
 Version: this line belongs to the description

Package: python3-libnvinfer
Status: install ok installed
Source: tensorrt
Version: 10.3.0.30-1+cuda12.5

Package: libnvinfer8
Status: deinstall ok config-files
Version: 8.6.2.3-1+cuda12.2

Package: libnvinfer-samples
Status: install ok installed
Version: 10.3.0.30-1+cuda12.5

Package: python3
Status: install ok installed
Version: 3.10.6-1~22.04
"""


def jetson(root: Path, release: str = "", status: str = "", model: str = "") -> Path:
    for name, text in (("etc/nv_tegra_release", release), ("var/lib/dpkg/status", status),
                       ("proc/device-tree/model", model)):  # fmt: skip
        if text:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


def test_jetson_with_everything_installed(tmp_path: Path) -> None:
    found = read_jetpack(jetson(tmp_path, ORIN, STATUS, "NVIDIA Jetson Orin NX Engineering Reference\0"))
    assert found is not None
    assert (found.version, found.major, found.l4t) == ("6.2", 6, "36.4.3")
    assert found.board == "NVIDIA Jetson Orin NX Engineering Reference"
    assert found.packages == {"nvidia-jetpack": "6.2+b77", "python3-libnvinfer": "10.3.0.30-1+cuda12.5"}


@pytest.mark.parametrize(
    ("release", "major"),
    [
        ("R35 (release), REVISION: 6.0", 5),
        ("R36 (release), REVISION: 3.0", 6),
        ("R38 (release), REVISION: 2.1", 7),
        ("R99 (release), REVISION: 1", None),
    ],
)
def test_bare_system_tells_the_major_version(release: str, major: int | None, tmp_path: Path) -> None:
    found = read_jetpack(jetson(tmp_path, f"# {release}, GCID: 1\n"))
    assert found is not None and found.major == major and found.packages == {}
    assert found.l4t is not None and found.board is None


def test_container_that_shows_the_board_alone(tmp_path: Path) -> None:
    found = read_jetpack(jetson(tmp_path, model="NVIDIA Jetson AGX Thor Developer Kit\0"))
    assert found is not None and (found.version, found.major, found.l4t) == (None, None, None)


def test_l4t_by_its_package_where_the_file_is_gone(tmp_path: Path) -> None:
    status = "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 36.4.3-20250107174145\n"
    found = read_jetpack(jetson(tmp_path, status=status))
    assert found is not None and (found.l4t, found.version) == ("36.4.3", "6")


def test_no_jetson(tmp_path: Path) -> None:
    """A machine with TensorRT from NVIDIA's apt repository, and a board of another maker."""
    assert read_jetpack(tmp_path) is None
    others = "Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.9.0.34-1+cuda12.8\n"
    assert read_jetpack(jetson(tmp_path, status=others, model="Raspberry Pi 5 Model B Rev 1.0\0")) is None


def test_what_is_not_as_expected_is_not_told(tmp_path: Path) -> None:
    assert parse_tegra_release("") is parse_tegra_release("R36, no release") is None
    assert parse_dpkg("garbage\n\nPackage: nvidia-jetpack\n\n\0\xff") == {}
    (tmp_path / "etc/nv_tegra_release").mkdir(parents=True)  # a folder where a file is expected
    assert read_jetpack(tmp_path) is None
    found = read_jetpack(jetson(tmp_path / "other", "no release in here\n"))
    assert found is not None and (found.version, found.l4t) == (None, None)
