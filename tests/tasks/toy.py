"""A second task, to prove the contract: a network tells a number, the mean brightness of its image.

Nothing of the package knows of it; this file alone makes it train, go on, be evaluated, exported and used.
"""
import dataclasses

import numpy as np
from mindspore import ops

from ghost_ms.core.figures import Figures
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.runtime.signature import Output
from ghost_ms.tasks.base import Criterion, NotFinite, Task

SIZES = {"train": 40, "val": 16, "test": 8}


class SquaredError(Criterion):
    """Mean squared error, and the sum of absolute errors beside it."""

    sums = ("absolute",)

    def construct(self, raw, numbers):
        difference = raw[:, 0] - numbers
        return (difference ** 2).mean(), (ops.stop_gradient(difference).abs().sum(),)


class Transforms:
    """Images normalised in the pipeline, and the number of each."""

    targets = ("number",)

    def __init__(self, dataset, preprocessing, mirror):
        self.dataset, self.preprocessing, self.mirror = dataset, preprocessing, mirror

    def sample(self, picture, sample, rng):
        size = (*self.preprocessing.input_size, self.preprocessing.channels)
        pixels = np.asarray(self.preprocessing.resize(picture) if rng is None else picture).reshape(size)
        if self.mirror and rng is not None and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        return pixels, self.dataset.labels[sample]

    def collate(self, pixels, targets, draws):
        return normalize_batch(pixels, self.preprocessing.mean, self.preprocessing.std), targets


class Evaluator:
    """The share of the numbers' variance that is explained, and the mean squared error; sums over the images."""

    shared = True

    def __init__(self, name):
        self.name, self.sums = name, np.zeros(4)

    def update(self, outputs, targets):
        numbers, = targets
        found = outputs[0][:len(numbers), 0].astype(np.float64)
        if not np.isfinite(found).all():
            raise NotFinite(f"{self.name(0)} and others have no number")
        self.sums += [len(numbers), numbers.sum(), (numbers ** 2).sum(), ((found - numbers) ** 2).sum()]

    def compute(self, total=list):
        count, numbers, squares, errors = total(self.sums.tolist())
        return {"r2": 1 - errors / (squares - numbers ** 2 / count), "loss": errors / count}

    def learned(self):
        return {}


@dataclasses.dataclass
class Judged:
    numbers: np.ndarray
    found: np.ndarray
    confusable = labelled = False

    def headline(self):
        return f"largest error {np.abs(self.found - self.numbers).max():.4f}"

    def class_rows(self):
        return [["number", "images"], ["all", str(len(self.numbers))]]

    def as_dict(self):
        return {"largest": float(np.abs(self.found - self.numbers).max())}

    def results(self, name):
        for index, (true, said) in enumerate(zip(self.numbers, self.found)):
            yield {"image": name(index), "true": float(true), "number": float(said)}

    def curves(self):
        return []

    def worst(self, count):
        return []

    def confusion_text(self):
        raise ValueError("--confusion is for classes")

    write_confusion = confusion_text


class Regression(Task):
    name = "regression"
    figures = Figures({"r2": "R2", "loss": ""}, ("r2",), {"r2": ""})

    def __init__(self, args=None):
        super().__init__(args)
        self.scale = float(self.args.get("scale", 1.0))

    def open(self, data, split, classes=None):
        draw = np.random.default_rng(["train", "val", "test"].index(split))
        levels = draw.integers(30, 220, SIZES[split])
        images = [np.clip(level + draw.integers(-20, 21, (16, 16, 3)), 0, 255).astype(np.uint8) for level in levels]
        numbers = np.array([self.scale * image.mean() / 255 for image in images], np.float32)
        return Dataset([], numbers, 3, False, lambda sample: images[sample])

    def training(self, config, dataset, preprocessing):
        return Transforms(dataset, preprocessing, config.augment.horizontal_flip > 0)

    def evaluation(self, config, dataset, preprocessing):
        return Transforms(dataset, preprocessing, False)

    def introduction(self, dataset):
        return [f"numbers from {dataset.labels.min():.2f} to {dataset.labels.max():.2f}"]

    def criterion(self, config, dataset, spec):
        return SquaredError()

    def training_figures(self, sums, images, dataset):
        return {"train_error": sums["absolute"] / images}

    def evaluator(self, spec, dataset, name):
        return Evaluator(name)

    def judge(self, run, batches, dataset, spec, probabilities=False):
        rows = [(numbers, np.asarray(run(images))[:len(numbers), 0]) for images, numbers in batches]
        return Judged(*(np.concatenate(column) for column in zip(*rows)))

    def outputs(self, spec, form):
        if form.softmax:
            raise ValueError("--softmax is for classes")
        return (Output("number", (1,)),)

    def result(self, outputs, spec, asked):
        return {"number": float(outputs[0][0])}

    def lines(self, result):
        return [f"{result['number']:.4f}"]

    def cells(self, results):
        yield ["path", "number"]
        for result in results:
            yield [result["image"], f"{result['number']:.6g}"]
