"""Boards and JetPack releases as data, and what can't be had on them. docs/use/jetson.md is this table for people.

Where a fact comes from stands beside it as a key of SOURCES; figures without one are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UsageError, did_you_mean

_MIB, _GIB = 2**20, 2**30

SOURCES = {
    "orin": "NVIDIA, Jetson Orin Nano, Orin NX and AGX Orin series data sheets (memory, accelerators)",
    "thor": "NVIDIA, Jetson T4000 and T5000 (memory); DriveOS 7.0.3 TensorRT release properties: Thor has FP8 and no DLA",
    "trt-11.4.1": "docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-jetson.html",
    "jp6": "docs.pytorch.org/TensorRT, JetPack page: JetPack 6.2 has CUDA 12.6 and TensorRT 10.3",
    "jp6.0": "NVIDIA, JetPack 6.0 release notes: CUDA 12.2, TensorRT 8.6.2",
    "jp7.0": "github.com/NVIDIA/TensorRT issue 4590 (TensorRT 10.13.3 on Thor)",
    "jp7.1": "github.com/dusty-nv/jetson-containers issue 1557 (L4T 38.4, JetPack 7.1, CUDA 13.0)",
    "jp7.2": "reports of users with JetPack 7.2 on Orin NX (TensorRT 10.16.2, CUDA 13.2)",
    "edge-llm": "NVIDIA/TensorRT-Edge-LLM support matrix (no FP8 and FP4 on Orin)",
    "ort-wheel": "onnxruntime-gpu 1.31.1 for aarch64, opened: kernels for 8.9, 9.0, 12.0 and 12.1 alone, no PTX",
    "rtx": "TensorRT-RTX 1.7.1: its list of compute capabilities (7.5, 8.0, 8.6, 8.9, 12.0, 12.1)",
}


@dataclass(frozen=True)
class Release:
    """A JetPack release. `python` and `glibc` are those of its Ubuntu; `l4t` the Linux for Tegra under it."""

    version: str
    l4t: str
    tensorrt: str
    cuda: str
    python: str
    glibc: str
    source: str

    @property
    def strongly_typed(self) -> bool:
        """Whether its TensorRT knows networks whose types are the graph's."""
        return not self.tensorrt.startswith("8.")


#: Oldest first. 7.2.2's own TensorRT is 10.16; 11.4.1 may be installed over it on the boards that have it in `tensorrt_11`.
RELEASES = (
    Release("6.0", "36.3", "8.6.2", "12.2", "3.10", "2.35", "jp6.0"),
    Release("6.1", "36.4.0", "10.3.0", "12.6", "3.10", "2.35", "jp6"),
    Release("6.2", "36.4.3", "10.3.0", "12.6", "3.10", "2.35", "jp6"),
    Release("7.0", "38.2", "10.13.3", "13.0", "3.12", "2.39", "jp7.0"),
    Release("7.1", "38.4", "10.13.3", "13.0", "3.12", "2.39", "jp7.1"),
    Release("7.2", "39", "10.16.2", "13.2", "3.12", "2.39", "jp7.2"),
    Release("7.2.2", "39", "10.16.2", "13.2", "3.12", "2.39", "trt-11.4.1"),
)


@dataclass(frozen=True)
class Board:
    """model        how /proc/device-tree/model names it, a regular expression
    memory       bytes that CPU and GPU share, of its largest module
    workspace    most scratch memory an engine may take, bytes: ours, about a tenth of the memory
    releases     of JetPack that run on it
    dla          how many deep learning accelerators its modules have, for people
    """

    name: str
    title: str
    model: str
    capability: str
    memory: int
    workspace: int
    releases: tuple[str, ...]
    jetpack: str
    dla: str
    tensorrt_11: bool
    source: str


_ORIN = ("6.0", "6.1", "6.2", "7.2", "7.2.2")

