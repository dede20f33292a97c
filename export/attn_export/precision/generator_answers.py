"""What a quantised generator writes as a whole: held to a share of PyTorch's tokens, and told on texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Bundle
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import ParityError
from attn_runtime.generate.graphs import GraphIO
from attn_runtime.text_format import finite_or_none

from ..console import Console
from ..parity import Agreement, Likelihood, agreement, likelihood
from .calibration import WINDOW, Samples, TokenRows, generator_samples, write_windows
from .layerwise import short
from .quantisation import MAX_LEFT, Quantisation


class TooFewTokensError(ParityError):
    """No choice of weights writes as many of PyTorch's tokens as it should: with less of the limit none does either."""


@dataclass(frozen=True)
class Texts:
    """Rows of tokens that --calibrate names, in windows in the file `windows`, and what fp32 makes of them."""

    source: str
    windows: Path
    exact: Likelihood


def read_texts(rows: TokenRows, opened: Bundle, work: Path, isolated: ChildProcess, console: Console) -> Texts:
    """Cut into windows, and read by the fp32 graphs.

    Raises UsageError where nothing is long enough to be read, PassError where the graphs can't be run on it.
    """
    wiring = GraphIO.of(opened, "fp32")
    given = wiring.first.inputs["tokens"].dims[1].min
    with console.stage("perplexity") as line:
        found = rows.windows(min(wiring.max_length, WINDOW), given + 1)
        windows = write_windows(work / "windows.safetensors", found)
        exact = likelihood(opened.path, {}, windows, isolated, "the fp32 graphs")
        line.done(f"{exact.perplexity:.4g} in fp32, {_over(exact, rows.source)}")
    return Texts(rows.source, windows, exact)


def samples_of_texts(texts: Texts, opened: Bundle, work: Path, isolated: ChildProcess) -> Mapping[str, Samples]:
    """The samples of the prompt graph and the step that come of them, by graph."""
    return generator_samples(opened, texts.windows, texts.source, isolated, work)


def tell_perplexity(
    texts: Texts, opened: Bundle, name: str, files: Mapping[str, Path], isolated: ChildProcess, console: Console
) -> dict[str, Any]:
    """The perplexity of the graphs at `files`, of the precision `name`, over what fp32 has read; as the manifest has it."""
    with console.stage("perplexity") as line:
        found = likelihood(opened.path, files, texts.windows, isolated, f"the {name} graphs", most=texts.exact.windows)
        own, exact = found.perplexity, texts.exact.perplexity
        line.done(f"{own:.4g} (fp32 {exact:.4g}, {own / exact - 1:+.2%}), {_over(found, texts.source)}")
    return {
        "source": texts.source, "tokens": found.tokens, "value": finite_or_none(own), "fp32": finite_or_none(exact)
    }  # fmt: skip


def _over(found: Likelihood, source: str) -> str:
    return f"over {found.tokens} tokens of {source}"


class GeneratorAnswers:
    """The recorded answers of the generator at `bundle`, which have a token, and whose graphs are quantised in `every`.

    least   the share of their tokens that must be the generator's own, None where none must
    """

    def __init__(
        self, bundle: Path, every: Sequence[Quantisation], least: float | None, isolated: ChildProcess, console: Console
    ) -> None:
        self._bundle, self._every, self._least = bundle, every, least
        self._isolated, self._console, self._name = isolated, console, every[0].scheme.name

    def hold(self) -> tuple[Agreement, bool]:
        """How the files that were written agree; or, where that is under `least`, files of which more is left, which it is in
        `every` then. And whether there is any.

        What moves golden answers most is left first, as few as it takes. TooFewTokensError where half of the weights are not
        enough.
        """
        with self._console.stage("agreement") as line:
            found = self._measure({one.graph: one.path for one in self._every})
            more = 0
            if self._least is not None and found.share < self._least:
                found, more = self._left_until(self._least, found)
            line.done(
                f"{self._name} writes {found.agreeing} of {found.tokens} tokens of the recorded answers ({found.share:.1%}), "
                f"each behind PyTorch's own{f'; {more} more weights are left for that' if more else ''}"
            )
        return found, more > 0

    def _left_until(self, least: float, full: Agreement) -> tuple[Agreement, int]:
        """The fewest weights, in the order of what each does alone, that are left for the share to hold; and how many."""
        before = [dict(one.left) for one in self._every]
        order = self._order()

        def leave(count: int) -> None:
            gone = set(order[:count])
            for one, left in zip(self._every, before, strict=True):
                one.left = dict(left)
                for site in one.sites:
                    if one.hashes[site.node] in gone:
                        alone = one.found.alone.get(site.node) if one.found else None
                        told = "" if alone is None else f" (error alone {short(alone)} of the limit)"
                        one.left.setdefault(site.node, f"for --min-agreement{told}")

        def at(count: int) -> Agreement:
            leave(count)
            return self._measure({one.graph: self._candidate(one) for one in self._every})

        most = len(order)
        leave(most)
        while most and max(one.share_left() for one in self._every) > MAX_LEFT:
            most -= 1
            leave(most)
        low, high, found = 0, most, at(most) if most else full
        if found.share < least:
            raise TooFewTokensError(
                f"--min-agreement {least:.1%}: {self._name} writes {full.agreeing} of {full.tokens} tokens of PyTorch's recorded "
                f"answers ({full.share:.1%}), and {found.agreeing} with {most} of {len(order)} more weights left in fp32, as "
                "many as may be; ask for less, take another scheme, or stay in fp32. No "
                f"{self._name} graph was written."
            )
        while high - low > 1:
            middle = (low + high) // 2
            tried = at(middle)
            if tried.share >= least:
                high, found = middle, tried
            else:
                low = middle
        leave(high)
        return found, high

    def _order(self) -> list[bytes]:
        """The weights that are quantised, by hash: the one that moves the answers of any graph most comes first."""
        alone: dict[bytes, float] = {}
        for one in self._every:
            for site in one.sites:
                if site.node not in one.left:
                    own = one.found.alone.get(site.node, 0.0) if one.found else 0.0
                    name = one.hashes[site.node]
                    alone[name] = max(alone.get(name, 0.0), own)
        return sorted(alone, key=lambda name: -alone[name])

    def _candidate(self, one: Quantisation) -> Path:
        path = one.work / "candidate.onnx"
        one.write_file(one.left, path)
        return path

    def _measure(self, files: Mapping[str, Path]) -> Agreement:
        return agreement(self._bundle, files, self._isolated, f"the {self._name} graphs")
