"""Run one file through a graph: arrays, an image or a recording in; every output, and the top classes where there are labels."""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import BundleError, InputError, OutputError, UsageError
from ..escape import printable
from ..files import bytes_or_path, check_file, irregular, reason, source_name, write_whole
from ..preprocess import kind_of, load_audio, load_image
from ..session import Session, open_session
from ..spec import odd_bool
from .apart import answer_or_error, check_time_limit, fields_of, run_apart

Array = NDArray[Any]


@dataclass(frozen=True)
class Guess:
    """One class of one row. `probability` is 0..1, or the number itself where the bundle's asset classification says "none";
    `label` is the index as text where the bundle has no labels."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class RunResult:
    """`top` has, per row of the batch, the likeliest classes first; it is None where the graph is no classifier.

    `scores` says what their numbers are, as Classification has it. `seconds` is the time of the call alone, the first of its
    session. `notes` say what was done to a recording to fit it.
    """

    outputs: Mapping[str, Array]
    top: tuple[tuple[Guess, ...], ...] | None
    backend: str
    device: str
    choice: str
    seconds: float
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    scores: str = "softmax"

    def to_json(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "device": self.device,
            "choice": self.choice,
            "passed_over": list(self.passed_over),
            "seconds": self.seconds,
            "notes": list(self.notes),
            "scores": self.scores,
            "top": None if self.top is None else [[vars(guess) for guess in row] for row in self.top],
            "outputs": {name: summary(value) for name, value in self.outputs.items()},
        }


def run_file(
    path: str | os.PathLike[str],
    file: str | os.PathLike[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    top: int = 5,
    output: str | os.PathLike[str] | None = None,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    time_limit: float | None = None,
) -> RunResult:
    """Run the bundle or ONNX file at `path` on `file`: an .npz of arrays by input name, a recording (.wav) or an image.
    "-" and /dev/stdin are read from stdin, and known by their first bytes.

    An image goes through the bundle's `image` asset, a recording through `audio`. Where the graph has one output of rank 2
    with a column for each of the bundle's labels, its softmax gives the `top` classes. `output` is an .npz that gets every
    output; it is written whole or not at all. `time_limit` is in seconds for all of it: the graph is then run in a process
    of its own, since one that loops for ever can't be ended in this one; None waits for as long as it takes. Raises
    InputError for a file that is damaged or does not fit the graph, UsageError for an image or a recording where the graph
    takes none, OutputError when `output` can't be written, StageError when the time is over, and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path, file=file)
    arguments.expect(arguments.WHOLE, top=top)
    arguments.expect(arguments.PATH | arguments.NONE, output=output, cache=cache)
    if output is not None and Path(output).suffix != ".npz":
        raise UsageError(f"output {output}: got suffix {Path(output).suffix or '(none)'}, expected .npz")
    if output is not None:
        check_file(Path(output))
    if top < 1:
        raise UsageError(f"top: got {top}, expected 1 or more")
    check_time_limit(time_limit)
    asked: dict[str, Any] = {
        "top": top,
        "graph": graph,
        "precision": precision,
        "threads": threads,
        "cache": None if cache is None else os.fspath(cache),  # it may go to another process
    }
    content = bytes_or_path(file, "input")
    if time_limit is None:
        result = _run(path, content, backend, device, **asked)
    else:
        result = _run_apart(path, content, time_limit, {"backend": backend, "device": device, **asked})
    if output is not None:
        write_whole(Path(output), lambda path: np.savez(path, **result.outputs))  # type: ignore[arg-type]
    return result


def _run(
    path: str | os.PathLike[str],
    file: Path | bytes,
    backend: str | None,
    device: str,
    *,
    top: int,
    **options: Any,
) -> RunResult:
    with open_session(path, device, backend, **options) as session:
        feed, notes = _load(file, session)
        started = time.perf_counter()
        outputs = session.run(feed)
        seconds = time.perf_counter() - started
        guesses = top_classes(session, outputs, top)
        told = session.backend, session.device, session.choice
        return RunResult(outputs, guesses, *told, seconds, notes, session.passed_over, scores_of(session))


def _run_apart(
    path: str | os.PathLike[str], file: Path | bytes, time_limit: float, asked: Mapping[str, Any]
) -> RunResult:
    """`_run` in a process of its own. The outputs come back as files: they may be large, and JSON has no float16."""
    with tempfile.TemporaryDirectory(prefix="attn-run-") as folder:
        if piped := isinstance(file, bytes):
            content, file = file, Path(folder, "piped")
            file.write_bytes(content)
        document = run_apart(
            f"{__name__}:run_here", f"running {printable(Path(path).name)}", time_limit,
            path=os.fspath(path), file=os.fspath(file), piped=piped, folder=folder, **asked,
        )  # fmt: skip
        names = document["outputs"]
        outputs = {name: np.load(Path(folder, f"{n}.npy"), allow_pickle=False) for n, name in enumerate(names)}
    top = document["top"]
    guesses = None if top is None else tuple(tuple(Guess(**guess) for guess in row) for row in top)
    return RunResult(**fields_of(RunResult, document) | {"outputs": outputs, "top": guesses})


