"""Recipes: reading, overriding, writing back, and what is said of a wrong one."""
import dataclasses
import pathlib

import pytest
import yaml

from ghost_ms import config

#: Those of the published variants have a test of their own.
RECIPES = sorted(str(path) for path in (pathlib.Path(__file__).parents[1] / "configs").rglob("*.yaml")
                 if not path.name.endswith("imagenet.yaml") or path.name == "ghostnet_100_imagenet.yaml")


def _parse(*argv):
    return config.parse(config.build_parser("test", ""), list(argv))[0]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.rsplit("/", 1)[-1])
def test_shipped_recipes_load_and_come_back_equal(path, tmp_path):
    recipe = config.load(path)
    recipe.save(tmp_path / "again.yaml")
    assert dataclasses.asdict(config.load(str(tmp_path / "again.yaml"))) == dataclasses.asdict(recipe)


def test_command_line_overrides_the_file(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("optimizer: {lr: 0.5, momentum: 0.8}\nmodel: {args: {stem_stride: 1}}\n")
    recipe = _parse("--config", str(path), "--optimizer.lr", "0.25", "--data.input_size", "[32, 48]")
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.25, 0.8)
    assert recipe.model.args == {"stem_stride": 1}
    assert recipe.data.input_size == (32, 48)


def test_an_option_before_the_file_overrides_it_too(tmp_path):
    for name, rate in (("one", 0.5), ("two", 0.75)):
        (tmp_path / f"{name}.yaml").write_text(f"optimizer: {{lr: {rate}, momentum: {rate}}}\n")
    recipe = _parse("--optimizer.lr", "0.25", "--config", str(tmp_path / "one.yaml"), "--train.epochs=7",
                    f"--config={tmp_path / 'two.yaml'}")
    assert (recipe.optimizer.lr, recipe.optimizer.momentum, recipe.train.epochs) == (0.25, 0.75, 7)


def test_a_recipe_begins_with_its_base(tmp_path):
    (tmp_path / "family").mkdir()
    (tmp_path / "all.yaml").write_text("train: {epochs: 7, log_every: 3}\noptimizer: {lr: 0.5}\n")
    (tmp_path / "family" / "_base.yaml").write_text("base: ../all.yaml\nmodel: {name: vig_ti, args: {drop_rate: 0.1}}\n"
                                                    "optimizer: {name: adamw, betas: [0.8, 0.9]}\n")
    path = tmp_path / "family" / "one.yaml"
    path.write_text("base: _base.yaml\nmodel: {args: {drop_path_rate: 0.2}}\ntrain: {epochs: 9}\n")
    recipe = _parse("--config", str(path), "--optimizer.betas", "[0.5, 0.6]")
    assert (recipe.train.epochs, recipe.train.log_every) == (9, 3)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.betas) == ("adamw", 0.5, [0.5, 0.6])
    assert recipe.model.name == "vig_ti" and recipe.model.args == {"drop_rate": 0.1, "drop_path_rate": 0.2}
    assert _parse(f"--config={path}").train.epochs == 9
    recipe.save(tmp_path / "again.yaml")
    assert config.load(str(tmp_path / "again.yaml")) == recipe
    (tmp_path / "all.yaml").write_text("base: family/one.yaml\n")
    with pytest.raises(ValueError, match="is its own base"):
        _parse("--config", str(path))
    (tmp_path / "all.yaml").write_text("train: {epoks: 1}\n")
    with pytest.raises(ValueError, match=r"all.yaml: unknown key 'train.epoks'; did you mean 'train.epochs'"):
        _parse("--config", str(path))
    path.write_text("base: nowhere.yaml\n")
    with pytest.raises(ValueError, match="there is no recipe .*nowhere.yaml"):
        _parse("--config", str(path))


def test_print_config_is_a_whole_recipe(capsys):
    with pytest.raises(SystemExit) as stop:
        _parse("--print_config")
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert set(printed) == {section.name for section in dataclasses.fields(config.Config)}


@pytest.mark.parametrize("text,words", [
    ("modle: {name: x}", ("unknown section 'modle'", "did you mean 'model'")),
    ("optimizer: {lrr: 1}", ("unknown key 'optimizer.lrr'", "did you mean 'optimizer.lr'")),
    ("optimizer: {lr: high}", ("optimizer.lr", "float", "high")),
    ("train: {epochs: 1.5}", ("train.epochs", "int", "1.5")),
    ("train: {epochs: 0}", ("train.epochs", "at least 1")),
    ("data: {dataset: cifar}", ("data.dataset", "cifar10")),
    ("run: {mode: eager}", ("run.mode", "graph")),
    ("loss: {label_smoothing: 2.0}", ("loss.label_smoothing", "between 0 and 1")),
    ("optimizer: {name: adam}", ("optimizer.name", "did you mean 'adamw'")),
    ("optimizer: {name: lion, nesterov: true}", ("optimizer.nesterov", "sgd")),
    ("optimizer: {clip_norm: 1, clip_agc: 0.01}", ("clip_norm", "clip_agc", "exclude")),
    ("optimizer: {layer_decay: 0}", ("optimizer.layer_decay", "above 0")),
    ("schedule: {name: multi_step}", ("schedule.milestones",)),
    ("schedule: {noise: [0.9, 0.4]}", ("schedule.noise", "rising")),
    ("loss: {threshold: 0.2}", ("loss.threshold", "binary_cross_entropy")),
    ("ema: {decay: 1.0}", ("ema.decay", "below 1")),
    ("distill: {method: warm}", ("distill.method",)),
    ("precision: {dynamic: true}", ("precision.dynamic", "O0")),
    ("precision: {level: O4}", ("precision.level", "O")),
    ("train: {on_nan: ignore}", ("train.on_nan", "skip")),
    ("train: {accumulate: 0}", ("train.accumulate", "at least 1")),
    ("train: {keep: 0}", ("train.keep", "at least 1")),
    ("train: {checkpoint_every: -1}", ("train.checkpoint_every", "not be negative")),
    ("train: {resume: true}", ("train.resume", "auto, off, or the path")),
    ("base: 3", ("base must be the path",)),
    ("- a list", ("no recipe",)),
    ("model: {name: [", ("not valid YAML",)),
])
def test_a_wrong_recipe_is_one_sentence(text, words, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ValueError) as error:
        _parse("--config", str(path))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("word", ["off", "auto", "runs/a/checkpoints/last.ckpt"])
def test_where_to_go_on_from(word, tmp_path):
    """YAML reads a bare off as false."""
    (tmp_path / "recipe.yaml").write_text(f"train: {{resume: {word}}}\n")
    for recipe in (_parse("--config", str(tmp_path / "recipe.yaml")), _parse("--train.resume", word)):
        assert recipe.train.resume == word or word == "off" and recipe.train.resume is False


def test_unknown_options_and_files():
    with pytest.raises(ValueError, match="did you mean '--optimizer.lr'"):
        _parse("--optimzer.lr", "1")
    with pytest.raises(ValueError, match="there is no recipe 'nowhere.yaml'"):
        _parse("--config", "nowhere.yaml")
    with pytest.raises(ValueError, match="expected one argument"):
        _parse("--train.epochs", "1", "--config")
