"""The cases asked again in another order: a module that answers by what it was asked before can't be a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Difference, Tolerance, compare_all
from attn_runtime.errors import CaptureError
from torch import nn
from torch.nn.parameter import is_lazy

from .module_state import Change, ModuleState

#: When all cases together take PyTorch longer than this, the dearer half of them is not asked again, but for the largest of
#: those that take no longer than a second.
SLOW_SECONDS, LARGEST_SECONDS = 5.0, 1.0
#: The room that names of changed things take in a message.
_SHOWN = 4

Ask = Callable[[Case[Arrays]], Case[Arrays]]


def state_before(module: nn.Module) -> ModuleState:
    """What `module` remembers before its first case. CaptureError where weights are not there yet (nn.LazyLinear)."""
    lazy = [name for name, p in [*module.named_parameters(), *module.named_buffers()] if is_lazy(p)]
    if lazy:
        raise CaptureError(
            f"{_listed(lazy)} of the module {_are(lazy)} not initialised: the first input would draw the weights; "
            "call the module once, or load a checkpoint, before exporting"
        )
    return ModuleState(module)


def refuse_state(
    before: ModuleState,
    answers: Sequence[Case[Arrays]],
    ask: Ask,
    other: Callable[[], Case[Arrays]],
    tolerance: Tolerance,
    took: Callable[[Arrays], float] = lambda _: 0.0,
) -> None:
    """Asks for `answers` again, in another order, and looks at what the calls left behind.

    `before` is from before the first of them, `ask` returns a case with the module's answers anew, and `other` is one
    more case, for a module that has a single one; `took` is the seconds that it takes for some inputs. What calls have
    set (a table that grew, an attention map that was stored) is harmless where the same answers come from the module as
    it was before; what keeps changing is not.

    Raises CaptureError: weights that changed, answers that depend on those before or on chance, attributes that run on.
    """
    first = ModuleState(*before.modules, weights=False)
    touched = before.changes(first)
    sizes = [sum(v.size for v in a.outputs.values()) for a in answers]
    order = asked_again(sizes, [took(a.inputs) for a in answers])
    again = [answers[number] for number in order]
    if touched:
        _refuse_changed_weights(before, first)
        if order[0] == 0:  # the same first input would set the same
            again.insert(0, ask(other()))
        before.restore()
    _refuse_others(again, ask, tolerance, before, touched)
    second = ModuleState(*before.modules, weights=False)
    if touched:
        _refuse_others(again, ask, tolerance, before, touched)
        first, second = second, ModuleState(*before.modules, weights=False)
    _refuse_changed_weights(before, second)
    _refuse_running(first.changes(second))


def refuse_shared_state(
    before: ModuleState, graphs: Sequence[tuple[str, Case[Arrays], Ask]], tolerance: Tolerance
) -> None:
    """Asks each graph of a model (name, one of its answers, how to ask) as if no other had been asked before it.

    Raises CaptureError where that fails or answers otherwise: one graph's calls leave in the module what another reads.
    The module is left as it was found.
    """
    after = ModuleState(*before.modules, weights=False)
    touched = before.changes(after)
    if not touched or len(graphs) < 2:
        return
    try:
        for name, answer, ask in graphs:
            before.restore()
            try:
                found = _differing(answer, ask(answer), tolerance)
                how = f"answers otherwise ({_difference(found, answer.name)})" if found else ""
            except CaptureError as problem:
                how = f"fails ({problem})"
            if how:
                raise CaptureError(
                    f"graph {name} {how} unless another graph of the model was asked before it; what they leave in the "
                    f"module: {_listed(touched)}. Hand it over as an output of the one and an input of the other"
                )
    finally:
        after.restore()


def asked_again(outputs: Sequence[int], seconds: Sequence[float]) -> list[int]:
    """Numbers of the cases to ask again, from the last to the first; `outputs` is how much each of them answers, in `seconds`.

    Where all take SLOW_SECONDS, the smaller half of them, and the largest of those that are not slow themselves: where most
    is drawn, something random shows best. Of a slow one, the graph's answers are other ones if PyTorch's are random.
    """
    order = list(range(len(outputs)))[::-1]
    if sum(seconds) <= SLOW_SECONDS:
        return order
    ranked = sorted(order, key=lambda number: (outputs[number], number))
    quick = [number for number in ranked if seconds[number] <= LARGEST_SECONDS]
    chosen = {*ranked[: len(ranked) // 2], *quick[-1:]} or {ranked[0]}
    return [number for number in order if number in chosen]


def _refuse_others(
    again: Sequence[Case[Arrays]], ask: Ask, tolerance: Tolerance, before: ModuleState, touched: Sequence[Change]
) -> None:
    for answer in again:
        if (found := _differing(answer, ask(answer), tolerance)) is None:
            continue
        now = ModuleState(*before.modules, weights=False)
        _refuse_changed_weights(before, now)
        if touched := touched or before.changes(now):
            raise CaptureError(
                "PyTorch's answers depend on what the module was asked before: "
                f"{_difference(found, answer.name)} when the cases are asked in another order; its calls set its "
                f"{_listed(touched)}. Set {_it(touched)} before exporting, guard the change with `if self.training`, "
                "or make the state an input and an output"
            )
        raise CaptureError(
            f'PyTorch answers differently when asked twice (output "{found.output}"): something random is left on '
            "in eval mode, such as functional dropout without training=self.training"
        )


def _differing(answer: Case[Arrays], again: Case[Arrays], tolerance: Tolerance) -> Difference | None:
    return next((d for d in compare_all(answer.outputs, again.outputs, tolerance) if not d.passed), None)


def _difference(found: Difference, case: str) -> str:
    size = found.problem or f"by {found.max_error:.2g}, allowed {found.limit:.2g}"
    return f'output "{found.output}" at case "{case}" differs ({size})'


def _refuse_changed_weights(before: ModuleState, after: ModuleState) -> None:
    changed = before.changed_weights(after)
    if not changed:
        return
    back = "" if before.restore() else ". They are too large for a copy to be kept: load the weights again"
    raise CaptureError(
        f"the module's forward changes its {_listed(changed)} in eval mode, which a graph can't; initialise "
        f"{_it(changed)} before exporting, guard the change with `if self.training`, or make the state an input and an "
        f"output{back}"
    )


def _refuse_running(changes: Sequence[Change]) -> None:
    if changes:
        raise CaptureError(
            f"the module's calls keep changing its {_listed(changes)} in eval mode, and a graph keeps nothing between calls; "
            "guard the change with `if self.training`, or make the state an input and an output"
        )


def _listed(things: Sequence[object]) -> str:
    more = f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return ", ".join(map(str, things[:_SHOWN])) + more


def _it(things: Sequence[object]) -> str:
    return "it" if len(things) == 1 else "them"


def _are(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"
