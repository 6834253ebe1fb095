"""Networks with position tables: weights released for one size load into a network built for another."""
import re

import mindspore as ms
import numpy as np
import pytest

from ghost_ms import create_model, list_models, model_card
from ghost_ms.factory import at_size
from ghost_ms.layers import resize_attention_bias, resize_tokens
from ghost_ms.weights.convert import load_torch_state, torch_names
from tests import golden

#: Golden name, its tables with the map of its tokens (or queries and keys) by input size.
CASES = (
    ("tnt_s_patch16_224", {"outer_pos": lambda t, h, w: resize_tokens(t, (h // 16, w // 16), prefix=1)}),
    ("augvit_small_linear", {"pos_embed": lambda t, h, w: resize_tokens(t, (h // 16, w // 16), prefix=1)}),
    ("ptnt_ti_patch16_192", {
        "outer_pos": lambda t, h, w: resize_tokens(t, (h // 8, w // 8)),
        "stages.0.relative_pos": lambda t, h, w: resize_attention_bias(t, (h // 8, w // 8), (h // 32, w // 32)),
        "stages.3.relative_pos": lambda t, h, w: resize_attention_bias(t, (h // 64, w // 64), (h // 64, w // 64))}),
    ("cmt_ti", {
        "relative_pos_a": lambda t, h, w: resize_attention_bias(t, (h // 4, w // 4), (h // 32, w // 32)),
        "relative_pos_d": lambda t, h, w: resize_attention_bias(t, (h // 32, w // 32), (h // 32, w // 32))}))


@pytest.mark.parametrize("name, tables", CASES)
@pytest.mark.parametrize("size", (None, (64, 128), (256, 256)))
def test_released_weights_load_at_other_sizes(name, tables, size):
    record, _, state = golden.load(name)
    net = create_model(name, input_size=size)
    load_torch_state(net, state)
    height, width = size or record["input"][2:]
    ours = {other: net.parameters_dict()[own].asnumpy() for own, other in torch_names(net).items()}
    for table, resample in tables.items():
        np.testing.assert_array_equal(ours[table], resample(state[table], height, width), err_msg=table)
        assert (ours[table].shape == state[table].shape) == ((height, width) == tuple(record["input"][2:]))
    if size is None:
        for entry, value in ours.items():
            np.testing.assert_array_equal(value, state[entry], err_msg=f"{entry} changed at the published size")
    if size == (64, 128):
        logits = net.set_train(False)(ms.Tensor(golden.image((1, 3) + size))).asnumpy()
        assert np.isfinite(logits).all() and logits.std() > 0


def test_a_network_in_hand_goes_to_another_size():
    """Its tables as if the weights had been loaded at that size; to the bit all else, and the way back to its own."""
    name, tables = CASES[0]
    _, _, state = golden.load(name)
    net = create_model(name, num_classes=0)
    load_torch_state(net, {key: value for key, value in state.items() if not key.startswith("head.")})
    other = at_size(net.set_train(False), (64, 128))
    loaded = create_model(name, input_size=(64, 128), num_classes=0)
    load_torch_state(loaded, {key: value for key, value in state.items() if not key.startswith("head.")})
    for ours, theirs in zip(other.get_parameters(), loaded.get_parameters()):
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy(), err_msg=ours.name)
    assert other(ms.Tensor(golden.image((1, 3, 64, 128)))).shape == (1, net.head_features)
    assert other.arguments == {"num_classes": 0, "input_size": (64, 128)} and not other.training
    free = create_model("ghostnet_050", num_classes=2)
    assert at_size(free, (64, 128)) is free
    with pytest.raises(ValueError, match="whole multiples of 16"):
        at_size(net, (60, 64))


@pytest.mark.parametrize("name", [name for name, _ in CASES])
def test_images_of_another_size_are_refused(name):
    net = create_model(name, input_size=(64, 64), num_classes=2)
    with pytest.raises(ValueError, match="built for images of 64x64 pixels and got 96x64"):
        net(ms.Tensor(np.zeros((1, 3, 96, 64), np.float32)))


@pytest.mark.parametrize("name, decayless", (
    ("tnt_s_patch16_224", {"outer_pos", "inner_pos", "cls_token"}), ("ptnt_ti_patch16_192", {"outer_pos", "inner_pos"}),
    ("augvit_small", {"pos_embed", "cls_token"}), ("cmt_ti", set())))
def test_names_without_weight_decay(name, decayless):
    net = create_model(name, input_size=(64, 64), num_classes=2)
    names = [n for n, _ in net.parameters_and_names()]
    assert {n for n in names if any(re.search(p, n) for p in net.no_weight_decay)} == decayless


def test_cards_say_which_networks_are_sized():
    families = {"tnt", "pyramid_tnt", "cmt", "augvit"}
    cards = [card for card in map(model_card, list_models()) if card.family in families]
    assert len(cards) == 15 and all(card.sized for card in cards)
