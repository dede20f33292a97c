"""The exporter's doctor: the runtime's, with the packages that exporting takes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from attn_export import doctor
from attn_runtime import diagnose
from support.command_lines.json_answers import result_of


def test_it_tells_of_torch_without_importing_it() -> None:
    code = (
        "import sys; from attn_export.cli.app import main; sys.argv = ['attn-export', 'doctor', '--json']\n"
        "try: main()\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0 False"
    told = result_of(done.stdout)
    assert told["packages"]["torch"] == torch.__version__ and told["packages"]["onnxsim"]
    assert told["auto"] == diagnose().auto


def test_what_is_missing_for_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(doctor, "_OPTIONAL", {"no-such-package": "for this: pip install that", "torch": "never"})
    lines = doctor.diagnose().advice
    assert lines[-1] == "for this: pip install that" and "never" not in lines
    assert set(diagnose().advice) <= set(lines)
