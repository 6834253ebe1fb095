"""Counts of MACs and activations: by hand on small networks, and against the card of every variant."""
import csv
import io

import pytest
from mindspore import nn, ops

from ghost_ms import create_model, list_models, model_card
from ghost_ms.analysis.measure.complexity import count_layers, part_of, total
from ghost_ms.cli import main
from ghost_ms.layers import ScaledDotProductAttention, split_heads
from ghost_ms.layers.pool import AdaptiveAveragePool
from ghost_ms.layers.upsample import upsample_nearest
from ghost_ms.models.table import read_activations


class Hand(nn.Cell):
    """A network whose products can be counted by hand."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, pad_mode="same", has_bias=True)
        self.stage = nn.SequentialCell(nn.Conv2d(8, 8, 5, pad_mode="same", group=8), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = AdaptiveAveragePool(2)
        self.attend = ScaledDotProductAttention(2, 4)
        self.mixer = ops.BatchMatMul(transpose_a=True)
        self.head = nn.Dense(8, 5)

    def construct(self, x):
        x = upsample_nearest(self.pool(self.stage(self.stem(x))), (4, 4))
        tokens = x.reshape(-1, 8, 16).transpose(0, 2, 1)
        heads = split_heads(tokens, 2)
        tokens = self.attend(heads, heads, heads)
        mixed = self.mixer(tokens, ops.matmul(tokens, tokens.transpose(0, 2, 1))[:, :, :8])
        return self.head(mixed.mean(1))


def test_counts_by_hand():
    """Resizing by constant tables has no MACs; products called outside of any layer belong to the one that calls."""
    layers = {layer.name: layer for layer in count_layers(Hand(), 3, (8, 12))}
    expected = {"stem": (4 * 6 * 8 * 27, 4 * 6 * 8), "stage.0": (4 * 6 * 8 * 25, 4 * 6 * 8), "pool": (0, 0),
                "attend": (2 * 2 * 16 * 16 * 4, 2 * 16 * 16 + 16 * 8),
                "": (16 * 16 * 8 + 8 * 8 * 16, 16 * 16 + 8 * 8), "head": (40, 5)}
    for name, (macs, activations) in expected.items():
        assert (layers[name].macs, layers[name].activations) == (macs, activations), name
    assert total(list(layers.values())).macs == sum(macs for macs, _ in expected.values())
    assert {name: layer.depthwise for name, layer in layers.items() if layer.depthwise} == {"stage.0": 4800}
    assert total(list(layers.values())).depthwise == 4800
    assert layers["stem"].output == (1, 8, 4, 6) and layers["stage"].output == (1, 8, 4, 6)
    assert [layers[name].params for name in ("stem", "stage.0", "stage.1", "head", "")] == [224, 200, 16, 45, 0]


def test_parts_are_sums_of_their_layers():
    layers = count_layers(Hand(), 3, (8, 12))
    parts = {part.name: part for part in part_of(layers, 1)}
    assert list(parts) == ["stem", "stage", "attend", "head", ""], "what costs nothing is left out"
    assert (parts["stage"].kind, parts["stage"].params, parts["stage"].macs) == ("SequentialCell", 216, 4800)
    assert total(list(parts.values())) == total(layers)


def test_counting_leaves_no_trace():
    net = Hand()
    first = count_layers(net, 3, (8, 8))
    assert "__call__" not in vars(ops.Conv2D)
    assert count_layers(net, 3, (8, 8)) == first, "hooks of the first count would count twice"


def test_activations_of_resnet50_are_the_published_ones():
    """11.1M: Radosavovic et al., arXiv 2003.13678."""
    assert read_activations()["resnet50"] == pytest.approx(11.1e6, rel=2e-3)


def _variants():
    """The one of each family with the fewest MACs; the others with --slow."""
    cards = [model_card(name) for name in list_models()]
    families = sorted({card.family for card in cards})
    due = [min((card for card in cards if card.family == family), key=lambda card: card.macs) for family in families]
    return [pytest.param(card.name, marks=() if card in due else pytest.mark.slow) for card in cards]


@pytest.mark.parametrize("name", _variants())
def test_the_counter_agrees_with_the_card(name):
    """The cards hold what was measured of the reference networks; most agree to five digits."""
    card = model_card(name)
    counted = total(count_layers(create_model(name, input_size=card.input_size), 3, card.input_size))
    assert counted.macs == pytest.approx(card.macs, rel=5e-3)
    assert counted.params + card.unused_params == card.params
    assert counted.activations == read_activations()[name], "run python -m ghost_ms.analysis.measure.complexity " + name


def test_activations_of_every_variant_are_known():
    table = read_activations()
    assert set(table) == set(list_models()) and all(isinstance(count, int) and count > 0 for count in table.values())


def test_info(capsys):
    assert main(["info", "ghostnet_100", "--depth", "1"]) == 0
    printed = capsys.readouterr().out
    for words in ("arXiv 1911.11907", "top-1 73.98 %", "state_dict_73.98.pth, licence Apache-2.0",
                  "3x224x224; bilinear, centre crop of 0.875; mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225"):
        assert words in printed
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line and not line.startswith(" ")}
    assert rows["conv_stem"][2:4] == ["1x16x112x112", "432"] and rows["conv_stem"][6] == f"{112 * 112 * 432 / 1e6:.2f}"
    assert rows["total"][1:] == ["total", "-", "5,182,508", "100.0", "%", "141.15", "100.0", "%", "3.55"]


def test_info_of_another_size_and_of_the_deploy_form(capsys):
    """The rows add up to the total; fusing the branches of RepGhost leaves fewer parameters."""
    card = model_card("repghostnet_050")
    counts = []
    for options in ([], ["--deploy"]):
        assert main(["info", card.name, "--input_size", "64", "96", "--depth", "0", *options]) == 0
        printed = capsys.readouterr().out
        assert "64x96" in printed and ("deploy form" in printed) == bool(options)
        *rows, last = [line.split() for line in printed.split("\nlayer ")[1].splitlines()[1:]]
        assert sum(int(row[3].replace(",", "")) for row in rows) == int(last[3].replace(",", ""))
        counts.append(int(last[3].replace(",", "")))
    assert counts[0] == card.params and counts[1] < counts[0]


def test_models_sorted_filtered_and_in_full(capsys):
    assert main(["models", "--family", "ghostnet", "--sort", "macs", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows] == ["ghostnet_050", "ghostnet_100", "ghostnet_110", "ghostnet_130",
                                             "ghostnet_150"]
    assert rows[1]["params"] == "5182508" and rows[1]["macs"] == "141150000" and rows[1]["input_size"] == "224x224"
    assert rows[1]["activations"] == str(read_activations()["ghostnet_100"]) and rows[4]["top1"] == ""
    assert main(["models", "ghostnet_1*", "--sort", "top1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "activations (M)" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["ghostnet_100", "ghostnet_110", "ghostnet_130", "ghostnet_150"]


@pytest.mark.parametrize("argv, words", [
    (["models", "ghostnet*", "--family", "vig"], "no family 'vig' among these models; there are ghostnet, "),
    (["info", "ghostnet_10"], "no model 'ghostnet_10'"), (["info", "ghostnet_100", "--depth", "-1"], "--depth is -1"),
    (["info", "ghostnet_100", "--input_size", "1", "2", "3"], "--input_size takes one or two")])
def test_bad_input(argv, words, capsys):
    assert main(argv) == 1
    assert words in capsys.readouterr().err
