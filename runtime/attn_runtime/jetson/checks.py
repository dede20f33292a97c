"""What has to hold before anything is built on a board: each check with its verdict, and what to do where it fails."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle import sha256_of
from ..escape import printable
from ..text_format import bytes_text
from ..trt import version_tuple
from .boards import BOARDS, Board, board_of, find_release
from .deploy_manifest import Order
from .memory import available_memory

#: Bytes that have to be free on the disk beside what the engines take.
_DISK = 256 * 2**20


@dataclass(frozen=True)
class Check:
    """`state` is "ok", "note" (worth knowing, and no reason to stop) or "fail"."""

    name: str
    state: str
    told: str


def check_files(folder: Path, order: Order) -> Check:
    """Every file that deploy.json lists is there as it was made; the bundle has a manifest of its own."""
    wrong = []
    for name, digest in order.files.items():
        try:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                wrong.append(f"{name} is a link out of the folder")
            elif sha256_of(folder / name) != digest:
                wrong.append(f"{name} was changed")
        except OSError as error:
            wrong.append(f"{name} can't be read ({error.strerror})")
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return Check("files", "fail", f"{wrong[0]}{more}; copy the whole folder to the board again")
    return Check("files", "ok", f"{len(order.files)} files are as deploy made them")


def check_machine(
    found: Mapping[str, Any], order: Order, on_gpu: bool, any_board: bool, root: Path, folder: Path, weights: int
) -> Iterator[Check]:
    """`found` is what attn-run doctor tells; `weights` the bytes of the graphs to build."""
    asked = BOARDS[order.board]
    yield _board(found, asked, any_board)
    yield _jetpack(found, order)
    yield Check("python", "ok", found["python"])
    if on_gpu:
        yield from _gpu(found, asked, any_board)
    else:
        yield _cpu(found)
    yield _memory(root)
    yield _disk(folder, weights)
    yield _power()


def _board(found: Mapping[str, Any], asked: Board, any_board: bool) -> Check:
    jetpack = found["jetpack"]
    if jetpack is None:
        told, here = "this is no Jetson", None
    else:
        here = board_of(jetpack["board"])
        told = f"this is {printable(jetpack['board'] or 'a board that does not tell its model')}"
    if here is asked:
        return Check("board", "ok", told)
    advice = f"deploy again with --board {here.name}" if here else f"the folder was made for {asked.title}"
    told = f"{told}, and the folder was made for {asked.title}" if here else f"{told}, and {advice}"
    if any_board:
        return Check("board", "note", f"{told}; gone on with because of --any-board")
    return Check("board", "fail", f"{told}; {advice if here else 'run it there'}, or try it here with --any-board")


def _jetpack(found: Mapping[str, Any], order: Order) -> Check:
    version = (found["jetpack"] or {}).get("version")
    if version is None:
        return Check("JetPack", "note", f"not told by this system; the folder was made for {order.jetpack}")
    if int(version.partition(".")[0]) < 6:
        return Check(
            "JetPack", "fail", f"{version} has a TensorRT and a Python that are too old; flash JetPack 6.2 or newer"
        )
    known = find_release(version)
    if known is not None and known.version == order.jetpack:
        return Check("JetPack", "ok", version)
    return Check(
        "JetPack",
        "note",
        f"{version}, the folder was made for {order.jetpack}; what is built follows the TensorRT here",
    )


def _gpu(found: Mapping[str, Any], asked: Board, any_board: bool) -> Iterator[Check]:
    gpu = next(iter(found["gpus"]), None)
    if gpu is None:
        yield Check("GPU", "fail", f"{found['gpu_problem']}; in a container, start it with --runtime nvidia")
    elif gpu["compute_capability"] != asked.capability and not any_board:
        yield Check("GPU", "fail", f"{printable(gpu['name'])} has compute capability {gpu['compute_capability']}, "
                                   f"{asked.title} has {asked.capability}; try it all the same with --any-board")  # fmt: skip
    else:
        yield Check("GPU", "ok", f"{printable(gpu['name'])}, compute capability {gpu['compute_capability']}")
    trt = next(state for state in found["tensorrt"] if state["flavour"] == "tensorrt")
    problem = trt["problem"] or trt["why_no_build"] or trt["why_no_run"]
    if problem:
        advice = "; ".join(line for line in found["advice"] if "TensorRT engines" in line)
        yield Check(
            "TensorRT",
            "fail",
            f"{problem}{f' ({advice})' if advice else ''}; or run on the CPU: ./setup.sh --device cpu",
        )
    elif version_tuple(trt["version"]) < (10,):
        yield Check(
            "TensorRT", "note", f"{trt['version']} has no strongly typed networks: fp32 alone, or fp16 with --weak-fp16"
        )
    else:
        yield Check("TensorRT", "ok", f"{trt['version']}, networks are strongly typed")


def _cpu(found: Mapping[str, Any]) -> Check:
    ort = next(state for state in found["backends"] if state["name"] == "ort")
    problem = ort["problems"]["cpu"]
    return Check(
        "ONNX Runtime", "fail" if problem else "ok", problem or f"onnxruntime {found['packages']['onnxruntime']}, CPU"
    )


def _memory(root: Path) -> Check:
    available = available_memory(root)
    if available is None:
        return Check("memory", "note", "the system does not tell what is free")
    return Check("memory", "ok", f"{bytes_text(available)} free, CPU and GPU together")


def _disk(folder: Path, weights: int) -> Check:
    free, needed = shutil.disk_usage(folder).free, 3 * weights + _DISK
    if free < needed:
        return Check(
            "disk", "fail", f"{bytes_text(free)} free in {folder}, engines and report take about {bytes_text(needed)}"
        )
    return Check("disk", "ok", f"{bytes_text(free)} free")


def _power() -> Check:
    """The power mode, without which no time means anything."""
    tool = shutil.which("nvpmodel")
    try:
        said = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=10).stdout if tool else ""
    except (OSError, subprocess.SubprocessError):
        said = ""
    modes = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("NV Power Mode")]
    if not modes:
        return Check("power mode", "note", "not told (nvpmodel -q); times depend on it")
    return Check("power mode", "note", f"{printable(modes[0])}; for steady times: sudo jetson_clocks")
