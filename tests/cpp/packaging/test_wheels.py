"""The wheels: what is in them, and what an installation of each runs."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from attn_export.deploy import build_runtime_wheel
from support.graphs.make_graphs import brightness_classifier

ROOT = Path(__file__).parents[3]
RUN = """
import sys, attn_runtime
with attn_runtime.open_session(sys.argv[1]) as session:
    print(attn_runtime.__file__, session.choice, session.passed_over, sep="\\n")
"""


def installed(wheel: Path, folder: Path) -> dict[str, str]:
    """The environment of a Python that finds `wheel`, and what it needs in this one."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", folder, wheel], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATTN_")}
    return kept | {"PYTHONPATH": str(folder)}


def run(bundle: Path, environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-c", RUN, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=bundle.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(packed.read(name).decode())


def test_a_wheel_with_the_library_runs_through_it(cpp_build: Path, tmp_path: Path) -> None:
    tag = f"linux_{platform.machine()}"
    wheel = build_runtime_wheel(ROOT / "runtime", tmp_path, cpp_build / "libattn_runtime.so", tag)
    assert re.fullmatch(rf"attn_runtime-[\d.]+-py3-none-{tag}\.whl", wheel.name)
    where, choice, _ = run(brightness_classifier(tmp_path / "a.attn"), installed(wheel, tmp_path / "site"))
    assert Path(where).is_relative_to(tmp_path / "site") and choice.startswith("native on cpu")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runtime_wheel(ROOT / "runtime", tmp_path_factory.mktemp("wheel"))


def test_a_wheel_for_any_machine_says_what_it_lacks(plain: Path, tmp_path: Path) -> None:
    assert plain.name.endswith("-py3-none-any.whl")
    where, choice, passed_over = run(brightness_classifier(tmp_path / "a.attn"), installed(plain, tmp_path / "site"))
    assert Path(where).is_relative_to(tmp_path / "site") and choice.startswith("ort on cpu")
    assert "libattn_runtime.so is not in this attn-runtime; its wheel for Linux (manylinux) has it" in passed_over


def test_the_same_sources_give_the_same_bytes(plain: Path, tmp_path: Path) -> None:
    assert build_runtime_wheel(ROOT / "runtime", tmp_path).read_bytes() == plain.read_bytes()


def test_what_an_index_would_show(plain: Path) -> None:
    """No picture that lies in the repository alone, and the licence by its SPDX name."""
    told = metadata(plain)
    assert told["License-Expression"] == "Apache-2.0" and told.get_all("Classifier") and told["Keywords"]
    for page in (str(told.get_payload()), (ROOT / "export" / "README.md").read_text()):
        assert not re.search(r"\]\((?!https:)", page) and "<img" not in page


def test_nobody_is_told_to_fetch_our_packages_from_an_index() -> None:
    """Neither name is registered there: whoever takes it would have their code run."""
    told = [path for folder in ("runtime", "export", "models", "docs") for path in (ROOT / folder).rglob("*")]
    texts = [path for path in [*told, ROOT / "README.md"] if path.suffix in (".py", ".md", ".sh", ".toml")]
    wrong = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in texts
        for line in path.read_text(encoding="utf-8").splitlines()
        # A wheel's file has an underscore in its name.
        if re.search(r"(pip|pipx|uv).* (install|add|download|wheel).*[ '\"]attn-(runtime|export)\b", line)
    ]
    assert wrong == []
