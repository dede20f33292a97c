"""Tasks of one graph: classes, embeddings, entities, boxes, and the outputs as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....bundle import Bundle
from ....errors import AttnError, BundleError, InputError, UsageError
from ....preprocess import load_picture
from ....session import Session, open_session
from ....spec import TensorSpec
from ... import Classes, classified_by
from ...pictures import boxes_of, detection_assets
from ...text import TextRow, check_inputs, embedding_output, entities_of, expect_finite, output_of, pooled, softmax
from .batches import Batched, Reader, finite, not_finite
from .contract import RESERVED, Answer, Answering, Answers, Fields, Opening, Task, TaskOptions
from .fronts import PAIR, PICTURE, RECORDING, TEXT, FileFront, Front, Ready, TensorFront, TextFront, tensor_needs

Array = NDArray[Any]
#: What a task makes of an open session: how a row becomes its inputs, and what becomes of its outputs.
Made = Callable[[Session, TaskOptions], tuple[Front, Reader]]

#: Rows of a part, by what they are: texts are sorted by length within it; pictures are held in memory with it.
_TEXTS, _FILES = 8192, 256
_NEEDS = {"text": (TEXT, PAIR), "image": (PICTURE,), "audio": (RECORDING,)}


def _task(name: str, needs: Any, fields: Fields, make: Made, options: TaskOptions, part_rows: int) -> Task:
    @contextmanager
    def opened(how: Opening) -> Iterator[Answering]:
        with open_session(how.path, **how.of_session()) as session:
            yield Batched(session, *make(session, options), how.batch, fields)

    return Task(name, needs, fields, opened, part_rows)


def _kind(bundle: Bundle, task: str) -> str:
    """The asset that says how a row becomes an input."""
    kinds = [kind for kind in _NEEDS if bundle.asset(kind) is not None]
    if len(kinds) != 1:
        raise UsageError(
            f"bundle {bundle.path.name}: {task} needs one of {', '.join(_NEEDS)} among its assets, found "
            f"{', '.join(kinds) or 'none'}; --task outputs takes tensors"
        )
    return kinds[0]


def _front(session: Session, kind: str, options: TaskOptions, spans: bool = False) -> Front:
    if kind == "text":
        check_inputs(session)
        return TextFront(session, options.truncate, spans)
    return FileFront(session, kind)


def _rows_of(kind: str) -> int:
    return _TEXTS if kind == "text" else _FILES


def _each(rows: Sequence[Ready], make: Callable[[int, Ready], Answer]) -> Answers:
    found: list[Answer] = []
    for number, row in enumerate(rows):
        try:
            found.append(make(number, row))
        except InputError as error:
            found.append(error)
    return Answers.of_rows(found)


def _not_finite(session: Session, good: NDArray[np.bool_]) -> dict[int, AttnError]:
    """The errors of the rows that are not `good`."""
    return {} if good.all() else {int(number): not_finite(session) for number in np.flatnonzero(~good)}


# --- classes ------------------------------------------------------------------------------------------------------------


def classify_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """The likeliest class, and the `top` ones with their scores."""
    import pyarrow as pa

    kind = _kind(bundle, "classify")
    top = partial(_list_of, label=pa.string, score=pa.float64)
    fields = (("label", pa.string), ("score", pa.float64), ("top", top))
    return _task("classify", _NEEDS[kind], fields, _classifier, options, _rows_of(kind))


def _classifier(session: Session, options: TaskOptions) -> tuple[Front, Reader]:
    kind = classified_by(session)
    classes = Classes.of(session)
    assert classes is not None, "what is classified has labels"
    labels = np.array(classes.labels, object)

    def read(outputs: Mapping[str, Array], rows: Sequence[Ready]) -> Answers:
        good = np.ones(len(rows), bool)
        for value in outputs.values():
            if value.dtype.kind == "f" and value.ndim and len(value) == len(rows):
                good &= finite(value)
        kept = {
            name: value[good] if value.ndim and len(value) == len(rows) else value for name, value in outputs.items()
        }
        found = classes.best(kept, options.top)
        if found is None:
            raise UsageError(
                f"{session.where}: its output is no row of scores for each input; --task outputs takes any"
            )
        best, scores = found
        top = {"label": labels[best], "score": scores}
        first = {name: values[:, 0] for name, values in top.items()}
        return Answers({**first, "top": top}, _not_finite(session, good))

    return _front(session, kind, options), read


# --- embeddings ---------------------------------------------------------------------------------------------------------


def embed_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """A vector of each text, picture or recording."""
    import pyarrow as pa

    kind = _kind(bundle, "embed")
    fields = (("embedding", partial(pa.list_, pa.float32())),)
    return _task("embed", _NEEDS[kind], fields, partial(_embedder, kind), options, _rows_of(kind))


def _embedder(kind: str, session: Session, options: TaskOptions) -> tuple[Front, Reader]:
    spec = embedding_output(session, options.of, options.pooling)

    if options.pooling is not None and kind != "text":
        raise UsageError("pooling: is for texts, whose padding it leaves out; leave it out")

    def read(outputs: Mapping[str, Array], rows: Sequence[Ready]) -> Answers:
        values = outputs[spec.name].astype(np.float32)
        if options.pooling is not None:
            each = [pooled(_text_row(row), own, options.pooling) for own, row in zip(values, rows, strict=True)]
            values = np.stack(each)
        if options.normalize:
            values = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        good = finite(values)
        return Answers({"embedding": values[good]}, _not_finite(session, good))

    return _front(session, kind, options), read


def _text_row(row: Ready) -> TextRow:
    said, encoded = row.value
    return TextRow(said, None, encoded)


# --- entities -----------------------------------------------------------------------------------------------------------


def tag_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """What is marked in each text."""
    import pyarrow as pa

    parts = {"label": pa.string, "text": pa.string, "begin": pa.int64, "end": pa.int64, "score": pa.float64}
    return _task("tag", (TEXT,), (("entities", partial(_list_of, **parts)),), _tagger, options, _TEXTS)


def _tagger(session: Session, options: TaskOptions) -> tuple[Front, Reader]:
    output_of(session, "logits", ("batch", "length", "labels"), "labels no tokens")
    labels = session.asset("labels")
    if labels is None:
        raise UsageError(f"{session.where}: labels no tokens: it has no asset labels; --task outputs takes any")

    def one(outputs: Mapping[str, Array], number: int, row: Ready) -> Answer:
        said = _text_row(row)
        logits = outputs["logits"][number, : len(said.encoded.tokens)]
        expect_finite(session, said, logits)
        if logits.shape[1] != len(labels):
            raise BundleError(f"{session.where}: has {len(labels)} labels, its logits {logits.shape[1]} columns")
        found = entities_of(said, softmax(logits), labels)
        names = ("label", "text", "begin", "end")
        return {"entities": [{name: getattr(e, name) for name in names} | {"score": e.probability} for e in found]}

    return _front(session, "text", options, spans=True), lambda outputs, rows: _each(rows, partial(one, outputs))


# --- boxes --------------------------------------------------------------------------------------------------------------


def detect_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """What is where in each picture, in its pixels."""
    import pyarrow as pa

    edges = dict.fromkeys(("left", "top", "right", "bottom"), pa.float64)
    boxes = partial(_list_of, label=pa.string, score=pa.float64, **edges)
    fields = (("boxes", boxes), ("height", pa.int32), ("width", pa.int32))
    return _task("detect", (PICTURE,), fields, _detector, options, _FILES)


class _PictureFront(FileFront):
    """Keeps how large a picture was."""

    def ready(self, row: Mapping[str, Any]) -> Ready:
        made = super().ready(row)
        return Ready((load_picture(row["picture"]["content"]).shape[:2], made.value), made.key, made.length)

    def feed(self, rows: Sequence[Ready]) -> dict[str, Array]:
        return super().feed([Ready(row.value[1]) for row in rows])


def _detector(session: Session, options: TaskOptions) -> tuple[Front, Reader]:
    recipe, labels = detection_assets(session)

    def one(outputs: Mapping[str, Array], number: int, row: Ready) -> Answer:
        height, width = row.value[0]
        boxes = boxes_of(session, outputs, number, recipe, labels, (height, width), options.threshold)
        edges = ("label", "left", "top", "right", "bottom")
        told = [{name: getattr(box, name) for name in edges} | {"score": box.probability} for box in boxes]
        return {"boxes": told, "height": height, "width": width}

    return _PictureFront(session, "image"), lambda outputs, rows: _each(rows, partial(one, outputs))


# --- outputs ------------------------------------------------------------------------------------------------------------


def outputs_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """Every output of a graph, a row's part of it; its inputs are texts, pictures or recordings where the bundle says how, else
    the columns of their names."""
    graph = bundle.graph(opening.graph)
    where = bundle.label(graph)
    inputs, outputs = graph.borders(graph.chosen(opening.precision, where))
    if options.of is not None:
        outputs = tuple(spec for spec in outputs if spec.name == options.of)
        if not outputs:
            raise UsageError(
                f'of: got "{options.of}", {where} answers {", ".join(s.name for s in graph.outputs)}; name one'
            )
    kind = _kind_of_inputs(bundle, inputs)
    needs = _NEEDS[kind] if kind else tensor_needs(inputs, where)
    fields = tuple((_column(spec.name), partial(_nested, spec)) for spec in outputs)
    make = partial(_passer, kind, [spec.name for spec in outputs])
    return _task("outputs", needs, fields, make, options, _rows_of(kind or "tensors"))


def _passer(kind: str | None, names: Sequence[str], session: Session, options: TaskOptions) -> tuple[Front, Reader]:
    def read(outputs: Mapping[str, Array], rows: Sequence[Ready]) -> Answers:
        for name in names:
            if not outputs[name].ndim or len(outputs[name]) != len(rows):
                raise UsageError(
                    f"{session.where}: output {name} is {list(outputs[name].shape)}, no row for each of {len(rows)}; leave it "
                    "out by --of"
                )
        wide = {
            name: outputs[name].astype(np.float32) if outputs[name].dtype == np.float16 else outputs[name]
            for name in names
        }
        return Answers({_column(name): value for name, value in wide.items()}, {})

    return (_front(session, kind, options) if kind else TensorFront(session)), read


def _kind_of_inputs(bundle: Bundle, inputs: Sequence[TensorSpec]) -> str | None:
    """The asset by which texts, pictures or recordings give all inputs; None where tensors are given."""
    names = {spec.name for spec in inputs}
    for kind in _NEEDS:
        recipe = bundle.asset(kind)
        if recipe is not None and names == {recipe["input"], recipe.get("mask"), recipe.get("types")} - {None}:
            return kind
    return None


def _column(output: str) -> str:
    return f"output.{output}" if output in RESERVED else output


def _nested(spec: TensorSpec) -> Any:
    """Arrow's type of one row of an output."""
    import pyarrow as pa

    made = pa.from_numpy_dtype(np.dtype("float32" if spec.dtype == "float16" else spec.dtype))
    for _ in spec.dims[1:]:
        made = pa.list_(made)
    return made


def _list_of(**parts: Any) -> Any:
    import pyarrow as pa

    return pa.list_(pa.struct([(name, type_()) for name, type_ in parts.items()]))
