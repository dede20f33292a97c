"""What a model looked at: the right weights with the right words, cells and seconds, and pictures that show them so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.cli.app import cli
from attn_runtime.errors import BackendError, BundleError, InputError, UsageError
from attn_runtime.tasks.maps import AttentionMap, AttentionMaps, Axis, attention_maps
from attn_runtime.tasks.plots.attention import MOST_PANELS, draw, plot_attention
from click.testing import CliRunner
from PIL import Image
from support.attention import looking
from support.attention.looking import CELLS, COLUMNS, GRID, PATCH, ROWS, uniform
from support.command_lines.json_answers import result_of
from support.models import tiny_generators
from support.models.tiny_generators import Tiny

# A model of pictures that looks where it is bright


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return looking.watcher(tmp_path_factory.mktemp("watcher") / "watcher.attn")


@pytest.fixture(scope="module")
def lamp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return looking.lamp(tmp_path_factory.mktemp("lamp") / "lamp.png")


def colours(figure: Any, panel: int, rows: int, columns: int, height: float, width: float) -> np.ndarray:
    """The colour in the middle of each cell of a panel, as it comes out on the page: [rows, columns, 3], 0..255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    page = np.asarray(canvas.buffer_rgba())
    axes = [a for a in figure.axes if a.images and a.get_label() != "<colorbar>"][panel]
    found = np.zeros((rows, columns, 3))
    for row in range(rows):
        for column in range(columns):
            # A little beside the middle, where a frame or a tick can't be.
            x, y = axes.transData.transform(((column + 0.6) * width / columns, (row + 0.6) * height / rows))
            found[row, column] = page[page.shape[0] - 1 - round(y), round(x), :3]
    return found


def test_the_cell_that_is_looked_at_lights_up_in_its_place(watcher: Path, lamp: Path) -> None:
    found = attention_maps(watcher, str(lamp))
    (look,) = found.maps
    assert found.title == "lamp.png: light, 100.0%"
    assert found.picture is not None and found.picture.shape == (30, 60, 3), "as large as the file"
    assert look.weights.shape == (1, CELLS, CELLS)
    assert look.key.cell(2, 1) == 1 + 2 * COLUMNS + 1 == look.weights[0, 0].argmax()
    assert look.key.name(look.key.cell(2, 1)) == "row 2, column 1"
    figure = draw(found)
    titles = [a.get_title() for a in figure.axes if a.get_title()]
    assert titles == ["the picture", "look, mean of heads\nquery: class token"]
    shown = colours(figure, 1, ROWS, COLUMNS, 30, 60)
    yellow = shown[..., :2].mean(-1) - shown[..., 2]  # inferno's brightest; grey has none
    assert np.unravel_index(yellow.argmax(), yellow.shape) == (2, 1)
    assert yellow[2, 1] > 60 > 5 * np.delete(np.abs(yellow), 2 * COLUMNS + 1).max()
    picture = colours(figure, 0, ROWS, COLUMNS, 30, 60)
    assert (picture[2, 1] == 255).all() and (np.delete(picture.reshape(-1, 3), 2 * COLUMNS + 1, 0) == 90).all()


@pytest.mark.parametrize(("query", "looks_at"), [((0, 0), (0, 1)), ((1, 4), (2, 0))])
def test_the_cell_that_looks_is_chosen_by_row_and_column(
    watcher: Path, lamp: Path, query: tuple[int, int], looks_at: tuple[int, int]
) -> None:
    from matplotlib.patches import Rectangle

    figure = draw(attention_maps(watcher, str(lamp)), query=query)
    shown = colours(figure, 1, ROWS, COLUMNS, 30, 60)
    yellow = shown[..., :2].mean(-1) - shown[..., 2]
    assert np.unravel_index(yellow.argmax(), yellow.shape) == looks_at
    (frame,) = (p for a in figure.axes for p in a.patches if isinstance(p, Rectangle) and p.get_linewidth() == 1.5)
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (
        query[1] * 12,
        query[0] * 10,
        12,
        10,
    )


