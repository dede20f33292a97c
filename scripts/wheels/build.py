"""The wheels of both packages, into dist/: what `make wheels` runs.

    python scripts/wheels/build.py [--only any,x86_64,aarch64,export] [--output dist]

    any       attn_runtime-VERSION-py3-none-any.whl: no C++ library, for any machine
    x86_64    attn_runtime-VERSION-py3-none-manylinux_2_28_x86_64.whl: the C++ library inside, as backend `native`
    aarch64   the same for 64-bit Arm
    export    attn_export-VERSION-py3-none-any.whl: without the data that the built-in models are trained on

The library is compiled by Zig (wheel `ziglang`), which has the C library of the oldest system that a wheel is for, and C++'s
standard library to link in. auditwheel then says what the wheel needs: no more than its name tells, or nothing is written. The
same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from attn_export.deploy import build_runtime_wheel, build_wheel
from audit import checked
from native_library import compiled

ROOT = Path(__file__).resolve().parents[2]
GLIBC = "2.28"


def for_any(made: Path) -> Path:
    return build_runtime_wheel(ROOT / "runtime", made)


def native(machine: str) -> Callable[[Path], Path]:
    platform = f"manylinux_{GLIBC.replace('.', '_')}_{machine}"

    def build(made: Path) -> Path:
        library = compiled(machine, GLIBC)
        return checked(build_runtime_wheel(ROOT / "runtime", made, library, platform), platform)

    return build


def export(made: Path) -> Path:
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "attn-export"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "lib", "*.xz")
        for folder in ("export", "models"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
        version = Path("runtime/attn_runtime/__init__.py")
        (copy / version).parent.mkdir(parents=True)
        for file in ("pyproject.toml", "LICENSE", version):
            shutil.copy(ROOT / file, copy / file)
        return build_wheel(copy, made)


WHEELS: dict[str, Callable[[Path], Path]] = {
    "any": for_any,
    "x86_64": native("x86_64"),
    "aarch64": native("aarch64"),
    "export": export,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WHEELS))
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(WHEELS):
        sys.exit(f"error: --only: got {', '.join(sorted(unknown))}, expected some of {', '.join(WHEELS)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory(dir=arguments.output) as work:
            wheel = WHEELS[name](Path(work))
            kept = wheel.replace(arguments.output / wheel.name)
        print(f"{kept.name}  {kept.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
