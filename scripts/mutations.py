"""What the tests catch: 25 small bugs, put into the packages one at a time, and whether a test fails for each.

    python scripts/mutations.py                             all of them, some five minutes
    python scripts/mutations.py --only beam --only audio    some of them; part of a name will do
    python scripts/mutations.py --root ../other --json before.json

Meant to be run before and after a change that moves code and tests, to see that no protection went missing on the way. So a
mutation names no file: it is a snippet of arithmetic, a comparison or a slice, which one file of a package holds, and holds once.
Tests are named by function, and by file as it is called now or was before, and found wherever they lie under the package's tests;
where all are gone, or none fails, the package's whole folder is run. A test that failed is run again on the unchanged code, where
it must pass: what fails there as well has caught nothing.

Files are changed in place and put back, whatever happens short of a SIGKILL. Tests that run the C++ library build it; a
root without the tools for that (`make cpp-tests` brings them) can't run its mutations. Whether the
library is built decides what Python's sessions on a CPU run on, so compare roots that both have it or both lack it.

The exit code is the number of mutations that no test caught.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUNTIME, MODELS, EXPORT, CPP = "runtime/attn_runtime", "models/attn_models", "export/attn_export", "runtime/cpp/src"
#: Where the tests of a package lie.
TESTS = {RUNTIME: "tests/runtime", MODELS: "tests/models", EXPORT: "tests/export", CPP: "tests/cpp"}
SOURCES = (".py", ".cpp", ".h")
HINTS_SECONDS, FOLDER_SECONDS = 300, 600


@dataclass(frozen=True)
class Mutation:
    """A bug. `old` becomes `new` in the one file of `package` that holds it.

    breaks    what it does, in words
    tests     that should notice: functions, which are tried first, and files
    keyword   pytest's -k for the files, where they take long
    """

    name: str
    package: str
    breaks: str
    old: str
    new: str
    tests: tuple[str, ...]
    keyword: str = ""


MUTATIONS = (
    Mutation(
        "compare-infinity",
        RUNTIME,
        "minus infinity passes for plus infinity",
        "np.isinf(wide_expected) & (wide_expected == wide_got)",
        "np.isinf(wide_expected) & np.isinf(wide_got)",
        ("test_infinities", "test_compare.py"),
    ),
    Mutation(
        "spec-range",
        RUNTIME,
        "an input may be one longer than the graph was checked for",
        "if not dim.min <= size <= dim.max:",
        "if not dim.min <= size <= dim.max + 1:",
        ("test_plain_file_with_specs_inside", "test_spec.py", "test_session.py"),
    ),
    Mutation(
        "bundle-hash",
        RUNTIME,
        "hashes are left out when they are asked for",
        "if not check_hashes or known.get(",
        "if check_hashes or known.get(",
        ("test_attack_is_told_in_one_line", "test_hostile.py", "test_writer.py"),
    ),
    Mutation(
        "bundle-escape",
        RUNTIME,
        "a link may lead out of the bundle to a folder beside it",
        ".is_relative_to(root)",
        ".is_relative_to(root.parent)",
        ("test_attack_is_told_in_one_line", "test_hostile.py", "test_reader.py"),
    ),
    Mutation(
        "engine-key-gpu",
        RUNTIME,
        "an engine for another kind of GPU counts as fitting",
        "if capability is not None and capability not in",
        "if capability is None and capability not in",
        ("test_an_engine_that_does_not_fit", "test_engine_key.py", "test_engine_files.py"),
    ),
    Mutation(
        "profile-coverage",
        RUNTIME,
        "a profile covers every golden case that is not too small",
        "all(a <= size <= b for",
        "all(a <= size for",
        ("test_a_golden_case_outside_is_named", "test_profiles.py"),
    ),
    Mutation(
        "cache-reorder",
        RUNTIME,
        "beams overwrite a row of the cache that another one still has to read",
        "if parent in waiting and not readers[parent]:",
        "if parent in waiting:",
        ("test_a_padded_batch_answers_as_hugging_face_does", "test_kv_cache.py", "test_beam.py"),
    ),
    Mutation(
        "sampling-top-p",
        RUNTIME,
        "top_p leaves one token more than it should",
        'side="left")) + 1',
        'side="left")) + 2',
        ("test_what_is_left_of_the_distribution", "test_sampling.py"),
    ),
    Mutation(
        "audio-centred",
        RUNTIME,
        "of an odd number of zeros around a recording, one more lies in front",
        "(length - len(samples)) // 2",
        "(length - len(samples) + 1) // 2",
        ("test_a_short_recording_is_padded_on_both_sides", "test_audio.py"),
    ),
    Mutation(
        "atomic-order",
        RUNTIME,
        "a graph is put in place before its weights, so a killed run leaves it beside old ones",
        "key=lambda name: (name == self.target.name, name)",
        "key=lambda name: (name != self.target.name, name)",
        ("test_onnx_file_and_data_fail_together", "test_writer_killed.py", "test_writer.py"),
    ),
    Mutation(
        "corner-shapes",
        EXPORT,
        "the corner with one dim low and the others high is not checked",
        "if n == chosen.name else d.max for",
        "if n == chosen.name else d.opt for",
        ("test_three_dims_each_stand_alone_against_the_others", "test_shape_cases.py"),
    ),
    Mutation(
        "padding-mask",
        EXPORT,
        "what is added to find out whether a mask hides padding is masked the other way round",
        "[..., size:] = padding",
        "[..., size:] = not padding",
        ("test_the_longer_case_starts_with_the_case_and_goes_on_with_anything_but_masked", "test_padding.py"),
    ),
    Mutation(
        "pass-border",
        EXPORT,
        "a pass may fix a dynamic axis of an input or output",
        'a != b and (isinstance(a, int) or kind == "inputs" or declared & _names(a)):',
        "a != b and isinstance(a, int):",
        ("test_a_pass_that_breaks_its_contract_is_named", "test_simplify.py", "test_base.py"),
    ),
    Mutation(
        "attention-parts",
        EXPORT,
        "the last elements of a value get no head where the head size is no divisor",
        "-(-dv // size)",
        "dv // size",
        ("test_the_answers_stay", "test_rewrite.py"),
    ),
    Mutation(
        "shared-weights-place",
        EXPORT,
        "weights in the shared file are not aligned",
        "-file.tell() % align",
        "file.tell() % align",
        ("test_large_tensors_begin_at_a_page_and_small_ones_stay_in_their_graph", "test_shared_weights.py"),
    ),
    Mutation(
        "emulation-fused",
        EXPORT,
        "half precision is tried only with a rounding behind every operator, never without",
        "if not between or node.op_type in",
        "if node.op_type in",
        ("test_what_holds_only_by_rounding_does_not_hold", "test_fp32_search.py"),
    ),
    Mutation(
        "tolerance-limit",
        EXPORT,
        "a relative tolerance of 1 is accepted, under which a graph of zeros equals PyTorch",
        "0 <= tolerance.rtol < 1)",
        "0 <= tolerance.rtol <= 1)",
        ("test_opset_and_passes_are_the_users_choice",),
    ),
    Mutation(
        "triton-batching",
        EXPORT,
        "Triton is told to send single requests to a graph that needs two rows",
        "first.min > 1 or first.max < 2",
        "first.max < 2",
        ("test_what_can_be_batched", "test_repository_maker.py"),
    ),
    Mutation(
        "cached-step-scale",
        MODELS,
        "the language model's step with a cache does not scale its scores, its whole forward does",
        "self.shared, self.head_size) * self.head_size**-0.5",
        "self.shared, self.head_size)",
        ("test_with_a_cache_it_answers_as_without", "test_lm.py"),
    ),
    Mutation(
        "metric-sensitivity",
        MODELS,
        "sensitivity and specificity are exchanged",
        '"sensitivity": recall[positive], "specificity": recall[negative]',
        '"sensitivity": recall[negative], "specificity": recall[positive]',
        ("test_the_test_split_is_looked_at_once_and_in_batches", "test_scans.py", "test_training.py"),
    ),
    Mutation(
        "data-split",
        MODELS,
        "digits are validated on shares of the classes that are left to chance",
        "test_size=VALIDATION_SIZE, stratify=targets[train], ",
        "test_size=VALIDATION_SIZE, ",
        ("test_digits.py",),
    ),
    Mutation(
        "cpp-compare-infinity",
        CPP,
        "in C++ any number passes for infinity",
        "(std::isinf(a) && a == b)",
        "std::isinf(a)",
        ("test_gtest.py",),
        "running",
    ),
    Mutation(
        "cpp-safetensors-gap",
        CPP,
        "C++ reads a tensor file with bytes that belong to no tensor",
        "if (begin != at)",
        "if (begin < at)",
        ("test_gtest.py", "test_hostile_cpp.py"),
    ),
    Mutation(
        "cpp-sha256-portable",
        CPP,
        "sha256 is wrong on processors without instructions for it",
        "(w[i - 2] >> 10)",
        "(w[i - 2] >> 11)",
        ("test_gtest.py",),
        "reading",
    ),
    Mutation(
        "cpp-beam-early-stop",
        CPP,
        "beam search in C++ ends as soon as it has enough answers, asked to or not",
        "(full && settings_.early_stop)",
        "full",
        ("test_gtest.py", "test_generation_cpp.py"),
        "generati",
    ),
)


@dataclass(frozen=True)
class Result:
    """What became of one mutation.

    outcome   "caught", "survived", "time limit" (the tests did not end) or "error"
    by        the test that failed, or the reason
    scope     which tests were run last: the hints, or the package's whole folder
    """

    name: str
    package: str
    file: str
    breaks: str
    outcome: str
    by: str
    scope: str
    seconds: float


class MutationError(Exception):
    """A mutation that can't be tried, or says nothing."""