# Texts: words, and padding that is cut away


def test_words_are_labels_and_padding_is_cut_away(tmp_path: Path) -> None:
    found = attention_maps(uniform(tmp_path / "words.attn"), "very good .")
    (words,) = found.maps
    assert words.query.labels == words.key.labels == ("very", "good", ".")
    np.testing.assert_allclose(words.weights, np.full((2, 3, 3), 1 / 3), rtol=1e-6)
    (axes,) = (a for a in draw(found).axes if a.get_xlabel().startswith("key"))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("key: word", "query: word")
    assert [t.get_text() for t in axes.get_xticklabels()] == ["very", "good", "."]
    assert axes.get_ylim() == (2.5, -0.5), "the first query is at the top"


def test_weights_on_padding_are_no_attention(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"output attention_words: the weights of a query sum to 1 ± 0\.5 over the keys"
    ):
        attention_maps(uniform(tmp_path / "leaky.attn", heeds_mask=False), "very good .")


# A translator: encoder, its own words, and the source


ASSETS = ("text", "tokenizer", "attention_maps")


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return Tiny(attention=True, layers=1, max_length=12)


@pytest.fixture(scope="module")
def translator(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return looking.translator(tmp_path_factory.mktemp("translator") / "translator.attn", tiny)


def test_an_answer_is_looked_at_as_a_whole(translator: Path, tiny: Tiny) -> None:
    asked = [5, 7, 3, 9]
    answer = tiny_generators.greedy_of(tiny, asked, 11)
    found = attention_maps(translator, "w5 w7 w3 w9")
    encoder, own, cross = found.maps

    def named(tokens: list[int]) -> tuple[str, ...]:
        return tuple({0: "<pad>", 1: "</s>", 2: "<s>"}.get(t, f"w{t}") for t in tokens)

    assert encoder.query.labels == encoder.key.labels == cross.key.labels == ("w5", "w7", "w3", "w9")
    assert own.query.labels == cross.query.labels == named(answer), "rows are the words that are written"
    assert own.key.labels == named([tiny.begin, *answer[:-1]]), "by a look at those before them"
    assert own.weights.shape == (2, len(answer), len(answer))
    assert (np.triu(own.weights, 1) == 0).all() and (own.weights[:, 0, 0] == 1).all()
    # The encoder's weights, anew in numpy.
    w = {name: value.astype(np.float64) for name, value in tiny.weights().items()}
    x = tiny_generators.normalised(w["embed"][asked] + w["place"][:4])
    query, key = ((x @ w[f"encoder.self.{n}"]).reshape(4, 2, 8).transpose(1, 0, 2) for n in "qk")
    scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(8))
    np.testing.assert_allclose(encoder.weights, scores / scores.sum(-1, keepdims=True), atol=1e-5)
    assert found.title.startswith("w5 w7 w3 w9 → ")


def test_an_answer_may_be_kept_short(translator: Path, watcher: Path, lamp: Path) -> None:
    whole, short = attention_maps(translator, "w5 w7 w3 w9"), attention_maps(translator, "w5 w7 w3 w9", max_length=2)
    assert short.maps[2].query.labels == whole.maps[2].query.labels[:2]
    np.testing.assert_allclose(short.maps[2].weights, whole.maps[2].weights[:, :2], atol=1e-5)
    with pytest.raises(InputError, match="the answer is empty"):
        attention_maps(translator, "w5 w7", max_length=0)
    with pytest.raises(UsageError, match=r"bundle watcher\.attn writes nothing"):
        attention_maps(watcher, str(lamp), max_length=2)


