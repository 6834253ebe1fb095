"""A checkpoint of a network of two convolutions, and pictures of four classes in train/, val/ and a heap."""
import numpy as np
from PIL import Image

from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import DataConfig
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.models import model_card
from tests.tiny import Tiny

CLASSES = ["ant", "bee", "cow", "dog"]
SIZE = (32, 48)
#: What the recipe of the checkpoint says.
KEYS = ["--model.name", "tiny", "--data.input_size", str(list(SIZE)), "--data.workers", "1",
        "--data.eval_batch_size", "4", "--run.device", "CPU", "--run.mode", "pynative"]


def picture(path, seed):
    """A picture of noise, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels // (1 + seed % 3)).save(path)
    return str(path)


def make(folder):
    """tiny.ckpt, data/{train,val}/CLASS/N.png with 2 and 3 pictures a class."""
    for split, count in (("train", 2), ("val", 3)):
        for label, name in enumerate(CLASSES):
            for index in range(count):
                picture(folder / "data" / split / name / f"{index}.png", 100 * count + 10 * label + index)
    spec = preprocessing_of(model_card("tiny"), DataConfig(input_size=SIZE), 3)
    description = ModelSpec("tiny", {"num_classes": 4, "in_channels": 3}, CLASSES, spec)
    net = Tiny().set_train(False)
    save_checkpoint(net, str(folder / "tiny.ckpt"), description)
    return net, spec
