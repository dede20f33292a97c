"""The model itself: its shapes, and that its attention is off at gamma 0 and on when woken."""

import pytest
import torch
from attn_models.zoo.attentionnet import MODEL, AttentionNet, SelfAttention
from attn_runtime.errors import UsageError


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return AttentionNet().eval()


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_any_image_size_gives_logits(net, size, batch):
    assert net(torch.randn(batch, 3, size, size)).shape == (batch, 10)


@torch.no_grad()
def test_build_arguments_reach_every_part():
    net = MODEL.build(classes=7, in_channels=1, strides=(1, 2)).eval()
    assert net(torch.randn(2, 1, 16, 16)).shape == (2, 7)
    features = net.block2(net.block1(net.stem(torch.randn(1, 1, 16, 16))))
    assert features.shape == (1, 256, 8, 8)
    assert MODEL.build(width=16).attention.value.weight.shape == (64, 64, 1, 1)


def test_a_wrong_number_of_strides_is_a_usage_error():
    with pytest.raises(UsageError, match="got 3 values, expected 2"):
        MODEL.build(strides=(1, 2, 2))


@torch.no_grad()
def test_declared_tensors_are_the_modules(net):
    (image,), (logits,) = MODEL.graph.inputs, MODEL.graph.outputs
    for batch in (image.dims[0].min, image.dims[0].opt, image.dims[0].max):
        sizes = {"batch": batch}
        answer = net(torch.zeros(image.shape(sizes)))
        assert tuple(answer.shape) == logits.shape(sizes)
        assert str(answer.dtype) == f"torch.{logits.dtype}"


@torch.no_grad()
def test_attention_is_what_its_definition_says_position_by_position():
    torch.manual_seed(1)
    layer = SelfAttention(16).double()
    layer.gamma.fill_(0.7)
    x = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    answer = layer(x)

    def project(conv, vector):  # a 1x1 convolution at one position
        out = conv.weight[:, :, 0, 0] @ vector
        return out if conv.bias is None else out + conv.bias

    for b in range(2):
        positions = [x[b, :, i // 5, i % 5] for i in range(15)]
        keys = torch.stack([project(layer.key, p) for p in positions])
        values = torch.stack([project(layer.value, p) for p in positions])
        for i, position in enumerate(positions):
            weights = torch.softmax(keys @ project(layer.query, position), 0)  # no 1/sqrt
            expected = position + 0.7 * weights @ values
            torch.testing.assert_close(answer[b, :, i // 5, i % 5], expected)


@torch.no_grad()
def test_at_gamma_zero_attention_is_off_and_wake_switches_it_on():
    torch.manual_seed(0)
    net = MODEL.build().eval()
    image = torch.randn(2, 3, 32, 32)
    asleep = net(image)
    net.attention.value.weight.mul_(100)
    assert torch.equal(net(image), asleep), "gamma is 0, so the values can't matter"
    net.attention.value.weight.div_(100)

    assert "1.0" in MODEL.wake(net)
    assert net.attention.gamma == 1.0
    awake = net(image)
    assert (awake - asleep).abs().max() > 1e-2 * asleep.abs().max()


def test_every_parameter_gets_a_gradient_once_awake():
    torch.manual_seed(0)
    net = MODEL.build()
    MODEL.wake(net)
    net(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_assets_fit_the_model():
    assets = MODEL.assets()
    assert assets["labels.json"] == list("0123456789")
    image, spec = assets["image.json"], MODEL.graph.inputs[0]
    assert image["input"] == spec.name
    assert [d.opt for d in spec.dims[1:]] == [image["channels"], image["height"], image["width"]]
    assert len(image["mean"]) == len(image["std"]) == image["channels"]
