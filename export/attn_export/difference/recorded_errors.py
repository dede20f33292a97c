"""The errors that were recorded when two bundles were made, side by side: how much of its limit each check took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .changes import Section, Told, section

#: (precision, stage, case, output) -> error over limit; infinite where it was not finite.
Ratios = dict[tuple[str, str, str, str], float]


@dataclass(frozen=True)
class RecordedErrors:
    """Of one graph in two bundles. `chosen` are the precisions that are compared."""

    a: Ratios
    b: Ratios
    chosen: tuple[str, str]

    def section(self) -> Section:
        """The worst of each stage; of two precisions the worst of each case after the last stage."""
        name = "recorded errors, over their limits"
        if self.chosen[0] == self.chosen[1]:
            return section(name, _by_stage(self.a), _by_stage(self.b), "recorded")
        a, b = ({case: f"{ratio:.2g}" for case, ratio in self.of_cases(side).items()} for side in (0, 1))
        return section(name, a, b, "recorded")

    def of_cases(self, side: int) -> dict[str, float]:
        """The worst error of each case, over its limit, of the last stage of the precision that is compared."""
        ratios, precision = (self.a, self.b)[side], self.chosen[side]
        stages = [stage for name, stage, _, _ in ratios if name == precision]
        found: dict[str, float] = {}
        for (name, stage, case, _), ratio in ratios.items():
            if name == precision and stage == stages[-1]:
                found[case] = max(found.get(case, 0.0), ratio)
        return found

    def to_json(self) -> list[dict[str, Any]]:
        rows = []
        for key in dict.fromkeys((*self.a, *self.b)):
            told = dict(zip(("precision", "stage", "case", "output"), key, strict=True))
            rows.append({**told, "a": _finite(self.a.get(key)), "b": _finite(self.b.get(key))})
        return rows


def ratios_of(entry: Mapping[str, Any]) -> Ratios:
    """Every check of a graph's entry in the manifest."""
    return {
        (stage["precision"], stage["name"], check["case"], check["output"]): _ratio(check)
        for stage in entry["stages"]
        for check in stage["checks"]
    }


def _by_stage(ratios: Ratios) -> dict[str, Told]:
    worst: dict[str, tuple[float, str]] = {}
    for (precision, stage, case, _), ratio in ratios.items():
        name = f"{stage} ({precision})"
        worst[name] = max(worst.get(name, (-1.0, "")), (ratio, case))
    return {name: f"{ratio:.2g} at {case}" for name, (ratio, case) in worst.items()}


def _ratio(check: Mapping[str, Any]) -> float:
    if check["max_error"] is None or check["limit"] is None:
        return float("inf")
    return float(check["max_error"] / check["limit"]) if check["limit"] else float("inf" if check["max_error"] else 0)


def _finite(ratio: float | None) -> float | None:
    return None if ratio is None or ratio == float("inf") else ratio
