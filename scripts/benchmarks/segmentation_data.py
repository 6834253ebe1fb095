"""Images a second of the training pipeline for segmentation, and of torchvision's reference transforms in a DataLoader.

    python scripts/benchmarks/segmentation_data.py --torch-python ENV/bin/python

Made JPEGs of 500x375 with indexed maps, in PASCAL VOC's folders: short side to 260-1040 pixels, crop to 480, mirroring;
batches of 8. torchvision's normalise their images, ours leave that to the training step. In turns.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Iterator

import numpy as np
from PIL import Image

BATCH, SIZE, COUNT = 8, 480, 256


def write_images(folder: pathlib.Path) -> None:
    """The data set."""
    draw = np.random.default_rng(0)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for number in range(COUNT):
        coarse = draw.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
        noisy = np.clip(image + draw.integers(-12, 13, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "JPEGImages" / f"{number}.jpg", quality=90)
        labels = Image.fromarray(draw.integers(0, 21, (6, 8)).astype(np.uint8)).resize((500, 375),
                                                                                       Image.Resampling.NEAREST)
        labels.putpalette([value for label in range(256) for value in (label, 255 - label, 7 * label % 256)])
        labels.save(folder / "SegmentationClass" / f"{number}.png")
    names = "".join(f"{number}\n" for number in range(COUNT))
    for split in ("train", "val"):
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names)


def own_batches(folder: str, workers: int) -> Iterator:
    """This package's."""
    from ghost_ms.config import Config
    from ghost_ms.data.loader import TrainingBatches
    from ghost_ms.data.transforms import Preprocessing
    from ghost_ms.tasks.registry import create_task

    config = Config()
    config.data.dataset, config.data.root, config.data.batch_size, config.data.workers = "voc", folder, BATCH, workers
    # The reference's short side is 520 times 0.5 to 2.0, at a crop of 480.
    task = create_task("segmentation", {"scale": [260 / SIZE, 1040 / SIZE], "max_class_share": 1})
    dataset = task.open(config.data, "train")
    spec = Preprocessing((SIZE, SIZE), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "bilinear", True,
                         "letterbox")
    return iter(TrainingBatches(dataset, config, task.training(config, dataset, spec), 0))


def peers_batches(folder: str, workers: int) -> Iterator:
    """torchvision's, by its v2 transforms on Pillow images."""
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    steps = v2.Compose([
        v2.RandomShortestSize(list(range(260, 1041))), v2.RandomHorizontalFlip(0.5),
        v2.RandomCrop(SIZE, pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}), v2.ToImage(),
        v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    class Files(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, number: int) -> tuple:
            image = Image.open(os.path.join(folder, "JPEGImages", f"{number}.jpg")).convert("RGB")
            labels = np.asarray(Image.open(os.path.join(folder, "SegmentationClass", f"{number}.png")))
            return steps(image, tv_tensors.Mask(torch.from_numpy(labels.copy())))

    return iter(torch.utils.data.DataLoader(Files(), BATCH, shuffle=True, num_workers=workers, drop_last=True))


def measure(side: str, folder: str, workers: int) -> float:
    """Images a second over an epoch, its first batch aside."""
    batches = (own_batches if side == "ghost_ms" else peers_batches)(folder, workers)
    next(batches)
    begin, count = time.perf_counter(), 0
    for images, *_ in batches:
        count += len(images)
    return count / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable, help="Python with torch and torchvision")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(measure(options.side, options.folder, options.workers))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_images(pathlib.Path(folder))
        ratios = []
        for _ in range(options.rounds):
            rates = []
            for side, python in (("ghost_ms", sys.executable), ("torchvision", options.torch_python)):
                command = [python, os.path.abspath(__file__), "--side", side, "--folder", folder, "--workers",
                           str(options.workers)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rates.append(float(done.stdout.split()[-1]))
            ratios.append(rates[0] / rates[1])
            print(f"ghost_ms {rates[0]:.0f}, torchvision {rates[1]:.0f} images/s, ratio {ratios[-1]:.2f}", flush=True)
        print(f"median ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
