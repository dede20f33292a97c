"""Whether this is a Jetson, and which JetPack it runs: read from the files that JetPack and dpkg leave on it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TEGRA_RELEASE, _DPKG_STATUS, _MODEL = "etc/nv_tegra_release", "var/lib/dpkg/status", "proc/device-tree/model"

# The packages worth telling of: JetPack itself, the system under it, TensorRT and its Python side.
_PACKAGES = re.compile(r"nvidia-jetpack|nvidia-l4t-core|tensorrt|libnvinfer\d+|python3-libnvinfer")

# Where nvidia-jetpack is not installed, as on an image with the bare system: Linux for Tegra's major version tells it.
_BY_L4T = {"35": "5", "36": "6", "38": "7", "39": "7"}


@dataclass(frozen=True)
class Jetpack:
    """`version` as in "6.2.1", only its major number where no package tells it, None where that is not known either;
    `l4t` is the release of Linux for Tegra, as in "36.4.3"; `packages` is package -> version, as dpkg has them."""

    version: str | None
    l4t: str | None
    board: str | None
    packages: Mapping[str, str]

    @property
    def major(self) -> int | None:
        return int(self.version.partition(".")[0]) if self.version else None


def host_root() -> Path:
    """Where the files of the system are: /, or ATTN_HOST_ROOT in a container that has its host's mounted elsewhere."""
    return Path(os.environ.get("ATTN_HOST_ROOT") or "/")


def read_jetpack(root: Path | None = None) -> Jetpack | None:
    """What the system under `root` says (None: `host_root`); None where it is no Jetson. Raises nothing: what can't be read is
    not told."""
    root = host_root() if root is None else root
    release, status, model = (_text(root / name) for name in (_TEGRA_RELEASE, _DPKG_STATUS, _MODEL))
    packages = parse_dpkg(status)
    # In a container of a Jetson, the file and the packages of the host may be missing, but not its model.
    if not release and "nvidia-l4t-core" not in packages and "jetson" not in model.lower():
        return None
    l4t = parse_tegra_release(release) or _leading(packages.get("nvidia-l4t-core", ""))
    version = _leading(packages.get("nvidia-jetpack", "")) or _BY_L4T.get((l4t or "").partition(".")[0])
    return Jetpack(version, l4t, model or None, packages)


def parse_tegra_release(text: str) -> str | None:
    """ "36.4.3" from a line that begins "# R36 (release), REVISION: 4.3"; None for any other text."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None


def parse_dpkg(status: str) -> dict[str, str]:
    """Package -> version of what is installed of JetPack and TensorRT, from dpkg's status file."""
    found = {}
    for entry in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.+)$", entry, re.MULTILINE))
        name = fields.get("Package", "")
        if _PACKAGES.fullmatch(name) and fields.get("Status", "").endswith(" installed"):
            found[name] = fields.get("Version", "")
    return found


def _leading(version: str) -> str | None:
    """ "6.2.1" of "6.2.1+b38"."""
    found = re.match(r"\d+(\.\d+)*", version)
    return found[0] if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
