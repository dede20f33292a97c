"""The learning rate over a training, and which parameters get which."""

import itertools

from attn_models.training import schedule
from attn_models.zoo.attentionnet import MODEL
from support.models.tiny_training import tiny


def test_learning_rate_rises_then_falls_to_nearly_nothing():
    recipe = tiny(lr=1.0, warmup=0.2).recipe()
    rates = [schedule.learning_rate(step, 100, recipe) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[top] == 1.0 and 19 <= top <= 20
    assert all(a < b for a, b in itertools.pairwise(rates[:20]))
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))
    assert 0 < rates[0] < 0.06 and 0 < rates[-1] < 0.01


def test_every_parameter_is_in_one_group_and_gates_have_their_own_rate():
    net, recipe = MODEL.build(), MODEL.recipe()
    groups = schedule.parameter_groups(net, recipe)
    grouped = [p for group in groups for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters()} and len(grouped) == len({*map(id, grouped)})
    (gate_group,) = [g for g in groups if any(p is net.attention.gamma for p in g["params"])]
    assert len(gate_group["params"]) == 1
    assert gate_group["lr_factor"] == recipe.gate_lr and gate_group["weight_decay"] == 0
    (decayed,) = [g for g in groups if g["weight_decay"]]
    assert all(p.ndim > 1 for p in decayed["params"])
