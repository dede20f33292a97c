"""Which of the state_dicts in a checkpoint a module is given, and what is said of the others."""

from __future__ import annotations

from dataclasses import dataclass

from attn_runtime.errors import CheckpointError
from attn_runtime.escape import printable

from .names import AVERAGED, WRAPPERS, Fit, Own, bare, fits
from .state_dicts import StateDict, is_average, listed

#: Keys under which training scripts keep the weights that they train, the likeliest first.
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "module")
#: What quantisers keep beside a weight: bitsandbytes, GPTQ and AWQ, float8, compressed-tensors.
SCALES = (".SCB", ".absmax", ".qweight", ".qzeros", "weight_scale", "weight_scale_inv", ".weight_packed")
_OPTION = "--checkpoint-key"


class Misfit(CheckpointError):
    """Nothing in a checkpoint supplies what the module has under its names."""


@dataclass(frozen=True)
class Choice:
    """A state_dict, how it fits, and lines for the user: what was not as a plain load would have it."""

    state: StateDict
    fit: Fit
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    state: StateDict
    fit: Fit

    @property
    def key(self) -> str:
        """What --checkpoint-key takes it by."""
        return ".".join(part for part in (self.state.key, self.fit.prefix.rstrip(".")) if part)

    @property
    def ema(self) -> bool:
        return is_average(self.key)

    @property
    def rank(self) -> int | None:
        """Its place in the order of plain keys; None for one that is called otherwise."""
        parts = [part for part in self.key.split(".") if part not in WRAPPERS]
        if not all(part in _PLAIN for part in parts):
            return None
        return _PLAIN.index(parts[0]) if parts else -1

    def same(self, other: _Candidate) -> bool:
        mine, theirs = ((c.state.tensors, c.fit.table) for c in (self, other))
        return all(mine[0][mine[1][n]] is theirs[0][theirs[1][n]] for n in mine[1])


def choose(own: Own, found: list[StateDict], where: str, *, named: bool = False) -> Choice:
    """The weights among `found`; `where` opens messages, and `named` says that the user chose `found` by a key.

    Raw weights come before averages of them (EMA), and both are told. Raises Misfit where none fits, and CheckpointError where
    several do of which none is called as weights usually are.
    """
    tried = [_Candidate(state, fit) for state in found for fit in fits(own, state.tensors)]
    whole: list[_Candidate] = []
    for one in tried:
        if one.fit.supplies and not any(one.same(other) for other in whole):
            whole.append(one)
    if not whole:
        raise Misfit(_misfit(own, found, max(tried, key=_score), where))
    raw = [one for one in whole if not one.ema] or whole
    chosen = raw[0] if len(raw) == 1 else _plainest(raw, named)
    if chosen is None:
        raise CheckpointError(
            f"{where} has {len(raw)} sets of weights that fit {own.kind}: {', '.join(c.key or '(the file)' for c in raw)}; "
            f"name one: {_OPTION} {raw[0].key or raw[-1].key}"
        )
    others = [one for one in whole if one is not chosen]
    strange = _unexpected(chosen, others)
    if strange:
        raise Misfit(_misfit(own, found, chosen, where, strange))
    return Choice(chosen.state, chosen.fit, tuple(_notes(chosen, others, found, named)))


def _plainest(raw: list[_Candidate], named: bool) -> _Candidate | None:
    ranked = sorted(((one.rank, n, one) for n, one in enumerate(raw) if one.rank is not None), key=lambda r: r[:2])
    if not ranked:
        exact = [one for one in raw if not one.fit.prefix] if named else []
        return exact[0] if len(exact) == 1 else None
    return ranked[0][2] if len(ranked) == 1 or ranked[0][0] != ranked[1][0] else None


def _score(one: _Candidate) -> tuple[int, int, bool]:
    return len(one.fit.table) - len(one.fit.misshapen), -len(one.fit.misshapen), not one.ema


def _unexpected(chosen: _Candidate, others: list[_Candidate]) -> list[str]:
    """What a strict load would call unexpected: below the prefix, and no part of other weights that fit as well."""
    beside = [one for one in others if one.state is chosen.state]
    theirs = {name for one in beside for name in one.fit.table.values()}
    starts = tuple(one.fit.prefix for one in beside if one.fit.prefix)
    return [n for n in chosen.fit.inside if n not in theirs and not bare(n).startswith(starts)]


