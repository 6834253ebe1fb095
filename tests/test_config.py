"""Recipes: reading, overriding, writing back, and what is said of a wrong one."""
import dataclasses
import pathlib

import pytest
import yaml

from ghost_ms import config
from ghost_ms.config.reading import moved

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


#: What jsonargparse builds a class of where a field takes anything.
CLASS = "{class_path: subprocess.Popen, init_args: {args: 'touch PLANTED', shell: true}}"


@pytest.mark.parametrize("key", ["model.args", "distill.args"])
@pytest.mark.parametrize("value", [CLASS, f"{{x: {CLASS}}}", f"{{x: [{CLASS}]}}", f"{{x: {{y: {CLASS}}}}}"])
def test_no_class_is_built_of_a_recipe(key, value, tmp_path, monkeypatch):
    """Arguments of networks are plain data, whatever they look like; nothing is imported or called."""
    monkeypatch.chdir(tmp_path)
    section, field = key.split(".")
    (tmp_path / "recipe.yaml").write_text(f"{section}: {{{field}: {value}}}\n")
    for recipe in (config.load("recipe.yaml"), _parse(f"--{key}", value), _parse(f"--{key}={value}")):
        assert getattr(getattr(recipe, section), field) == yaml.safe_load(value)
    assert getattr(getattr(_parse(f"--{key}.x", CLASS), section), field) == {"x": yaml.safe_load(CLASS)}
    assert not (tmp_path / "PLANTED").exists()


def test_no_section_is_read_from_a_file_of_its_own(tmp_path):
    """Such a file would pass by the limits of a recipe; --model is the name of a network."""
    (tmp_path / "model.yaml").write_text("name: tnt_s_patch16_224\n")
    with pytest.raises(ValueError, match="unknown option '--optimizer'"):
        _parse("--optimizer", str(tmp_path / "model.yaml"))
    assert _parse("--model", "ghostnet_050").model.name == "ghostnet_050"


@pytest.mark.parametrize("text, words", [
    ("model: {args: {drop_rate: .nan}}", "model.args.drop_rate is nan"),
    ("model: {args: {1: 2}}", "model.args has the key 1"),
    ("model: {args: {day: 2020-01-01}}", "model.args.day holds a date"),
    ("optimizer: {lr: .nan}", "optimizer.lr is nan"), ("optimizer: {lr: .inf}", "optimizer.lr is inf"),
    ("optimizer: {lr: -1}", "optimizer.lr"), ("optimizer: {momentum: -0.5}", "optimizer.momentum"),
    ("optimizer: {rms_decay: 1.5}", "optimizer.rms_decay"),
    ("optimizer: {betas: [.nan, 0.9]}", "optimizer.betas[0] is nan"),
    ("schedule: {warmup_epochs: -3}", "schedule.warmup_epochs"),
    ("schedule: {min_lr: -.inf}", "schedule.min_lr is -inf"),
    ("data: {std: [0, 1, 1]}", "data.std"), ("data: {std: [.nan, 1, 1]}", "data.std[0] is nan"),
    ("data: {std: []}", "data.std"),
    ("data: {mean: [.inf, 0, 0]}", "data.mean[0] is inf"), ("data: {crop_ratio: 0}", "data.crop_ratio"),
    ("data: {crop_ratio: 1.5}", "data.crop_ratio"), ("data: {input_size: [0, 5]}", "data.input_size"),
    ("data: {input_size: -224}", "data.input_size"), ("data: {input_size: 99999999}", "data.input_size"),
    ("data: {batch_size: 99999999999}", "data.batch_size"), ("train: {epochs: 100000000000000}", "train.epochs"),
    ("distill: {weight: .nan}", "distill.weight is nan"), ("model: {training: 3}", "model.training"),
    ("ema: {decay: .nan}", "ema.decay is nan"),
    ("precision: {level: O2, loss_scale: .inf}", "precision.loss_scale is inf"),
    ("augment: {scale: [.nan, 1]}", "augment.scale[0] is nan"), ("augment: {mixup: .inf}", "augment.mixup is inf"),
    ("model: {num_classes: 0}", "model.num_classes"), ("run: {device_id: -1}", "run.device_id"),
    ("run: {dir: ''}", "run.dir"),
    ("model: 5", "the section 'model' must hold keys"), ("optimizer: [1]", "the section 'optimizer' must hold keys"),
    ("config: /etc/passwd", "unknown section 'config'"), ("ckpt: x", "unknown section 'ckpt'")])