BOARDS = {
    board.name: board
    for board in (
        Board("orin-nano", "Jetson Orin Nano", r"orin nano", "8.7", 8 * _GIB, 768 * _MIB, _ORIN, "6.2", "none", False, "orin"),
        Board("orin-nx", "Jetson Orin NX", r"orin nx", "8.7", 16 * _GIB, 1536 * _MIB, _ORIN, "6.2", "1 or 2", False, "orin"),
        Board("agx-orin", "Jetson AGX Orin", r"agx orin", "8.7", 64 * _GIB, 6 * _GIB, _ORIN, "6.2", "2", True, "orin"),
        Board("thor", "Jetson Thor", r"thor", "11.0", 128 * _GIB, 12 * _GIB, ("7.0", "7.1", "7.2", "7.2.2"), "7.1", "none",
              True, "thor"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """What can't be had on some boards. `choice` is how it is asked for: `ACCELERATOR:dla`, `PRECISION:fp8`, ...

    releases   of JetPack that it holds for; empty for all
    """

    choice: str
    boards: tuple[str, ...]
    reason: str
    instead: str
    source: str
    releases: tuple[str, ...] = ()


_ALL, _ORINS = tuple(BOARDS), ("orin-nano", "orin-nx", "agx-orin")

REFUSALS = (
    Refusal("accelerator:dla", ("thor",), "Thor has no DLA", "leave --accelerator out: the GPU is faster", "trt-11.4.1"),
    Refusal("accelerator:dla", ("orin-nano",), "Orin Nano has no DLA", "leave --accelerator out, for the GPU", "orin"),
    Refusal("accelerator:dla", ("orin-nx", "agx-orin"),
            "attention does not run on a DLA, which takes fp16 and int8 at one fixed shape; engines for it are not made here",
            "leave --accelerator out, for the GPU", "trt-11.4.1"),
    Refusal("precision:fp8", _ORINS, "its GPU (8.7) has no FP8", "take fp16", "edge-llm"),
    Refusal("precision:fp4", _ORINS, "its GPU (8.7) has no FP4", "take fp16", "edge-llm"),
    Refusal("precision:bf16", _ORINS, "TensorRT 8.6 has no bfloat16", "take fp16, or a board with JetPack 6.2", "jp6.0",
            ("6.0",)),
    Refusal("engine:rtx", _ALL, "TensorRT-RTX does not run on a Jetson's GPU", "leave --engine out: JetPack has TensorRT",
            "rtx"),
    Refusal("engine:onnxruntime-cuda", _ALL,
            "PyPI's onnxruntime-gpu for aarch64 has no kernels for this GPU, and no PTX to make them from",
            "leave --engine out, for TensorRT, or take a wheel built for the board (attn-run doctor names the index)",
            "ort-wheel"),
)  # fmt: skip


def find_board(name: str) -> Board:
    """The board `name`. UsageError for another."""
    if name not in BOARDS:
        raise UsageError(f'unknown board "{name}"; {did_you_mean(name, BOARDS)}available: {", ".join(BOARDS)}')
    return BOARDS[name]


def find_release(version: str) -> Release | None:
    """The newest release that `version` is, or is a later patch of: "6.2.1" is a 6.2."""
    parts = version.split(".")
    fitting = [r for r in RELEASES if parts[: len(r.version.split("."))] == r.version.split(".")]
    return fitting[-1] if fitting else None


def release_for(board: Board, version: str | None) -> Release:
    """The JetPack release to prepare for; the board's usual one when None. UsageError where they don't go together."""
    found = find_release(version or board.jetpack)
    known = ", ".join(board.releases)
    if version and version.partition(".")[0] in ("4", "5"):
        raise UsageError(
            f"JetPack {version} has TensorRT {'8.5' if version[0] == '5' else '8.2'} and Python 3.8 or older, and attn-runtime "
            f"needs Python 3.10; {board.title} takes JetPack {known}"
        )
    if found is None:
        raise UsageError(
            f'unknown JetPack "{version}"; {did_you_mean(version or "", known.split(", "))}for {board.title}: {known}'
        )
    if found.version not in board.releases:
        raise UsageError(f"{board.title} does not run JetPack {version}; it takes {known}")
    return found


def refuse(board: Board, release: Release, choice: str) -> None:
    """UsageError with the reason where `choice` can't be had on that board with that release."""
    for refusal in REFUSALS:
        if (
            refusal.choice == choice
            and board.name in refusal.boards
            and release.version in (refusal.releases or RELEASED)
        ):
            kind, _, what = choice.partition(":")
            raise UsageError(
                f"--{kind} {what}: {board.title} with JetPack {release.version}: {refusal.reason}; {refusal.instead} "
                f"(source: {SOURCES[refusal.source]})"
            )


RELEASED = tuple(release.version for release in RELEASES)


def choices(kind: str) -> Iterator[str]:
    """What of that kind the table knows and refuses somewhere, once each."""
    yield from dict.fromkeys(r.choice.partition(":")[2] for r in REFUSALS if r.choice.startswith(f"{kind}:"))


def board_of(model: str | None) -> Board | None:
    """The board that /proc/device-tree/model names; None for another maker's, or one that is not in the table."""
    named = [board for board in BOARDS.values() if model and re.search(board.model, model, re.IGNORECASE)]
    return named[0] if named else None