def place_of(mutation: Mutation, root: Path) -> Path:
    """The one file that holds the snippet, once. Raises MutationError."""
    files = sorted(f for f in (root / mutation.package).rglob("*") if f.suffix in SOURCES and "lib" not in f.parts)
    held = {f: n for f in files if (n := f.read_text(encoding="utf-8").count(mutation.old))}
    if sum(held.values()) != 1:
        places = ", ".join(f"{f.relative_to(root)} ({n})" for f, n in held.items()) or "nowhere"
        raise MutationError(f"expected `{mutation.old}` once in {mutation.package}, found it in: {places}")
    return next(iter(held))


@contextmanager
def mutated(file: Path, mutation: Mutation) -> Iterator[None]:
    """`file` with the bug, and as it was again afterwards."""
    before, state = file.read_bytes(), file.stat()
    try:
        file.write_bytes(before.replace(mutation.old.encode(), mutation.new.encode()))
        yield
    finally:
        file.write_bytes(before)
        if file.suffix == ".py":
            # So that what Python compiled of it counts. A C++ file is left as new: its object is of the bug.
            os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def environment(root: Path) -> dict[str, str]:
    """That of the tests: the packages of `root`, whatever is installed, and no compiled files left behind."""
    packages = os.pathsep.join(str(root / Path(package).parent) for package in (RUNTIME, MODELS, EXPORT))
    return {**os.environ, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def check_root(root: Path) -> None:
    """MutationError unless the tests of `root` would import its own packages."""
    code = "import attn_runtime, attn_models, attn_export as e; print(*(m.__file__ for m in (attn_runtime, attn_models, e)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(root), cwd=root, capture_output=True, text=True)
    for file in done.stdout.split():
        if not Path(file).is_relative_to(root):
            raise MutationError(f"{sys.executable} would import {file}, which is not of {root}")
    if done.returncode:
        raise MutationError(f"the packages of {root} can't be imported: {done.stderr[-2000:]}")


@dataclass(frozen=True)
class Ran:
    """A run of pytest: its exit code, None where it took too long, and the first test that failed."""

    code: int | None
    failed: str
    output: str


def pytest(root: Path, arguments: Sequence[str], seconds: float) -> Ran:
    """Up to the first failure; with all its children ended when the time is over."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *arguments]
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return Ran(None, "", "")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return Ran(process.returncode, failed[1] if failed else "", output)


def hints(mutation: Mutation, root: Path) -> Iterator[list[str]]:
    """Arguments for pytest that run the tests which should notice: functions, then files; none that are not there."""
    folder = root / TESTS[mutation.package]
    functions = [
        f"{file.relative_to(root)}::{name}"
        for file in sorted(folder.rglob("test_*.py"))
        for name in mutation.tests
        if re.search(rf"^def {re.escape(name)}\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    if functions:
        yield functions
    files = sorted({str(f.relative_to(root)) for name in mutation.tests for f in folder.rglob(name)})
    if files:
        yield [*files, *(["-k", mutation.keyword] if mutation.keyword else [])]


def attempt(mutation: Mutation, file: Path, root: Path, arguments: Sequence[str], seconds: float) -> tuple[str, str]:
    """(outcome, by) with these tests. Raises MutationError where pytest itself fails, or the test fails without the bug too."""
    with mutated(file, mutation):
        ran = pytest(root, arguments, seconds)
    if ran.code is None:
        return "time limit", f"{' '.join(arguments)} did not end within {seconds:.0f} s"
    if ran.code in (0, 5):  # 5: nothing was there to run
        skipped = re.findall(r"^SKIPPED .*missing.*$", ran.output, re.MULTILINE)
        if mutation.package == CPP and skipped:
            raise MutationError(skipped[0])
        return "survived", "no test failed" if ran.code == 0 else "no test was there"
    if "ninja: build stopped" in ran.output:
        raise MutationError(f"it does not compile: {' '.join(re.findall(r'error: .*', ran.output)[:1])}")
    if not ran.failed:
        raise MutationError(f"pytest {' '.join(arguments)} ended with {ran.code}: {ran.output[-2000:]}")
    again = pytest(root, [ran.failed], seconds)
    if again.code != 0:
        raise MutationError(f"{ran.failed} fails without the bug, too: {again.output[-2000:]}")
    return "caught", ran.failed


def tried(mutation: Mutation, root: Path, folder_seconds: float) -> Result:
    """The hints first; where none of them fails, the package's whole folder of tests."""
    started = time.monotonic()
    file, scope, outcome, by = "", "hints", "survived", ""
    try:
        place = place_of(mutation, root)
        file = str(place.relative_to(root))
        for arguments in hints(mutation, root):
            outcome, by = attempt(mutation, place, root, arguments, HINTS_SECONDS)
            if outcome != "survived":
                break
        else:
            scope = TESTS[mutation.package]
            outcome, by = attempt(mutation, place, root, [scope], folder_seconds)
            if outcome == "time limit":
                outcome, by = "survived", f"no test failed, but {by}"
    except MutationError as error:
        outcome, by = "error", str(error)
    seconds = round(time.monotonic() - started, 1)
    return Result(mutation.name, mutation.package, file, mutation.breaks, outcome, by, scope, seconds)


def build_clean(root: Path) -> None:
    """The C++ library without the last bug, so that nobody runs it."""
    folder = root / "build" / "cpp" / "tests"
    if (folder / "build.ninja").is_file():
        subprocess.run(["cmake", "--build", str(folder)], check=True, stdout=subprocess.DEVNULL)


def chosen(only: Sequence[str]) -> list[Mutation]:
    """Mutations whose names hold one of `only`; all without."""
    found = [m for m in MUTATIONS if not only or any(part in m.name for part in only)]
    if not found:
        raise MutationError(
            f"no mutation is called {', '.join(only)}; there are {', '.join(m.name for m in MUTATIONS)}"
        )
    return found


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> int:
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout to mutate")
    parser.add_argument("--only", action="append", default=[], help="part of a mutation's name; may be repeated")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument(
        "--folder-seconds", type=float, default=FOLDER_SECONDS, help="limit for a package's whole folder"
    )
    options = parser.parse_args()
    root = options.root.resolve()
    signal.signal(signal.SIGTERM, interrupted)
    results: list[Result] = []
    mutations = chosen(options.only)
    check_root(root)
    started = time.monotonic()
    try:
        for mutation in mutations:
            results.append(tried(mutation, root, options.folder_seconds))
            last = results[-1]
            if options.json:
                options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n", encoding="utf-8")
            print(f"{last.outcome:10}  {last.name:22}  {last.seconds:6.1f} s  {last.by}", flush=True)
    finally:
        if any(m.package == CPP for m in mutations[: len(results) + 1]):
            build_clean(root)
    caught = sum(r.outcome == "caught" for r in results)
    print(f"{caught} of {len(results)} caught, {time.monotonic() - started:.0f} s")
    return len(results) - caught


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MutationError as problem:
        sys.exit(f"mutations: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
