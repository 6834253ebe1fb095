"""What holds where checkpoint, recipe and command line differ, and that every difference is said or refused."""
import dataclasses

import pytest

from ghost_ms import config as recipes
from ghost_ms.checkpoints.reconcile import Wish, describe, reconcile, wish_of
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config, DataConfig, ModelConfig
from ghost_ms.data.transforms import Preprocessing

OWN = ModelSpec("ghostnet_100", {"num_classes": 3, "in_channels": 3, "drop_rate": 0.1, "stem_stride": 1},
                  ["a", "b", "c"], Preprocessing((32, 48), 3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 0.9, "bicubic"))


def _wish(*words, file="", beside=False):
    recipe, _ = recipes.parse(recipes.build_parser("test", ""), words)
    return Wish(recipe, frozenset(recipes.explicit_keys(words)), file, beside)


def test_a_checkpoint_holds_where_nothing_is_given():
    assert reconcile(OWN, "x.ckpt", Wish(Config())) == (OWN, [])


def test_a_checkpoint_holds_over_a_recipe_and_each_difference_is_said():
    recipe = Config(model=ModelConfig("ghostnet_100", num_classes=3, args={"drop_rate": 0.2, "stem_stride": 1}),
                    data=DataConfig(input_size=(32, 48), mean=[0.1, 0.2, 0.3], std=[1.0, 1.0, 1.0], crop_ratio=1.0,
                                    interpolation="bilinear"))
    found, notes = reconcile(OWN, "x.ckpt", Wish(recipe, file="r.yaml"))
    assert found == OWN
    assert notes == [
        "model.args.drop_rate is 0.2 in r.yaml, but 'x.ckpt' has 0.1, which holds",
        "data.std is [1.0, 1.0, 1.0] in r.yaml, but 'x.ckpt' was made with [0.4, 0.5, 0.6], which holds",
        "data.crop_ratio is 1.0 in r.yaml, but 'x.ckpt' was made with 0.9, which holds",
        "data.interpolation is bilinear in r.yaml, but 'x.ckpt' was made with bicubic, which holds"]


def test_the_command_line_holds_over_the_checkpoint_and_is_said():
    wish = _wish("--data.input_size", "64", "--data.crop_ratio", "1.0", "--data.mean", "[0.5, 0.5, 0.5]",
                 "--data.orient", "true", "--model.args.drop_rate", "0.3", "--model.num_classes", "3")
    found, notes = reconcile(OWN, "x.ckpt", wish)
    assert found.preprocessing == dataclasses.replace(OWN.preprocessing, input_size=(64, 64), crop_ratio=1.0,
                                                      mean=(0.5, 0.5, 0.5), orient=True)
    assert found.args == {**OWN.args, "drop_rate": 0.3}
    assert [note.split(" ")[0] for note in notes] == ["model.args.drop_rate", "data.input_size", "data.mean",
                                                      "data.crop_ratio", "data.orient"]
    assert all(" as asked; 'x.ckpt' " in note for note in notes)
    assert OWN.args["drop_rate"] == 0.1, "the checkpoint's own description is not changed"


def test_a_key_of_the_command_line_holds_beside_a_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("data: {crop_ratio: 0.5, input_size: 99}\n")
    wish = _wish("--config", str(tmp_path / "r.yaml"), "--data.crop_ratio", "0.8", file="r.yaml")
    found, notes = reconcile(OWN, "x.ckpt", wish)
    assert found.preprocessing.crop_ratio == 0.8 and found.preprocessing.input_size == (32, 48)
    assert len(notes) == 2 and "data.input_size is [99, 99] in r.yaml" in notes[0] and "as asked" in notes[1]


@pytest.mark.parametrize("wish", [
    Wish(Config(model=ModelConfig("tinynet_a")), frozenset({"model.name"})),
    Wish(Config(model=ModelConfig("tinynet_a")), file="r.yaml"), wish_of(None, "", model__name="tinynet_a")])
def test_another_model_is_refused_where_the_user_names_it(wish):
    with pytest.raises(ValueError, match="checkpoint of ghostnet_100, not of tinynet_a.*--model.name ghostnet_100"):
        reconcile(OWN, "x.ckpt", wish)


def test_a_recipe_beside_the_checkpoint_or_defaults_name_no_model():
    for wish in (Wish(Config(model=ModelConfig("tinynet_a")), file="config.yaml", beside=True),
                 Wish(Config(model=ModelConfig("tinynet_a")))):
        assert reconcile(OWN, "x.ckpt", wish)[0].model == "ghostnet_100"


def test_impossible_values_of_the_command_line_are_refused():
    with pytest.raises(ValueError, match="mean"):
        reconcile(OWN, "x.ckpt", _wish("--data.mean", "[0.5]"))


def test_without_a_checkpoint_the_recipe_holds_over_the_card():
    found = describe(_wish("--model.name", "ghostnet_100", "--data.crop_ratio", "1.0", "--model.in_channels", "1"), 3,
                     ["a", "b"])
    assert (found.args, found.classes) == ({"num_classes": 2, "in_channels": 1}, ["a", "b"])
    assert found.preprocessing.crop_ratio == 1.0 and found.preprocessing.orient
    assert found.preprocessing.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    with pytest.raises(ValueError, match="model.num_classes is 1, but the data has 2 classes"):
        describe(_wish("--model.num_classes", "1"), 3, ["a", "b"])
    with pytest.raises(ValueError, match="images have 1 or 3 channels"):
        describe(_wish("--model.in_channels", "2"), 3, ["a", "b"])
