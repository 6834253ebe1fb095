"""The recipe: typed dataclasses that a YAML file and the command line fill.

Every key can be overridden on the command line (`--optimizer.lr 0.1`). An unknown key or a value of the wrong type
stops the run before any work, with a sentence that names the key, the file and the nearest valid name.
"""
import dataclasses
import difflib
import os
import pathlib
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import yaml

from ghost_ms.recipe import (DistillConfig, EmaConfig, LossConfig, OptimizerConfig, PrecisionConfig, ScheduleConfig,
                             TrainConfig, check_training, nearest, one_of, share)

DATASETS = ("image_folder", "cifar10", "cifar100", "mnist", "fashion_mnist", "synthetic", "embedded")


@dataclasses.dataclass
class ModelConfig:
    """The network.

    Args:
        name: a name from `ghost-ms models`.
        num_classes: length of the logits; by default the classes of the data.
        in_channels: channels of the images; by default those of the data.
        pretrained: true for the released weights, or a path of a PyTorch, safetensors or MindSpore file; the
            classifier of another class count starts fresh.
        freeze: what is not trained: a number of stages (resolutions of the network) from the input on, or names of
            cells such as [conv_stem, blocks.0]. Their BatchNorms keep their statistics too; dropout and drop path in
            there go on.
        args: further arguments of the family, such as {drop_rate: 0.1, stem_stride: 1}.
    """

    name: str = "ghostnet_100"
    num_classes: Optional[int] = None
    in_channels: Optional[int] = None
    pretrained: Union[bool, str] = False
    freeze: Union[int, List[str]] = 0
    args: Dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class DataConfig:
    """The images and how they are brought to the network.

    Args:
        dataset: image_folder, cifar10, cifar100, mnist, fashion_mnist, synthetic or embedded.
        root: folder of the data set; synthetic and embedded need none. image_folder holds train/CLASS/IMAGE and
            val/CLASS/IMAGE.
        batch_size: images of a training step, on each device.
        eval_batch_size: images of an evaluation step.
        workers: threads that decode and augment; never more than the cores.
        input_size: height and width of the network's input; by default the model card's.
        mean: per-channel mean of images scaled to 0..1; by default the card's.
        std: per-channel deviation; by default the card's.
        crop_ratio: part of the resized short side that the central crop keeps; by default the card's.
        interpolation: bilinear or bicubic; by default the card's.
        max_corrupt_share: share of an epoch's training images that may be unreadable and are replaced by the next
            good ones; more stops the run. 0 allows none. An unreadable image of the test split always stops it.
        train_share: share of the training images of every class that is used, always the same ones.
        synthetic_size: images of each split of the synthetic data set.
        synthetic_classes: classes of the synthetic data set.
    """

    dataset: str = "image_folder"
    root: Optional[str] = None
    batch_size: int = 128
    eval_batch_size: int = 128
    workers: int = 8
    input_size: Optional[Tuple[int, int]] = None
    mean: Optional[List[float]] = None
    std: Optional[List[float]] = None
    crop_ratio: Optional[float] = None
    interpolation: Optional[str] = None
    max_corrupt_share: float = 0.01
    train_share: float = 1.0
    synthetic_size: int = 256
    synthetic_classes: int = 10