def run_here(path: str, file: str, piped: bool, folder: str, **asked: Any) -> dict[str, Any]:
    """The task of the child process: the result as JSON, its outputs as 0.npy and so on in `folder`."""

    def ran() -> dict[str, Any]:
        result = _run(path, Path(file).read_bytes() if piped else Path(file), **asked)
        try:
            for number, value in enumerate(result.outputs.values()):
                np.save(Path(folder, f"{number}.npy"), value, allow_pickle=False)
        except OSError as error:
            raise OutputError(
                f"can't write outputs into {tempfile.gettempdir()}: {error.strerror}; make place, or name another one in TMPDIR"
            ) from None
        top = None if result.top is None else [[vars(guess) for guess in row] for row in result.top]
        return vars(result) | {"outputs": list(result.outputs), "top": top}

    return answer_or_error(ran)


def summary(value: Array) -> dict[str, Any]:
    """dtype, shape, and for numbers the least, mean and greatest of the finite ones and how many are not finite."""
    told: dict[str, Any] = {"dtype": value.dtype.name, "shape": list(value.shape)}
    numbers = value.astype(np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    if finite.size:
        told |= {"min": float(finite.min()), "mean": float(finite.mean()), "max": float(finite.max())}
    return {**told, "not_finite": int(numbers.size - finite.size)}


def _load(file: Path | bytes, session: Session) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Inputs by name, and what was done to the file to make them."""
    kind = kind_of(file)
    if kind == "arrays":
        return load_npz(file), ()
    if kind == "recording":
        recipe = _recipe(file, session, "audio", "a recording")
        (samples,) = (spec.dims[1] for spec in session.inputs)
        wave = load_audio(file, recipe, samples.min, samples.max)
        return {recipe["input"]: wave.samples}, wave.notes
    recipe = _recipe(file, session, "image", "an image")
    return {recipe["input"]: load_image(file, recipe)}, ()


def load_npz(file: Path | bytes) -> dict[str, Array]:
    """The arrays of an .npz, or of its content, by name. InputError where it is missing, damaged or holds one array without
    a name."""
    name = source_name(file)
    if problem := irregular(file) if isinstance(file, Path) else "":
        raise InputError(f"input file {file!s}: {problem}; give an .npz, saved with numpy.savez(file, NAME=array)")
    try:
        loaded = np.load(BytesIO(file) if isinstance(file, bytes) else file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputError(f"{name}: holds one array without a name. Save it with numpy.savez(file, NAME=array).")
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
        for array, value in arrays.items():
            if (byte := odd_bool(value)) is not None:
                raise InputError(f"input file {name}: {array} is bool and holds a byte {byte}, expected 0 and 1 alone")
        return arrays
    except FileNotFoundError:
        raise InputError(f"input file {file!s}: there is no such file.") from None
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"input file {name}: can't be read as .npz: {reason(error)}") from error


def _recipe(file: Path | bytes, session: Session, asset: str, what: str) -> Any:
    """The asset that says how `what` becomes the graph's only input."""
    names = [spec.name for spec in session.inputs]
    recipe = session.asset(asset)
    if recipe is None:
        raise UsageError(
            f"{source_name(file)}: {session.where} tells of no way from {what} to its inputs; give an .npz with "
            f"{', '.join(names)}"
        )
    if names != [recipe["input"]]:
        raise UsageError(
            f"{source_name(file)}: {what} is input {recipe['input']} only, {session.where} takes {', '.join(names)}; "
            f"give an .npz with all of them"
        )
    return recipe


def top_classes(session: Session, outputs: Mapping[str, Array], top: int) -> tuple[tuple[Guess, ...], ...] | None:
    """The likeliest classes of each row; None where the graph is no classifier: one output, beside attention weights."""
    classes = Classes.of(session)
    found = None if classes is None else classes.best(outputs, top)
    if classes is None or found is None:
        return None
    return tuple(
        tuple(Guess(int(i), classes.labels[i], float(score)) for i, score in zip(numbers, scores, strict=True))
        for numbers, scores in zip(*found, strict=True)
    )


@dataclass(frozen=True)
class Classes:
    """What a classifier's assets say of its output: read once for many calls."""

    labels: tuple[str, ...]
    scores: str
    maps: frozenset[str]
    where: str

    @classmethod
    def of(cls, session: Session) -> Classes | None:
        """None of a graph whose classes have no names."""
        labels = session.asset("labels")
        if labels is None:
            return None
        maps = frozenset(entry["output"] for entry in session.asset("attention_maps") or ())
        return cls(tuple(labels), scores_of(session), maps, session.where)

    def best(self, outputs: Mapping[str, Array], top: int) -> tuple[Array, Array] | None:
        """The likeliest classes of each row: their numbers, int64 [rows, top], and scores, float64 [rows, top]. None as in
        `top_classes`; BundleError where there are more or fewer labels than classes."""
        answers = {name: value for name, value in outputs.items() if name not in self.maps}
        if len(answers) != 1:
            return None
        (name, logits), = answers.items()  # fmt: skip
        if logits.ndim != 2 or logits.dtype.kind != "f":
            return None
        if logits.shape[1] != len(self.labels):
            raise BundleError(f"{self.where}: has {len(self.labels)} labels, its {name} {logits.shape[1]} columns.")
        if not np.isfinite(logits).all():
            return None  # no order among NaNs; the summary of the output tells how many there are
        probabilities = _SCORES[self.scores](logits.astype(np.float64))
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return best, np.take_along_axis(probabilities, best, axis=1)


def _softmax(logits: Array) -> Array:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _sigmoid(logits: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))  # without an overflow


_SCORES: Mapping[str, Callable[[Array], Array]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "none": lambda logits: logits,
}


def scores_of(session: Session) -> str:
    """What becomes of a class's score: softmax, sigmoid where several classes may hold at once, none where it is a measure."""
    recipe = session.asset("classification")
    return "softmax" if recipe is None else str(recipe["scores"])