def test_what_the_graph_cannot_read_at_once_is_left_out_in_words(
    translator: Path, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = attention_maps(translator, "w5 w7 w3 w9"), tiny_generators.dims
    monkeypatch.setattr(
        tiny_generators, "dims", lambda tiny: {**sizes(tiny), "prompt": tiny_generators.dim("prompt", 1, 2, 3)}
    )
    assets = {name: json.loads((translator / f"assets/{name}.json").read_text()) for name in ASSETS}
    found = attention_maps(tiny_generators.write_bundle(tmp_path / "short.attn", tiny, **assets), "w5 w7 w3 w9")
    most = len(whole.maps[1].query.labels)
    assert most > 3
    assert found.notes == (f"graph first reads 3 tokens at once: {most - 3} at the end are left out",)
    for some, every in zip(found.maps[1:], whole.maps[1:], strict=True):
        assert some.query.labels == every.query.labels[:3]
        np.testing.assert_allclose(some.weights, every.weights[:, :3, : some.weights.shape[2]], atol=1e-5)


# Sound, numbers, and several panels


def maps_of(*maps: AttentionMap, **more: Any) -> AttentionMaps:
    return AttentionMaps(maps, "title", "by hand", **more)


def heads(count: int, queries: int, keys: int) -> np.ndarray:
    weights = np.random.default_rng(0).random((count, queries, keys)).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)


def test_frames_lie_under_the_recording_in_seconds() -> None:
    frames = Axis("frames", "seconds", seconds=0.02)
    sound = AttentionMap("model", "attention_a", "blocks.0.attention", heads(2, 50, 50), frames, frames)
    pooling = AttentionMap("model", "attention_p", "pooling", heads(2, 1, 50), Axis("index", "number"), frames)
    samples = np.sin(np.arange(8000) / 50).astype(np.float32)
    figure = draw(maps_of(sound, pooling, samples=samples, rate=8000))
    wave, heat, *_ = figure.axes
    assert (heat.get_xlabel(), heat.get_ylabel()) == ("key: seconds", "query: seconds")
    (image,) = heat.images
    assert tuple(image.get_extent()) == (0, 1.0, 1.0, 0), "50 frames of 20 ms; the first query is at the top"
    line = wave.lines[0].get_xdata()
    assert wave.get_xlim() == heat.get_xlim() and line[0] == 0 and line[-1] == pytest.approx(7999 / 8000)


@pytest.mark.parametrize(
    ("layer", "head", "titles"),
    [
        (None, "mean", ["a, mean of heads", "b, mean of heads"]),
        ("1", "all", ["b, head 0", "b, head 1"]),
        ("^first", "1", ["a, head 1"]),
    ],
)
def test_layers_and_heads_are_chosen(layer: str | None, head: str, titles: list[str]) -> None:
    numbers = Axis("index", "number")
    one, other = (
        AttentionMap(graph, f"attention_{module}", module, heads(2, 3, 4), numbers, numbers)
        for graph, module in (("first", "a"), ("second", "b"))
    )
    found = maps_of(one, other)
    figure = draw(found, layer=layer, head=head)
    panels = [a for a in figure.axes if a.get_title()]
    assert [a.get_title() for a in panels] == titles
    expected = found.maps[0].weights
    first = {"mean": expected.mean(0), "1": expected[1], "all": expected[0]}[head]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), first)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"layer": "7"}, "layer 7: there are 0 model a"),
        ({"layer": "decoder"}, "layer decoder: no attention of that name; there are 0 model a"),
        ({"layer": "("}, "is no regular expression"),
        ({"head": "2"}, r"head 2: expected mean, all or 0\.\.1"),
        ({"head": "-1"}, "head -1: expected"),
        ({"query": (0, 0)}, "no map has queries that are cells"),
    ],
)
def test_a_choice_that_there_is_not(choice: dict[str, Any], says: str) -> None:
    numbers = Axis("index", "number")
    found = maps_of(AttentionMap("model", "attention_a", "a", heads(2, 3, 4), numbers, numbers))
    with pytest.raises(UsageError, match=says):
        draw(found, **choice)