@dataclasses.dataclass
class AugmentConfig:
    """Random changes of the training images.

    Args:
        scale: smallest and largest share of the image's area that a random crop keeps (encoded images only).
        ratio: smallest and largest aspect ratio of that crop (encoded images only).
        crop_padding: pixels of zero padding before a random crop (array data sets such as CIFAR only).
        interpolation: bilinear, bicubic, or random for one of both an image; by default that of the evaluation.
        horizontal_flip: probability of mirroring.
        auto_augment: rand-m9-mstd0.5-inc1 and the like (timm's grammar: m magnitude, n operations, p probability, mstd
            deviation and mmax bound of the magnitude, inc1 for rising severity, w0 for weighted choice), original or
            autoaugment for AutoAugment's ImageNet policy, or trivial.
        color_jitter: strength of random brightness, contrast and saturation; a list of three, or of four with the hue
            last, sets each. Instead of auto_augment.
        random_erasing: probability of a rectangle being erased.
        erasing_mode: pixel for noise, const for the mean colour.
        mixup: alpha of mixup; 0 is off. Mixing makes the targets soft, with label smoothing in them.
        cutmix: alpha of cutmix; 0 is off.
        mix_probability: of a batch being mixed.
        mix_switch_probability: of cutmix rather than mixup, where both are on.
        repeated: times that an image appears in an epoch (repeated augmentation); an epoch keeps its length, and so
            shows only one image in so many.
    """

    scale: Tuple[float, float] = (0.08, 1.0)
    ratio: Tuple[float, float] = (0.75, 4 / 3)
    crop_padding: int = 0
    interpolation: Optional[str] = None
    horizontal_flip: float = 0.5
    auto_augment: Optional[str] = None
    color_jitter: Union[float, List[float]] = 0.0
    random_erasing: float = 0.0
    erasing_mode: str = "pixel"
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    mix_switch_probability: float = 0.5
    repeated: int = 1


@dataclasses.dataclass
class RunConfig:
    """Where and how the run is executed.

    Args:
        dir: folder of the run; it receives config.yaml, metrics.csv, curves.png, log.txt and checkpoints/.
        device: auto, Ascend, GPU or CPU.
        device_id: which of several devices.
        mode: graph or pynative.
        seed: of initial weights, data order and augmentation.
        profile: trace three steps of the first epoch, from this one on, counted from 1, into profile/ of the run's
            folder; the first step compiles.
        summary: write the metrics for MindInsight too, into summary/ of the run's folder.
        compile_cache: folder for the compiled training step, from which the next start of the same recipe with the same
            program takes it; verified on the CPU. One process, without a teacher.
    """

    dir: str = "runs/default"
    device: str = "auto"
    device_id: int = 0
    mode: str = "graph"
    seed: int = 1
    profile: Optional[int] = None
    summary: bool = False
    compile_cache: Optional[str] = None


@dataclasses.dataclass
class Config:
    """A whole recipe."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    ema: EmaConfig = dataclasses.field(default_factory=EmaConfig)
    distill: DistillConfig = dataclasses.field(default_factory=DistillConfig)
    precision: PrecisionConfig = dataclasses.field(default_factory=PrecisionConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)

    def save(self, path: str) -> None:
        """Write the resolved recipe as YAML; reading it back gives an equal recipe."""
        with open(path, "w") as file:
            yaml.safe_dump(_plain(dataclasses.asdict(self)), file, sort_keys=False)


def build_parser(prog: str, description: str):
    """Parser of every key of `Config` and of `--config FILE`; commands add options of their own."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="recipe (YAML); the other options override its keys")
    for section in dataclasses.fields(Config):
        parser.add_class_arguments(section.default_factory, section.name)
    return parser


def parse(parser, argv: Sequence[str]) -> Tuple[Config, Any]:
    """(recipe, every parsed option) of a command line.

    Raises:
        ValueError: an unknown key, a wrong type or a value out of range; one sentence that names it.
    """
    from jsonargparse import ArgumentError

    extra = {name.split(".")[0] for name in _options(parser)}
    files, others = _recipes_apart(argv)
    recipes = [f"--config={yaml.safe_dump(read_recipe(path, extra))}" for path in files]
    try:
        # To the parser a recipe overrides what stands before it: one before the recipe's name would be lost in silence.
        values = parser.parse_args(recipes + others)
    except ArgumentError as error:
        raise ValueError(_sentence(str(error), parser, files)) from None
    # `instantiate` has replaced `instantiate_classes`, which releases for older Pythons still call it.
    built = getattr(parser, "instantiate", parser.instantiate_classes)(values)
    config = Config(**{section.name: built[section.name] for section in dataclasses.fields(Config)})
    _check_values(config)
    return config, values


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    """The recipe in a file, with command-line style overrides such as ('--train.epochs', '2')."""
    return parse(build_parser("ghost-ms", ""), ["--config", path, *overrides])[0]


