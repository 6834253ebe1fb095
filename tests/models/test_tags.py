"""A network with several released weights: NAME.TAG."""
import dataclasses

import pytest

from ghost_ms import create_model, list_models, model_card
from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import DataConfig
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.models import registry
from ghost_ms.weights.manifest import manifest, releases
from ghost_ms.weights.nearest import shapes_only
from tests import tiny


@pytest.fixture
def tagged():
    """The tiny network with a second file, for which images are prepared otherwise."""
    half = {"weights": "tiny.half", "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_ratio": 1.0, "input_size": (40, 40),
            "top1": 12.5}
    with tiny.registered(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._CARDS, "tiny", dataclasses.replace(model_card("tiny"), tags={"half": half}))
        yield


def test_tags_of_all_cards_name_files_and_fields_that_there_are():
    tagged = [name for name in list_models() if model_card(name).tags]
    assert "pvig_m" in tagged and not any("." in name for name in list_models())
    for name in tagged:
        for tag in model_card(name).tags:
            card = model_card(f"{name}.{tag}")
            assert (card.name, card.tag) == (name, tag) and releases(card.weights)
    dotted = {name for name in manifest() if "." in name}
    assert dotted == {f"{name}.{tag}" for name in tagged for tag in model_card(name).tags}


def test_a_tag_is_the_same_network_prepared_for_otherwise(tagged):
    plain, net = create_model("tiny"), create_model("tiny.half")
    assert [(p.name, p.shape) for p in plain.get_parameters()] == [(p.name, p.shape) for p in net.get_parameters()]
    assert (plain.card.crop_ratio, net.card.crop_ratio, net.card.top1) == (0.875, 1.0, 12.5)
    spec = preprocessing_of(net.card, DataConfig(), 3)
    assert (spec.input_size, spec.mean, spec.std) == ((40, 40), (0.5,) * 3, (0.5,) * 3)


def test_a_checkpoint_of_one_fits_the_other(tagged, tmp_path):
    """The tag only says which released weights are meant, and how images are prepared."""
    net = create_model("tiny.half", num_classes=4)
    spec = ModelSpec("tiny.half", {"num_classes": 4}, list("abcd"), preprocessing_of(net.card, DataConfig(), 3))
    path = str(tmp_path / "own.ckpt")
    save_checkpoint(net, path, spec)
    loaded = create_model("tiny", pretrained=path)
    assert (loaded.head.weight.asnumpy() == net.head.weight.asnumpy()).all()


def test_without_pretrained_nothing_is_fetched(monkeypatch):
    from ghost_ms.weights import fetch

    monkeypatch.setattr(fetch, "fetch", lambda release: pytest.fail("fetched"))
    with shapes_only():
        assert create_model("pvig_m.in21k").card.tag == "in21k"


@pytest.mark.parametrize("name, words", [
    ("pvig_m.in1k", "pvig_m has no other released weights tagged 'in1k'; its tags are in21k"),
    ("ghostnet_100.timm", "ghostnet_100 has no other released weights tagged 'timm'; it has none"),
    ("ghostnet.timm", "there is no model 'ghostnet'; the nearest are ghostnet_100")])
def test_unknown_tags_are_named(name, words):
    with pytest.raises(ValueError, match=words):
        create_model(name)
