"""Images a second of this package's training pipeline and of torchvision's reference transforms with PyTorch's loader.

RandomResizedCrop to 224, mirroring, batches of 64, and torchvision's normalising, which ours leaves to the training
step; on JPEGs of 500 x 375 of quality 90. The sides run in processes of their own, alternating, with as many workers.
The CPU time of an image is told too: it depends less on what else runs. Two more sides show what is left to gain:
reading, decoding, cutting and resizing with the libraries that this package uses and nothing else at all, and
MindSpore's own operators, which are C++ from the file to the batch (they resize without antialiasing, and draw random
numbers in an order that no run repeats).
"""
import argparse
import concurrent.futures
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

MEAN, STD, BATCH = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 64


def make_images(folder, count):
    """Coarse to fine noise, in eight classes, every fourth image upright: 80 kB each, less than in ImageNet."""
    draw = np.random.default_rng(0)
    for index in range(count):
        width, height = (375, 500) if index % 4 == 0 else (500, 375)
        pixels = np.full((height, width, 3), 128, np.float32)
        for cells, contrast in ((4, 40), (16, 40), (64, 40), (200, 20)):
            for channel in range(3):
                coarse = Image.fromarray(draw.normal(0, contrast, (cells, cells)).astype(np.float32))
                pixels[..., channel] += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        path = os.path.join(folder, "train", f"class{index % 8}", f"{index:05}.jpg")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)


def ghost_ms_batches(folder, workers):
    """Batches of this package."""
    from ghost_ms.config import Config, DataConfig
    from ghost_ms.data.loader import TrainingBatches
    from ghost_ms.tasks.registry import create_task
    from ghost_ms.data.transforms import Preprocessing

    config = Config(data=DataConfig("image_folder", folder, batch_size=BATCH, workers=workers))
    spec = Preprocessing((224, 224), 3, MEAN, STD, 0.875, "bilinear")
    task = create_task("classification")
    dataset = task.open(config.data, "train")
    return TrainingBatches(dataset, config, task.training(config, dataset, spec), 0)


def torchvision_batches(folder, workers):
    """Batches of torchvision's classification reference (its preset with the PIL backend)."""
    import torch
    from torchvision import datasets, transforms

    operations = transforms.Compose([
        transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float), transforms.Normalize(MEAN, STD)])
    images = datasets.ImageFolder(os.path.join(folder, "train"), operations)
    return iter(torch.utils.data.DataLoader(images, BATCH, shuffle=True, num_workers=workers, drop_last=True))


def bare_batches(folder, workers):
    """Decoding and resizing alone, in threads: no loader, mirroring, normalising or batch."""
    files = np.array(sorted(glob.glob(os.path.join(folder, "train", "*", "*.jpg"))))
    shares = np.array_split(np.random.default_rng(0).permutation(files), workers)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return iter([(None, labels) for labels in pool.map(decode_and_resize, shares)])


def decode_and_resize(files):
    """A list of as many entries as there are files."""
    from ghost_ms.data.decode import decode, to_pillow
    from ghost_ms.data.transforms import crop_box

    rng, sizes = np.random.default_rng(0), []
    for file in files:
        with open(file, "rb") as stream:
            image = decode(stream.read(), 3)
        left, top, right, bottom = crop_box(image.shape[1::-1], (0.08, 1.0), (3 / 4, 4 / 3), rng)
        picture = to_pillow(image[top:bottom, left:right], 3)
        sizes.append(picture.resize((224, 224), Image.Resampling.BILINEAR).size)
    return sizes


def mindspore_batches(folder, workers):
    """MindSpore's own operators, with the fused one that decodes no more than the crop."""
    import mindspore.dataset as ds
    from mindspore.dataset import vision

    scaled = [[255 * value for value in values] for values in (MEAN, STD)]
    images = ds.ImageFolderDataset(os.path.join(folder, "train"), shuffle=True, num_parallel_workers=workers)
    images = images.map([vision.RandomCropDecodeResize(224), vision.RandomHorizontalFlip(), vision.Normalize(*scaled),
                         vision.HWC2CHW()], "image", num_parallel_workers=workers)
    batches = images.batch(BATCH, drop_remainder=True, num_parallel_workers=1)
    return batches.create_tuple_iterator(num_epochs=1)


SIDES = {"ghost_ms": ghost_ms_batches, "torchvision": torchvision_batches, "decode and resize alone": bare_batches,
         "MindSpore's operators": mindspore_batches}


def measure(side, folder, workers):
    """Print the rate and the CPU time of the second epoch, from making the iterator to its last batch, as JSON."""
    for _ in range(2):  # the first is for imports and the file cache
        cpu, start = cpu_seconds(), time.perf_counter()
        iterator = SIDES[side](folder, workers)
        images = sum(len(labels) for _, labels in iterator)
        seconds = time.perf_counter() - start
        del iterator  # the workers end, and their time counts
        cpu = cpu_seconds() - cpu
    print(json.dumps({"rate": images / seconds, "cpu": 1e3 * cpu / images}))


def cpu_seconds():
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def compare(options):
    """All sides in turn; medians."""
    results = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        make_images(folder, options.images)
        for _ in range(options.rounds):
            for side in SIDES:
                python = options.torch if side == "torchvision" else sys.executable
                command = [python, __file__, "--side", side, "--folder", folder, "--workers", str(options.workers)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                results[side].append(json.loads(output.splitlines()[-1]))
                last = results[side][-1]
                print(f"{side}: {last['rate']:.0f} images/s, {last['cpu']:.2f} ms of CPU each", flush=True)
    print(f"medians, {options.workers} workers; in brackets, of the ratios to torchvision of the same round:")
    for side, runs in results.items():
        medians = []
        for key, power in (("rate", 1), ("cpu", -1)):
            ratios = [(run[key] / other[key]) ** power for run, other in zip(runs, results["torchvision"])]
            medians += [statistics.median(run[key] for run in runs), statistics.median(ratios)]
        print("{}: {:.0f} images/s ({:.2f}), {:.2f} ms of CPU each ({:.2f})".format(side, *medians))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", default=sys.executable, help="Python that has torch and torchvision")
    parser.add_argument("--images", type=int, default=2048, help="JPEGs to make")
    parser.add_argument("--workers", type=int, default=2, help="workers of each side")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each side")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure(options.side, options.folder, options.workers)
    else:
        compare(options)


if __name__ == "__main__":
    main()