def read_recipe(path: str, extra: Sequence[str] = ()) -> Dict[str, Any]:
    """The keys that a recipe file sets, those of its `base` included.

    `base: FILE` (relative to the file that says it) begins with another recipe's keys; own keys override, and mappings
    such as model.args are merged key by key.

    Args:
        extra: sections that are known beside those of `Config`.

    Raises:
        ValueError: no such file, no YAML, an unknown key, or files that are each other's base.
    """
    chain: List[str] = []
    merged: Dict[str, Any] = {}
    while path is not None:
        if os.path.abspath(path) in chain:
            raise ValueError(f"{path} is its own base")
        chain.append(os.path.abspath(path))
        recipe = _check_file(path, set(extra))
        base = recipe.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise ValueError(f"{path}: base must be the path of a recipe")
        merged = _merge(recipe, merged)
        path = None if base is None else os.path.join(os.path.dirname(path), base)
    return merged


def _merge(low: Any, high: Any) -> Any:
    """`high` over `low`; mappings key by key."""
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return high
    return {**low, **{key: _merge(low[key], value) if key in low else value for key, value in high.items()}}


def _recipes_apart(argv: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The files that `--config` names, and all other words of a command line."""
    files: List[str] = []
    others: List[str] = []
    words = iter(argv)
    for word in words:
        if word.startswith("--config="):
            files.append(word.split("=", 1)[1])
        elif word == "--config" and (path := next(words, None)) is not None:
            files.append(path)
        else:
            others.append(word)
    return files, others


def _options(parser) -> List[str]:
    return [option[2:] for option in parser._option_string_actions if option.startswith("--")]


def _check_file(path: str, extra: set) -> Dict[str, Any]:
    """The content of one recipe file, whose keys are known; no type has been looked at yet."""
    if not os.path.isfile(path):
        where = "" if os.path.isabs(path) else f" in {os.getcwd()}"
        raise ValueError(f"there is no recipe '{path}'{where}{_nearest_recipe(path)}")
    with open(path) as file:
        try:
            recipe = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} is no recipe: it must hold sections such as 'model:' and 'data:'")
    sections = {section.name: section.default_factory for section in dataclasses.fields(Config)}
    for name, keys in recipe.items():
        if name == "base":
            continue
        if name not in sections and name not in extra:
            raise ValueError(f"{path}: unknown section '{name}'{nearest(name, sections)}")
        known = [field.name for field in dataclasses.fields(sections[name])] if name in sections else keys
        for key in keys if isinstance(keys, dict) else ():
            if key not in known:
                raise ValueError(f"{path}: unknown key '{name}.{key}'"
                                 f"{nearest(key, known, prefix=name + '.')}")
    return recipe


def _nearest_recipe(path: str) -> str:
    """'; did you mean ...?' with the shipped recipe of the most similar name, for the end of a sentence."""
    folder = pathlib.Path(__file__).parents[1] / "configs"
    shipped = {recipe.stem: recipe for recipe in folder.rglob("*.yaml")}
    near = difflib.get_close_matches(pathlib.Path(path).stem, shipped, n=1)
    if not near:
        return "; the shipped ones are under configs/"
    found = shipped[near[0]].relative_to(folder.parent)
    return f"; did you mean '{found if found.is_file() else shipped[near[0]]}'?"


def _sentence(message: str, parser, files: Sequence[str]) -> str:
    """One sentence of the parser's report."""
    unknown = re.search(r"[Uu]nrecognized arguments?: (\S+)", message)
    if unknown:
        return _unknown_option(unknown.group(1).split("=")[0], _options(parser))
    key = re.search(r"[Kk]ey \"([\w.]+)\"", message) or re.search(r"--([\w.]+)", message)
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    reason = lines[-1] if len(lines) > 1 else lines[0]
    reason = re.sub(r"^(error|Problem with given.*?|Validation failed):\s*", "", reason)
    reason = re.sub(r"Expected an? <class '(\w+)'>", r"expected \1", reason).replace(". Got value: ", ", got ")
    where = f" ({', '.join(files)})" if files else ""
    return f"{key.group(1) if key else 'recipe'}{where}: {' '.join(reason.split())}"


def _unknown_option(option: str, known: Sequence[str]) -> str:
    """The sentence about a word that is no option; --lr finds --optimizer.lr."""
    if not option.startswith("-"):
        return f"'{option}' stands alone; a recipe is named with --config, all else by its key, as in --train.epochs 3"
    name = option.lstrip("-")
    near = [key for key in known if key.rpartition(".")[2] == name] or difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"did you mean {' or '.join(repr(f'--{key}') for key in near)}?" if near else "--help lists all"
    return f"unknown option '{option}'; {hint}"


def _check_values(config: Config) -> None:
    """Values whose type is right and whose meaning is not."""
    one_of("data.dataset", config.data.dataset, DATASETS)
    if config.run.device.lower() not in ("auto", "ascend", "gpu", "cpu"):
        raise ValueError(f"run.device is '{config.run.device}'; known are auto, Ascend, GPU, CPU")
    one_of("run.mode", config.run.mode, ("graph", "pynative"))
    if config.run.profile is not None and config.run.profile < 1:
        raise ValueError(f"run.profile is {config.run.profile}; steps are counted from 1")
    if config.data.interpolation is not None:
        one_of("data.interpolation", config.data.interpolation, ("bilinear", "bicubic"))
    for key in ("data.batch_size", "data.eval_batch_size", "data.workers", "data.synthetic_size",
                "data.synthetic_classes"):
        section, name = key.split(".")
        if getattr(getattr(config, section), name) < 1:
            raise ValueError(f"{key} must be at least 1")
    for key in ("horizontal_flip", "random_erasing", "mix_probability", "mix_switch_probability"):
        share(f"augment.{key}", getattr(config.augment, key))
    share("data.max_corrupt_share", config.data.max_corrupt_share)
    if not 0 < config.data.train_share <= 1:
        raise ValueError(f"data.train_share must be more than 0 and at most 1, not {config.data.train_share}")
    _check_augment(config.augment)
    check_training(config.loss, config.optimizer, config.schedule, config.ema, config.distill, config.precision,
                   config.train)


def _check_augment(augment: AugmentConfig) -> None:
    from ghost_ms.data.auto_augment import parse_auto_augment

    one_of("augment.erasing_mode", augment.erasing_mode, ("pixel", "const"))
    if augment.interpolation is not None:
        one_of("augment.interpolation", augment.interpolation, ("bilinear", "bicubic", "random"))
    for key in ("crop_padding", "mixup", "cutmix"):
        if getattr(augment, key) < 0:
            raise ValueError(f"augment.{key} must not be negative")
    if augment.repeated < 1:
        raise ValueError("augment.repeated must be at least 1")
    if not 0 < augment.scale[0] <= augment.scale[1] <= 1:
        raise ValueError(f"augment.scale is {list(augment.scale)}; it is two rising shares above 0, at most 1")
    if not 0 < augment.ratio[0] <= augment.ratio[1]:
        raise ValueError(f"augment.ratio is {list(augment.ratio)}; it is two rising numbers above 0")
    jitter = augment.color_jitter if isinstance(augment.color_jitter, list) else [augment.color_jitter] * 3
    if len(jitter) not in (3, 4) or min(jitter) < 0 or (len(jitter) == 4 and jitter[3] > 0.5):
        raise ValueError(f"augment.color_jitter is {augment.color_jitter}; it is one strength, or a list of "
                         "brightness, contrast, saturation and perhaps hue (at most 0.5)")
    if augment.auto_augment:
        parse_auto_augment(augment.auto_augment)
        if any(jitter):
            raise ValueError("augment.auto_augment and augment.color_jitter are alternatives; "
                             "set augment.color_jitter to 0")


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
