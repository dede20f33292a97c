"""The Vision Transformer: its patches, its attention, and how its training images are moved."""

import pytest
import torch
from attn_models.zoo.vit import CELLS, IMAGE_SIZE, MODEL, SHIFT, VisionTransformer, shifted
from attn_runtime.errors import UsageError

PATCH_SIZE = IMAGE_SIZE // CELLS


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return VisionTransformer().eval()


@torch.no_grad()
def test_declared_tensors_are_the_modules(net):
    (image,), (logits,) = MODEL.graph.inputs, MODEL.graph.outputs
    for batch in (image.dims[0].min, image.dims[0].max):
        sizes = {"batch": batch}
        answer = net(torch.zeros(image.shape(sizes)))
        assert tuple(answer.shape) == logits.shape(sizes)
        assert str(answer.dtype) == f"torch.{logits.dtype}"


@torch.no_grad()
def test_patches_become_tokens_row_by_row(net):
    """What the declared grid of attention weights says: token 1 + row * CELLS + column is the patch there."""
    row, column = 2, 5
    seen = {}
    hook = net.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    image = torch.zeros(1, 3, 32, 32)
    net(image)
    before = seen["x"]
    image[..., row * PATCH_SIZE : (row + 1) * PATCH_SIZE, column * PATCH_SIZE : (column + 1) * PATCH_SIZE] = 1
    net(image)
    hook.remove()
    changed = (seen["x"] != before).any(-1)[0].nonzero().flatten().tolist()
    (spec,) = MODEL.attention
    assert changed == [spec.key.skip + row * spec.key.columns + column]
    assert seen["x"].shape[1] == spec.key.skip + spec.key.rows * spec.key.columns == 1 + CELLS * CELLS


@torch.no_grad()
def test_without_positions_an_image_is_a_bag_of_patches():
    torch.manual_seed(0)
    net = VisionTransformer().eval()
    image = torch.randn(1, 3, 32, 32)
    turned = image.flip(-1).unfold(3, PATCH_SIZE, PATCH_SIZE).flip(-1).flatten(3)  # patches trade places, pixels don't
    net.positions.mul_(50)
    assert (net(turned) - net(image)).abs().max() > 0.01
    net.positions.zero_()
    torch.testing.assert_close(net(turned), net(image))


def test_heads_must_divide_the_width():
    with pytest.raises(UsageError, match="width 64: expected a multiple of heads, 5"):
        MODEL.build(heads=5)


@torch.no_grad()
def test_other_images_keep_the_grid_of_patches():
    build = MODEL.image_build(2, 1, 48)
    net = MODEL.build(**build).eval()
    assert net(torch.randn(2, 1, 48, 48)).shape == (2, 2)
    assert net.patches(torch.randn(1, 1, 48, 48)).shape[2:] == (CELLS, CELLS)
    with pytest.raises(UsageError, match="size 50: expected a multiple of 8 pixels"):
        MODEL.build(size=50)


def test_every_parameter_gets_a_gradient():
    net = VisionTransformer()
    net(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_training_images_are_moved_each_by_itself_and_repeatably():
    # A pixel tells where it came from: row * 100 + column.
    image = (torch.arange(32.0)[:, None] * 100 + torch.arange(32.0)).expand(40, 3, 32, 32)
    moved = shifted(image, torch.Generator().manual_seed(3))
    assert torch.equal(moved, shifted(image, torch.Generator().manual_seed(3)))
    assert moved.shape == image.shape
    rows, columns = moved // 100, moved % 100
    down = 16 - rows[:, 0, 16, 16]
    right = 16 - columns[:, 0, 16, 16]
    assert set(down.tolist()) == set(right.tolist()) == set(range(-SHIFT, SHIFT + 1))
    for number in range(len(moved)):
        where = (torch.arange(32) - down[number]).clamp(0, 31)
        assert (rows[number] == where[:, None]).all(), "the border is repeated"
        assert (columns[number] == (torch.arange(32) - right[number]).clamp(0, 31)).all()
