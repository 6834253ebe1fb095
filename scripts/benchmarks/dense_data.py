"""Images a second of the training pipeline of a task, and of torchvision's reference transforms in a DataLoader.

    python scripts/benchmarks/dense_data.py --torch-python ENV/bin/python [--task detection]

Made JPEGs of 500x375 in PASCAL VOC's folders, batches of 8. Segmentation: indexed maps, short side to 260-1040 pixels,
crop to 480, mirroring. Detection: seven boxes an image, SSDLite's reference transforms: crop by IoU, mirroring,
resizing to 320. torchvision's give float32 images, for segmentation normalised; ours leave both to the step. In turns.
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

BATCH, COUNT = 8, 256
SIZES = {"segmentation": 480, "detection": 320}
BOX = "<object><name>car</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def write_images(folder: pathlib.Path) -> None:
    """The data set."""
    draw = np.random.default_rng(0)
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation", "ImageSets/Main"):
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
        corners = draw.integers(1, (300, 200), (7, 2))
        boxes = np.concatenate([corners, corners + draw.integers(20, 170, (7, 2))], 1).tolist()
        (folder / "Annotations" / f"{number}.xml").write_text(
            "<annotation>" + "".join(BOX.format(*box) for box in boxes) + "</annotation>")
    names = "".join(f"{number}\n" for number in range(COUNT))
    for split in ("train", "val"):
        for kind in ("Segmentation", "Main"):
            (folder / "ImageSets" / kind / f"{split}.txt").write_text(names)


def own_batches(kind: str, folder: str, workers: int) -> Iterator:
    """This package's."""
    from ghost_ms.config import Config
    from ghost_ms.data.loader import TrainingBatches
    from ghost_ms.data.transforms import Preprocessing
    from ghost_ms.tasks.registry import create_task

    config = Config()
    config.data.dataset, config.data.root, config.data.batch_size, config.data.workers = "voc", folder, BATCH, workers
    size = SIZES[kind]
    # The reference's short side is 520 times 0.5 to 2.0, at a crop of 480; that of detection always draws a crop.
    task = create_task(kind, {"scale": [260 / size, 1040 / size], "max_class_share": 1} if kind == "segmentation" else
                       {"crop": 1.0})
    dataset = task.open(config.data, "train")
    spec = Preprocessing((size, size), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "bilinear", True,
                         "letterbox")
    return iter(TrainingBatches(dataset, config, task.training(config, dataset, spec), 0))


def peers_batches(kind: str, folder: str, workers: int) -> Iterator:
    """torchvision's, by its v2 transforms on Pillow images."""
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    if kind == "detection":
        return _peers_boxes(folder, workers)
    size = SIZES[kind]
    steps = v2.Compose([
        v2.RandomShortestSize(list(range(260, 1041))), v2.RandomHorizontalFlip(0.5),
        v2.RandomCrop(size, pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}), v2.ToImage(),
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


def _peers_boxes(folder: str, workers: int) -> Iterator:
    """SSDLite's of its references; the resizing, which is the network's there, with them."""
    import xml.etree.ElementTree as ElementTree

    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    size = SIZES["detection"]
    steps = v2.Compose([v2.RandomIoUCrop(), v2.RandomHorizontalFlip(0.5), v2.Resize((size, size)), v2.ToImage(),
                        v2.ToDtype(torch.float32, scale=True), v2.SanitizeBoundingBoxes()])

    class Files(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, number: int) -> tuple:
            image = Image.open(os.path.join(folder, "JPEGImages", f"{number}.jpg")).convert("RGB")
            root = ElementTree.parse(os.path.join(folder, "Annotations", f"{number}.xml")).getroot()
            rows = [[float(one.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
                    for one in root.findall("object")]
            boxes = tv_tensors.BoundingBoxes(torch.tensor(rows), format="XYXY", canvas_size=image.size[::-1])
            return steps(image, {"boxes": boxes, "labels": torch.ones(len(rows), dtype=torch.int64)})

    return iter(torch.utils.data.DataLoader(
        Files(), BATCH, shuffle=True, num_workers=workers, drop_last=True, collate_fn=lambda rows: (
            torch.stack([row[0] for row in rows]), [row[1] for row in rows])))


def measure(side: str, kind: str, folder: str, workers: int) -> float:
    """Images a second over an epoch, its first batch aside."""
    batches = (own_batches if side == "ghost_ms" else peers_batches)(kind, folder, workers)
    next(batches)
    begin, count = time.perf_counter(), 0
    for images, *_ in batches:
        count += len(images)
    return count / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable, help="Python with torch and torchvision")
    parser.add_argument("--task", choices=sorted(SIZES), default="segmentation")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(measure(options.side, options.task, options.folder, options.workers))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_images(pathlib.Path(folder))
        ratios = []
        for _ in range(options.rounds):
            rates = []
            for side, python in (("ghost_ms", sys.executable), ("torchvision", options.torch_python)):
                command = [python, os.path.abspath(__file__), "--task", options.task, "--side", side, "--folder",
                           folder, "--workers", str(options.workers)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                rates.append(float(done.stdout.split()[-1]))
            ratios.append(rates[0] / rates[1])
            print(f"ghost_ms {rates[0]:.0f}, torchvision {rates[1]:.0f} images/s, ratio {ratios[-1]:.2f}", flush=True)
        print(f"median ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
