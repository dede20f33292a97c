"""The C++ readers refuse what the Python readers refuse: with the same status, for the same place of the bundle."""

from __future__ import annotations

import json
import resource
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.bundle.manifest import check_manifest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError
from attn_runtime.files.strict_json import parse_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from support.checks.message_places import is_one_line, place
from support.graphs.hostile_generators import ATTACKS as GENERATOR_ATTACKS
from support.graphs.hostile_generators import make_generator_bundle
from support.graphs.make_hostile_bundles import ATTACKS, make_hostile_bundles
from support.graphs.manifest_strategies import mutated

BUNDLE_STATUS = 8


def python_says(path: Path) -> str:
    """What reading all that a bundle offers raises in Python; "" where it raises nothing."""
    try:
        bundle = Bundle.open(path)
        for graph in bundle.graphs.values():
            for _ in graph.cases():
                pass
        for name in bundle.manifest["assets"]:
            bundle.asset(name)
    except BundleError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def reader(cpp_build: Path) -> Path:
    """The C++ readers on a command line: one line of JSON for each answer."""
    return cpp_build / "tests" / "attn_read_bundles"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A bundle per attack, those on generators too, and the valid ones that they were made from."""
    folder = make_hostile_bundles(tmp_path_factory.mktemp("hostile") / "bundles")
    made = [folder / f"{attack.name}.attn" for attack in ATTACKS if attack.stage != "engine"]
    base = make_generator_bundle(tmp_path_factory.mktemp("generators") / "base.attn")
    for attack in GENERATOR_ATTACKS:
        path = shutil.copytree(base, base.parent / f"{attack.name}.attn")
        attack.make(path)
        made.append(path)
    return [folder / "base.attn", base, *made]


def test_every_attack_is_refused_alike(reader: Path, hostile: list[Path]) -> None:
    done = subprocess.run([reader, "bundles", *hostile], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    taken = set()
    for path, answer in zip(hostile, answers, strict=True):
        message = answer["message"]
        assert (bool(message), place(message)) == (bool(wanted := python_says(path)), place(wanted)), (message, wanted)
        assert answer["status"] == (BUNDLE_STATUS if message else 0)
        assert is_one_line(message)
        if not message:
            taken.add(path.stem)
    # What a generator alone looks at is for the tests of generation.
    assert taken <= {"base", *(attack.name for attack in GENERATOR_ATTACKS if attack.stage == "generation")}


def test_attacks_do_not_exhaust_memory(reader: Path, hostile: list[Path]) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20,) * 2)

    done = subprocess.run([reader, "bundles", *hostile], capture_output=True, timeout=120, preexec_fn=limit)
    assert done.returncode == 0, done.stderr.decode()
    assert b"out of memory" not in done.stdout


@pytest.fixture(scope="module")
def manifests(reader: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that answers documents one at a time."""
    with subprocess.Popen([reader, "manifests"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process


def says(process: subprocess.Popen[bytes], document: bytes) -> str:
    to, back = process.stdin, process.stdout
    assert to is not None and back is not None
    to.write(struct.pack("<I", len(document)) + document)
    to.flush()
    answer = json.loads(back.readline())
    message: str = answer["message"]
    assert answer["status"] == (BUNDLE_STATUS if message else 0) and is_one_line(message)
    return message


def python_says_of(document: bytes) -> str:
    try:
        check_manifest(parse_json(document, "bundle a.attn: manifest.json"), "bundle a.attn")
    except BundleError as error:
        return str(error)
    return ""


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutated(), st.booleans())
def test_any_manifest_is_judged_alike(manifests: subprocess.Popen[bytes], manifest: Any, escaped: bool) -> None:
    document = json.dumps(manifest, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    ours, pythons = says(manifests, document), python_says_of(document)
    assert (bool(ours), place(ours)) == (bool(pythons), place(pythons)), (ours, pythons)


_TOKENS = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 50,
    b'"\\ud800"',
    b"\\u0000",
    b"[" * 5000,
    b'{"a":' * 5000,
    b"\xff",
    b"\xef\xbb\xbf",
]
_TOKENS += [
    b"\0",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"-",
    b"true",
    b'"files":{},',
    b"1.0",
    b"-0",
    b"\xed\xa0\x80",
    b" ",
    b"\n",
    b"/*",
    b"\x7f",
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mutated(),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(_TOKENS) | st.binary(max_size=3)), min_size=1, max_size=3),
)
def test_any_text_is_judged_alike(
    manifests: subprocess.Popen[bytes], manifest: Any, spoilt: list[tuple[float, bytes]]
) -> None:
    document = json.dumps(manifest, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for share, token in spoilt:
        at = int(share * len(document))
        document = document[:at] + token + document[at:]
    ours, pythons = says(manifests, document), python_says_of(document)
    assert bool(ours) == bool(pythons)
    # Of two faults, the parsers may come upon one first or the other; what is no JSON at all has no place in it.
    if not any(fault in ours + pythons for fault in ("is not JSON", "is not UTF-8", "is no JSON number")):
        assert place(ours) == place(pythons), (ours, pythons)


#: Below 2**63: beyond it, safetensors takes a size where another is 0, and no array can have it.
_NUMBERS = st.integers(-1, 40) | st.sampled_from([2**31, 2**40, 2**62])
_ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BOOL", "I64", "U64", "F32", "U8", "BF16", "F4", "X"]),
        "shape": st.lists(st.integers(0, 4) | _NUMBERS, max_size=3),
        "data_offsets": st.tuples(st.just(0) | _NUMBERS, _NUMBERS),
    }
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from("xyz"), _ENTRIES, max_size=3), st.integers(0, 64)),
        min_size=20,
        max_size=20,
    )
)
def test_tensor_files_are_judged_as_safetensors_does(
    reader: Path, tmp_path: Path, headers: list[tuple[dict[str, Any], int]]
) -> None:
    files = []
    for index, (header, size) in enumerate(headers):
        for one in (header, _laid_out(header)):
            text = json.dumps(one).encode()
            end = max((entry["data_offsets"][1] for entry in one.values()), default=size)
            data = bytes(end if 0 <= end < 4096 and one is not header else size)
            files.append(tmp_path / f"{index}{one is header}.safetensors")
            files[-1].write_bytes(struct.pack("<Q", len(text)) + text + data)
    done = subprocess.run([reader, "tensors", *files], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    for file, line in zip(files, done.stdout.splitlines(), strict=True):
        message = json.loads(line)["message"]
        assert ("which no bundle holds" in message or not message) == _is_safetensors(file), (
            file.read_bytes(),
            message,
        )


def _laid_out(header: dict[str, Any]) -> dict[str, Any]:
    """The same tensors one behind the other, where their shapes allow it: most of these are valid."""
    bits = {"F32": 32, "F16": 16, "BOOL": 8, "I64": 64, "U64": 64, "U8": 8, "BF16": 16}
    at, laid = 0, {}
    for name, entry in header.items():
        size = bits.get(entry["dtype"], 8) // 8
        for n in entry["shape"]:
            size *= n
        laid[name] = entry | {"data_offsets": (at, at + size)}
        at += size
    return laid


def _is_safetensors(file: Path) -> bool:
    try:
        with safe_open(file, framework="np"):
            return True
    except SafetensorError:
        return False