def test_impossible_values_are_refused_at_the_door(text, words, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ValueError) as error:
        config.load(str(path))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_typed_rate_is_meant_as_it_stands(tmp_path):
    """A batch that a recipe states belongs to the rate that it states."""
    (tmp_path / "base.yaml").write_text("optimizer: {lr: 0.4, base_batch: 1024}\n")
    for name, text in (("own", "{lr: 0.1}"), ("both", "{lr: 0.1, base_batch: 256}"), ("none", "{momentum: 0.8}")):
        (tmp_path / f"{name}.yaml").write_text(f"base: base.yaml\noptimizer: {text}\n")
    paths = {name: str(tmp_path / f"{name}.yaml") for name in ("base", "own", "both", "none")}

    def rate(*argv):
        optimizer = _parse(*argv).optimizer
        return optimizer.lr, optimizer.base_batch

    assert rate("--config", paths["base"]) == rate("--config", paths["none"]) == (0.4, 1024)
    assert rate("--config", paths["own"]) == (0.1, None) and rate("--config", paths["both"]) == (0.1, 256)
    assert rate("--config", paths["base"], "--config", paths["own"]) == (0.1, None)
    for words in (["--config", paths["base"], "--optimizer.lr", "0.04"],
                  ["--optimizer.lr=0.04", "--config", paths["both"]]):
        assert rate(*words) == (0.04, None)
        assert rate(*words, "--optimizer.base_batch", "512") == (0.04, 512)


def test_what_is_typed_in_the_first_hour():
    recipe = _parse("--model", "tnt_s_patch16_224", "--data.input-size", "128", "--model.args.drop_rate", "1e-1",
                    "--model.args.stages=[1, 2]", "--train.epochs=3")
    assert (recipe.model.name, recipe.data.input_size, recipe.train.epochs) == ("tnt_s_patch16_224", (128, 128), 3)
    assert recipe.model.args == {"drop_rate": 0.1, "stages": [1, 2]}
    assert _parse("--data.input_size", "[32, 48]").data.input_size == (32, 48)
    for option in ("--train.epoch", "--model.nam", "--data.batch"):
        with pytest.raises(ValueError, match=f"unknown option '{option}'; did you mean '{option}"):
            _parse(option, "3")
    with pytest.raises(ValueError, match="--model.args.drop_rate takes a value"):
        _parse("--model.args.drop_rate")


def test_a_chain_of_recipes_ends(tmp_path):
    for index in range(30):
        (tmp_path / f"{index}.yaml").write_text(f"base: {index + 1}.yaml\n")
    with pytest.raises(ValueError, match="more than 20 recipes"):
        config.load(str(tmp_path / "0.yaml"))


def test_damaged_recipes_are_read_or_refused():
    """The fixed small part of tests/fuzz_yaml.py."""
    from tests import fuzz_yaml

    counts = fuzz_yaml.run(200)
    assert sum(counts.values()) == 200
    assert sum(count for (_, outcome), count in counts.items() if outcome == "refused") > 50


def test_keys_of_earlier_versions_are_taken_to_where_they_stand_now(tmp_path, capsys):
    """A saved recipe holds every key: those at their old defaults say nothing."""
    path = tmp_path / "old.yaml"
    path.write_text("train: {activation_epochs: 0.0, activation_schedule: linear}\nloss: {balance_weight: 0.0}")
    assert config.load(str(path)) == config.parse(config.build_parser("", ""), [])[0]
    assert capsys.readouterr().err == ""
    path.write_text("model: {training: {a: 1}}\ntrain: {activation_epochs: 2.0, activation_schedule: cosine}\n"
                    "loss: {balance_weight: 0.5}")
    wanted = {"a": 1, "activation_epochs": 2.0, "activation_schedule": "cosine", "balance_weight": 0.5}
    assert config.load(str(path)).model.training == wanted
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and said[0] == (
        "note: train.activation_epochs is model.training.activation_epochs now, and is taken for it")
    words = ["--train.activation-epochs", "3", "--loss.balance_weight=0.1"]
    found = config.parse(config.build_parser("", ""), words)[0]
    assert found.model.training == {"activation_epochs": 3, "balance_weight": 0.1}
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert moved({"train.epochs": 3, "train.activation_epochs": 2.0, "loss.balance_weight": 0.0}) == {
        "train.epochs": 3, "model.training": {"activation_epochs": 2.0}}


def test_help_names_types_in_words():
    """No Python in the help of a recipe's keys."""
    text = " ".join(config.build_parser("x", "").format_help().split())
    assert "(whole number or null; default: null)" in text and "(mapping; default: {})" in text
    for word in ("Optional[", "Union[", "<class", "type: ", "List[", "Dict["):
        assert word not in text, word


def test_a_base_may_be_a_recipe_of_the_package(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: quickstart\ntrain: {epochs: 7}\n")
    found, shipped = config.load(str(tmp_path / "mine.yaml")), config.load("quickstart")
    assert found.train.epochs == 7 and found.optimizer == shipped.optimizer and found.model == shipped.model
    # A file of the recipe's own folder comes before it.
    (tmp_path / "quickstart").write_text("optimizer: {lr: 0.5}\n")
    assert config.load(str(tmp_path / "mine.yaml")).optimizer.lr == 0.5
    (tmp_path / "mine.yaml").write_text("base: quickstar\n")
    with pytest.raises(ValueError, match="there is no recipe '.*quickstar'"):
        config.load(str(tmp_path / "mine.yaml"))
