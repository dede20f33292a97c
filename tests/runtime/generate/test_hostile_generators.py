"""What a bundle claims of its generator is checked before a graph is fed, and told in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import BundleError
from attn_runtime.generate.graphs.graph_io import GraphIO
from attn_runtime.generate.recorded_cases import generated_cases
from support.graphs.hostile_generators import ATTACKS, make_generator_bundle
from support.graphs.make_hostile_bundles import Attack


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_generator_bundle(tmp_path_factory.mktemp("generators") / "base.attn")


def use(path: Path) -> None:
    bundle = Bundle.open(path)
    GraphIO.of(bundle)
    for _ in generated_cases(bundle):
        pass


def test_the_bundle_they_were_made_from_is_taken(base: Path) -> None:
    use(base)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_is_told_in_one_line(attack: Attack, base: Path, tmp_path: Path) -> None:
    path = shutil.copytree(base, tmp_path / f"{attack.name}.attn")
    attack.make(path)
    if attack.stage != "open":
        Bundle.open(path)
    with pytest.raises(BundleError) as caught:
        use(path)
    message = str(caught.value)
    assert attack.says in message and path.name in message
    assert "\n" not in message and message.isprintable() and len(message) < 1000