def test_a_picture_has_an_end(tmp_path: Path) -> None:
    numbers = Axis("index", "number")
    one = AttentionMap("model", "attention_a", "a", heads(MOST_PANELS + 1, 2, 2), numbers, numbers)
    with pytest.raises(UsageError, match="49 maps on one picture; at most 48: choose with --layer and --head"):
        draw(maps_of(one), head="all")
    with pytest.raises(UsageError, match="got suffix doc"):
        plot_attention(maps_of(one), tmp_path / "a.doc")
    with pytest.raises(UsageError, match=r"cell 3,0: rows are 0\.\.2 and columns 0\.\.4"):
        Axis("grid", "cells", rows=3, columns=5).cell(3, 0)


def test_words_are_no_formulas() -> None:
    dollars = Axis("words", "word", ("$a$", r"\frac", "b\x1b"))
    figure = draw(maps_of(AttentionMap("model", "attention_a", "a", heads(1, 3, 3), dollars, dollars)))
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [r"\$a\$", r"\frac", "b�"]


# The command line


@pytest.fixture
def attn_run() -> Callable[..., Any]:
    def run(*arguments: object, stdin: str | None = None) -> Any:
        return CliRunner().invoke(cli, [str(a) for a in arguments], input=stdin)

    return run


def test_the_command_prints_writes_and_draws(
    attn_run: Callable[..., Any], watcher: Path, lamp: Path, tmp_path: Path
) -> None:
    ran = attn_run("attention", watcher, lamp, "--plot", tmp_path / "a.png", "-o", tmp_path / "a.npz")
    assert ran.exit_code == 0, ran.output
    assert "lamp.png: light" in ran.output and "16 cells" in ran.output
    assert Image.open(tmp_path / "a.png").size[0] > 500
    with np.load(tmp_path / "a.npz") as saved:
        assert saved["model.attention_look"].shape == (1, CELLS, CELLS)
    told = result_of(attn_run("attention", watcher, lamp, "--json").output)
    (only,) = told["maps"]
    assert only["layer"] == 0 and only["keys"] == CELLS and only["most"]["weight"] == pytest.approx(1)


def test_a_text_that_is_a_dash_is_the_line_of_stdin(translator: Path, attn_run: Callable[..., Any]) -> None:
    named = attn_run("attention", translator, "w5 w7", "--max-length", 2, "--quiet")
    piped = attn_run("attention", translator, "-", "--max-length", 2, "--quiet", stdin="w5 w7\n")
    assert (piped.exit_code, piped.stdout) == (0, named.stdout)
    several = attn_run("attention", translator, "-", stdin="w5\nw7\n").exception
    assert isinstance(several, InputError) and "holds 2 lines; expected one text" in str(several)


def test_arrays_are_an_input_too(watcher: Path, tmp_path: Path) -> None:
    image = np.zeros((1, 3, ROWS * PATCH, COLUMNS * PATCH), np.float32)
    image[..., 2:4, 8:10] = 1
    np.savez(tmp_path / "x.npz", image=image)
    found = attention_maps(watcher, str(tmp_path / "x.npz"))
    assert found.picture is None
    assert found.maps[0].weights[0, 0].argmax() == found.maps[0].key.cell(1, 4)
    shown = colours(draw(found), 0, ROWS, COLUMNS, ROWS, COLUMNS)
    assert np.unravel_index(shown.sum(-1).argmax(), (ROWS, COLUMNS)) == (1, 4)


