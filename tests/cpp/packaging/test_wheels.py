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
from importlib import metadata as installed_metadata
from pathlib import Path

import attn_runtime
import pytest
from attn_export.deploy import build_runtime_wheel
from attn_export.deploy.wheel_files import repack
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


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist() if not name.endswith("RECORD")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runtime_wheel(ROOT / "runtime", tmp_path_factory.mktemp("wheel"))


def test_a_wheel_with_the_library_runs_through_it(cpp_build: Path, plain: Path, tmp_path: Path) -> None:
    tag = f"linux_{platform.machine()}"
    wheel = build_runtime_wheel(ROOT / "runtime", tmp_path, cpp_build / "libattn_runtime.so", tag)
    assert re.fullmatch(rf"attn_runtime-[\d.]+-py3-none-{tag}\.whl", wheel.name)
    where, choice, _ = run(brightness_classifier(tmp_path / "a.attn"), installed(wheel, tmp_path / "site"))
    assert Path(where).is_relative_to(tmp_path / "site") and choice.startswith("native on cpu")
    # What a deployed folder carries for a machine of any kind is made of it without the library.
    (found,) = installed_metadata.distributions(name="attn-runtime", path=[str(tmp_path / "site")])
    (tmp_path / "made").mkdir()
    assert contents(repack(found, tmp_path / "made")) == contents(plain)


def test_a_wheel_for_any_machine_says_what_it_lacks(plain: Path, tmp_path: Path) -> None:
    assert plain.name.endswith("-py3-none-any.whl")
    where, choice, passed_over = run(brightness_classifier(tmp_path / "a.attn"), installed(plain, tmp_path / "site"))
    assert Path(where).is_relative_to(tmp_path / "site") and choice.startswith("ort on cpu")
    assert "libattn_runtime.so is not in this attn-runtime; its wheel for Linux (manylinux) has it" in passed_over


def test_the_same_sources_give_the_same_bytes(plain: Path, tmp_path: Path) -> None:
    assert build_runtime_wheel(ROOT / "runtime", tmp_path).read_bytes() == plain.read_bytes()


def test_what_an_index_would_show(plain: Path, tmp_path: Path) -> None:
    """No picture that lies in the repository alone, and the licence by its SPDX name; nor what only training needs."""
    subprocess.run(
        [sys.executable, ROOT / "scripts/wheels/build.py", "--only=export", "--output", tmp_path], check=True
    )
    (export,) = tmp_path.glob("attn_export-*-py3-none-any.whl")
    for wheel in (plain, export):
        told, names = metadata(wheel), [Path(name) for name in contents(wheel)]
        assert told["License-Expression"] == "Apache-2.0" and told.get_all("Classifier") and told["Keywords"]
        assert told["Version"] == attn_runtime.__version__ and set(told.get_all("License-File", ())) >= {"LICENSE"}
        assert not re.search(r"\]\((?!https:)|<img|[Nn]o module", str(told.get_payload()))
        assert {path.suffix for path in names} <= {"", ".py", ".typed", ".json", ".css", ".js", ".txt"}
    assert {path.parts[0] for path in names} == {"attn_export", "attn_models", names[-1].parts[0]}


def told_to_fetch(text: str) -> list[str]:
    """The lines of `text` after which somebody would ask an index for our packages. Strings that code joins are joined."""
    joined = re.sub(r"""(["'])\s*\n\s*f?["']""", "", text)
    by_name = r"\b(pip|pip3|pipx|uv|install|reinstall)\b.*[ '\"]attn-(runtime|export)(?![\w/])"
    return [
        line.strip() for line in joined.splitlines() if re.search(by_name + r"|[ '\"]attn-(runtime|export)\[", line)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "    pip install attn-runtime",
        "RUN pip install --upgrade 'attn-export[half]'",
        '"it is broken; reinstall "\n    "attn-runtime"',
        'f"pip install "\n    f"\'attn-runtime[{extra}]\'"',
        "texts need 'attn-runtime[text]'",
    ],
)
def test_what_would_ask_an_index_is_seen(text: str) -> None:
    assert told_to_fetch(text)
    assert not told_to_fetch(
        "pip install dist/attn_runtime-*.whl openvino  # for attn-run, from the clone attn-export/x"
    )


def test_nobody_is_told_to_fetch_our_packages_from_an_index() -> None:
    """Neither name is registered there: whoever takes it would have their code run."""
    folders = ("runtime", "export", "models", "docs")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*")] + [ROOT / "README.md"]
    wrong = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in texts
        if path.is_file() and path.suffix in ("", ".py", ".md", ".sh", ".txt", ".html", ".js", ".h", ".cpp")
        for line in told_to_fetch(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert wrong == []
