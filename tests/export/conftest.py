"""A small project of a user's own, outside the repository, and a command line to export it with."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.checks.once import once

NETS = '''
import dataclasses
import torch
from torch import nn


class Attention(nn.Module):
    """One head over T positions; gamma scales what attention adds."""

    def __init__(self, width=16, gamma=1.0):
        super().__init__()
        torch.manual_seed(1)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.gamma = nn.Parameter(torch.full((1,), gamma))

    def forward(self, x):
        weights = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return x + self.gamma * (weights @ self.v(x))


def attention(**config):
    return Attention(**config)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.embed, self.attend, self.head = nn.Embedding(50, 16), Attention(), nn.Linear(16, 3)

    def forward(self, tokens, keep):
        x = self.attend(self.embed(tokens)) * keep.unsqueeze(-1)
        return {"logits": self.head(x.mean(1)), "hidden": (x, x.sum(2))}


@dataclasses.dataclass
class Answer:
    scores: torch.Tensor
    parts: list
    note: str = "left out"


class Dataclass(nn.Module):
    def forward(self, x):
        return Answer(x.softmax(-1), [x + 1, x * 2])


class BatchCentred(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class Noisy(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5)


class Rarely(nn.Module):
    """Two numbers at batch 1 mostly come out the same twice; a hundred don't."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.05)


class OnlyNan(nn.Module):
    def forward(self, x):
        return x * float("nan")


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        return x.relu()


class Exits(nn.Module):
    def forward(self, x):
        raise SystemExit(0)


class Tiny(nn.Module):
    def forward(self, x):
        return x * 1e-7


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embed = nn.Embedding(50, 16)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)

    def forward(self, tokens, padded):
        return self.layers(self.embed(tokens), src_key_padding_mask=padded)


class Ignores(nn.Module):
    def forward(self, x, unused):
        return x.relu()


class Eight(nn.Module):
    def forward(self, x):
        if x.shape[0] == 8:
            return x
        return x * 2


class Untranslatable(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x).real


def not_a_module():
    return 3


def fails(size=3):
    raise ValueError(f"no such size: {size}")
'''


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with nets.py, entered; as a user's own project would be."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("nets", None)


@pytest.fixture
def attn_export(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the command line in this process and gives what a shell would see."""
    from attn_export.cli.app import cli
    from attn_runtime.cli.options import run_cli

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_cli(lambda: cli, "attn-export", [str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


def _export_attention(folder: Path) -> None:
    from attn_export import export

    (folder / "nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        export("nets:attention", "a.attn", inputs=["x:float32[batch,T,16]"], dims=["batch=1:2:4", "T=1:8:16"])
    sys.modules.pop("nets", None)


@pytest.fixture
def attention_project(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`project` with a.attn in it, of nets:attention; exported once, each test has a copy."""
    made = once(tmp_path_factory, "attention", _export_attention)
    shutil.copytree(made / "a.attn", project / "a.attn")
    return project


def _export_small_translator(folder: Path) -> None:
    """A bundle of three graphs, and what the export said."""
    from attn_export import export
    from attn_export.console import Console
    from attn_export.source.resolve import load_source

    with pytest.MonkeyPatch.context() as patch, io.StringIO() as log:
        patch.setattr(sys, "stderr", log)
        export(load_source("support.models.small_generators:translator"), folder / "translator.attn", console=Console())
        (folder / "log.txt").write_text(log.getvalue())


@pytest.fixture(scope="session")
def small_translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed; copy it first."""
    return once(tmp_path_factory, "small-translator", _export_small_translator) / "translator.attn"


@pytest.fixture
def small_translator_log(small_translator: Path) -> str:
    """What the export said."""
    return small_translator.with_name("log.txt").read_text()


def _export_small_lm(folder: Path) -> None:
    from attn_export import export
    from attn_export.source.resolve import load_source

    export(load_source("support.models.small_generators:lm"), folder / "lm.attn")


@pytest.fixture(scope="session")
def small_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed; copy it first."""
    return once(tmp_path_factory, "small-lm", _export_small_lm) / "lm.attn"