def test_arrays_by_name_show_the_words_of_their_first_row(tmp_path: Path, translator: Path) -> None:
    """Padding before a word is an entry of its own, behind the last one it is cut away."""
    bundle = uniform(tmp_path / "words.attn")
    tokens = np.array([[5, 0, 2, 6, 0, 0], [2] * 6])
    mask = np.array([[True, False, True, True, False, False], [True] * 6])
    (words,) = attention_maps(bundle, {"tokens": tokens, "mask": mask}).maps
    assert words.key.labels == ("very", "(padding)", "good", ".")
    np.testing.assert_allclose(words.weights[0], [[1 / 3, 0, 1 / 3, 1 / 3]] * 4, atol=1e-6)
    np.savez(tmp_path / "x.npz", tokens=tokens, mask=mask)
    assert attention_maps(bundle, str(tmp_path / "x.npz")).maps[0].key == words.key
    with pytest.raises(InputError, match="mask: row 0 is padding alone"):
        attention_maps(bundle, {"tokens": tokens, "mask": ~mask & mask})
    given = {"source": np.array([[5, 7, 3, 0]]), "source_mask": np.array([[True, True, True, False]])}
    by_name, as_text = attention_maps(translator, given), attention_maps(translator, "w5 w7 w3")
    assert by_name.title == as_text.title
    for one, other in zip(by_name.maps, as_text.maps, strict=True):
        assert (one.query, one.key) == (other.query, other.key)
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-5)
    with pytest.raises(InputError, match='got arrays "tokens"; expected "source" among them'):
        attention_maps(translator, {"tokens": tokens})


def test_errors_are_told_and_nothing_is_written(
    attn_run: Callable[..., Any], watcher: Path, lamp: Path, valid_bundle: Path, tmp_path: Path
) -> None:
    plot = tmp_path / "plot.png"
    for arguments, kind, says in (
        ((valid_bundle, lamp), UsageError, "export it with: attn-export to-onnx SOURCE --with-attention"),
        ((watcher, tmp_path / "no.png"), InputError, "there is no such file"),
        ((watcher, lamp, "--layer", "x"), UsageError, "no attention of that name"),
        ((watcher, lamp, "--query", "9,9"), UsageError, "cell 9,9"),
        ((watcher, lamp, "--backend", "none"), (UsageError, BackendError), "none"),
    ):
        ran = attn_run("attention", *arguments, "--plot", plot)
        assert isinstance(ran.exception, kind), ran.exception
        assert says in str(ran.exception)
    assert "expected ROW,COLUMN" in attn_run("attention", watcher, lamp, "--query", "9").output
    assert not plot.exists()


def test_an_asset_that_does_not_fit_the_graph(watcher: Path, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_runtime.bundle.reader import Bundle

    original = Bundle.asset

    def told(change: dict[str, Any]) -> None:
        def asset_of(self: Bundle, name: str) -> Any:
            found = original(self, name)
            return [{**found[0], **change}] if name == "attention_maps" else found

        monkeypatch.setattr(Bundle, "asset", asset_of)

    for change, says in (
        ({"output": "attention_other"}, "the graph has no such output"),
        ({"output": "logits"}, "expected attention weights"),
        ({"key": {**GRID, "rows": 4}}, "16 key entries, and a grid of 4 x 5 after 1"),
        ({"key": {"kind": "frames", "seconds": 1e308}}, "16 key entries of 1e[+]308 seconds each"),
        ({"graph": "other"}, "no graph that it names reads a whole input"),
    ):
        told(change)
        with pytest.raises(BundleError, match=says):
            attention_maps(watcher, str(lamp))


def test_more_words_than_entries_are_refused(translator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attn_runtime.bundle.reader import Bundle

    original = Bundle.asset

    def asset_of(self: Bundle, name: str) -> Any:
        found = original(self, name)
        return [{**found[0], "key": {"kind": "tokens", "of": "source", "skip": 60000}}] if name == ASSETS[2] else found

    monkeypatch.setattr(Bundle, "asset", asset_of)
    with pytest.raises(BundleError, match="4 key entries for 60004 words"):
        attention_maps(translator, "w5 w7 w3 w9")


def test_half_precision_borders_are_seen_alike(translator: Path) -> None:
    full, half = (attention_maps(translator, "w5 w7 w3 w9", precision=p) for p in ("fp32", "fp16"))
    assert half.maps[0].weights.dtype == np.float32
    np.testing.assert_allclose(half.maps[0].weights, full.maps[0].weights, atol=5e-3)
    assert replace(half, maps=()).title.startswith("w5")