def _misfit(own: Own, found: list[StateDict], one: _Candidate, where: str, strange: list[str] | None = None) -> str:
    fit, tensors = one.fit, one.state.tensors
    unexpected = strange if strange is not None else [*fit.inside, *(fit.outside if not fit.table else ())]
    shapes = [f"{n} {_shape(tensors[fit.table[n]])} (module: {_shape(own.tensors[n])})" for n in fit.misshapen]
    problems = [
        f"{label} {len(names)}: {printable(', '.join(names[:5]))}{', ...' if len(names) > 5 else ''}"
        for label, names in (("missing", fit.missing), ("unexpected", unexpected), ("misshapen", shapes))
        if names
    ]
    objects = [
        f"{n} is a {printable(one.state.others[n])} there, no dense tensor"
        for n in fit.missing
        if n in one.state.others
    ]
    if objects:
        problems.append(f"{'; '.join(objects[:3])} (DTensor.full_tensor() and .to_dense() make one)")
    if any(0 in tensors[fit.table[n]].shape for n in fit.misshapen):
        problems.append("empty ones are DeepSpeed's (ZeRO-3), which zero_to_fp32.py gathers")
    whole = True  # what the file has under the module's names are the module's weights
    if _quantised(own, one, unexpected):
        problems.append("it is quantised: use the weights that it was made from")
        whole = False
    if any("lora_" in n for n in unexpected):
        problems.append("lora_ names are an adapter's: merge it into its model first (merge_and_unload)")
        whole = False
    place = f"under {printable(one.key, 80)}: " if one.key else ""
    more = f" {listed(found)}." if len(found) > 1 else ""
    advice = ""
    if fit.missing or fit.misshapen:
        advice = " Check --config, or the model this checkpoint was saved from." if whole else ""
    elif whole:
        advice = f" Save what {own.kind} has alone: {{k: v for k, v in state.items() if k in module.state_dict()}}."
    return f"{where} does not fit {own.kind}: {place}{'; '.join(problems)}.{advice}{more}"


def _quantised(own: Own, one: _Candidate, unexpected: list[str]) -> bool:
    """By scales beside the weights, or by weights in integers or in float8."""
    held = {n: one.state.tensors[o] for n, o in one.fit.table.items() if own.tensors[n].is_floating_point()}
    return any(n.endswith(SCALES) for n in unexpected) or any(
        t.dtype.itemsize == 1 or (n in one.fit.misshapen and not t.is_floating_point()) for n, t in held.items()
    )


def _shape(tensor: object) -> str:
    return str(list(getattr(tensor, "shape", ())))


def _notes(chosen: _Candidate, others: list[_Candidate], found: list[StateDict], named: bool) -> list[str]:
    state, fit = chosen.state, chosen.fit
    notes = []
    if state.key and not named and chosen.rank is None:
        kind = "an average of the weights (EMA)" if chosen.ema else "the only weights in it that fit"
        notes.append(f"{state.key} is taken, {kind}")
    dropped = [*(f"{w}." for w in fit.wrappers), *([fit.prefix] if fit.prefix else [])]
    if dropped:
        notes.append(f"names are matched without {' and '.join(dropped)}")
    if fit.own_prefix:
        notes.append(f"names are matched without the module's own {fit.own_prefix}")
    if AVERAGED in state.tensors and AVERAGED not in fit.table and "module" in fit.wrappers:
        notes.append(f"its weights are the average of {int(state.tensors[AVERAGED])} modules (AveragedModel)")
    for other in others:
        kind = " as an average of the weights (EMA)" if other.ema and not chosen.ema else ""
        notes.append(f"{other.key or 'the file itself'} fits as well{kind}: {_OPTION} {other.key} takes it")
    told = {other.state.key for other in others}
    averages = [s for s in found if is_average(s.key) and s.key not in told and s is not state]
    notes.extend(f"{s.key} may be an average of the weights (EMA), and does not fit" for s in averages[:3])
    inside_others = {n for o in others if o.state is state for n in o.fit.table.values()}
    left = [n for n in (*fit.inside, *fit.outside) if n not in inside_others]
    if left:
        notes.append(
            f"{len(left)} left out that the module has not: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}"
        )
    if fit.counters:
        notes.append(f"it lacks {len(fit.counters)} counters of BatchNorm, which eval mode does not read")
    return notes
