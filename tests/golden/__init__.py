"""Reference outputs of the public PyTorch networks in float64, under weights that a closed rule makes.

`weight` and `image` are that rule; `load` returns a stored record with the complete state under PyTorch's names.
"""
import gzip
import json
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent


def names(kind="eval"):
    """Names of the stored references of a folder: 'eval' (inference), 'train' (three training steps), and the same of
    segmenters, 'segmentation' and 'segmentation_train', and of detectors."""
    return sorted(path.name[:-len(".json.gz")] for path in (FOLDER / kind).glob("*.json.gz"))


def weight(name, shape, salt="", factor=1.0):
    """Float32 array for the parameter that PyTorch calls `name`: normal draws seeded by the name's checksum."""
    draws = np.random.default_rng(zlib.crc32((salt + name).encode())).standard_normal(shape)
    if len(shape) >= 2:
        value = draws / np.sqrt(max(int(np.prod(shape[1:])), 1))
    elif name.endswith(".weight") or name == "weight":
        value = 1 + 0.1 * draws
    else:
        value = 0.1 * draws
    return (np.float32(factor) * value.astype(np.float32)).astype(np.float32)


def image(shape, seed=0):
    """Float32 images (B, C, H, W): a coarse 7x7 pattern, a channel offset, and noise."""
    batch, channels, height, width = shape
    draw = np.random.default_rng(seed).standard_normal
    coarse, offset, noise = draw((batch, channels, 7, 7)), draw((batch, channels, 1, 1)), draw(shape)
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    return (coarse[:, :, rows][:, :, :, columns] + 0.5 * offset + 0.3 * noise).astype(np.float32)


def load(name, kind="eval"):
    """(record, arrays, state) of one reference.

    `state` maps PyTorch's names to arrays. Entries of kind 'kept' (counters, index tables) are in it only where
    they were stored, since a network builds them itself.
    """
    stem = FOLDER / kind / name
    with gzip.open(f"{stem}.json.gz", "rt") as file:
        record = json.load(file)
    arrays = dict(np.load(f"{stem}.npz"))
    state = {}
    for entry, shape, origin, *factor in record["state"]:
        if origin == "rule":
            state[entry] = weight(entry, tuple(shape), record["salt"], *factor)
        elif f"stat/{entry}" in arrays and any(key.startswith(("logits", "raw/")) for key in arrays):
            state[entry] = arrays[f"stat/{entry}"].astype(np.float32)
        elif origin in ("zeros", "ones"):
            state[entry] = getattr(np, origin)(shape, np.float32)
        elif f"kept/{entry}" in arrays:
            state[entry] = arrays[f"kept/{entry}"]
    return record, arrays, state


def label_map(shape, classes, seed=0, ignore=255):
    """Int64 (B, H, W): a coarse 7x7 pattern of classes, one cell in ten of it `ignore`."""
    batch, height, width = shape
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (batch, 7, 7))
    coarse[rng.random((batch, 7, 7)) < 0.1] = ignore
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    return coarse[:, rows][:, :, columns]


def targets(record, first_label):
    """(boxes float32 (B, 8, 4), labels int32 (B, 8)) of a detection record, -1 for no box.

    Args:
        first_label: the record's label of the class 0.
    """
    images = len(record["targets"])
    boxes, labels = np.zeros((images, 8, 4), np.float32), np.full((images, 8), -1, np.int32)
    for image, target in enumerate(record["targets"]):
        count = len(target["labels"])
        boxes[image, :count] = np.asarray(target["boxes"], np.float32).reshape(-1, 4)
        labels[image, :count] = np.asarray(target["labels"], np.int32) - first_label
    return boxes, labels


def functions(name):
    """(arrays, facts) of a reference of functions, such as anchors."""
    stem = FOLDER / "dense_functions" / name
    facts = stem.with_suffix(".json")
    return dict(np.load(stem.with_suffix(".npz"))), json.loads(facts.read_text()) if facts.is_file() else {}
