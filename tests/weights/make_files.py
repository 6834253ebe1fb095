"""Writes the files under tests/weights/files with PyTorch itself; not needed to run the tests.

    pip install torch==2.13.0 'numpy<2' safetensors && python tests/weights/make_files.py

legacy.pth, zip.pth: one state dict in both formats: every element type, a tied pair, strided windows of one storage,
    a scalar, an empty tensor, a Parameter, an OrderedDict with the `_metadata` of a module.
checkpoint.pth.tar: what a training script saves: epoch, argparse.Namespace with a path, state_dict, state_dict_ema
    under `module.`, optimizer state, NumPy scalars, torch.Size, dtype, device (legacy format).
module.pth: a whole pickled module, which must be refused by name.
tensors.safetensors: by the safetensors library.
described.safetensors: three of its entries' names below `model.`, and what a file of this package says of its network.
expected.npz: the values of the state dict as PyTorch reads them back (bfloat16 as float32).
"""
import argparse
import collections
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "files"


def state():
    """The state dict of the two small files."""
    draw = torch.Generator().manual_seed(1)
    base = torch.randn(4, 6, generator=draw)
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.manual_seed(1)
    result = collections.OrderedDict((name, value.clone()) for name, value in small.state_dict().items())
    result._metadata = small.state_dict()._metadata
    result["tied.a"] = base
    result["tied.b"] = base
    result["strided.transposed"] = base.t()
    result["strided.window"] = base[1:3, ::2]
    result["strided.expanded"] = base[0, :1].expand(5)
    result["scalar"] = torch.tensor(2.5)
    result["empty"] = torch.zeros(0, 3)
    result["parameter"] = torch.nn.Parameter(torch.arange(3.0))
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
                  torch.uint8, torch.bool):
        result[f"dtype.{str(dtype)[6:]}"] = torch.tensor([0, 1, 3, 100]).to(dtype)
    return result


def main():
    FOLDER.mkdir(exist_ok=True)
    values = state()
    torch.save(values, FOLDER / "zip.pth")
    torch.save(values, FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    averaged = {f"module.{name}": value + 1 for name, value in model.state_dict().items()}
    options = argparse.Namespace(lr=0.1, model="linear", output=pathlib.PosixPath("/runs/1"), betas=(0.9, 0.999),
                                 dtype=torch.float16, device=torch.device("cuda", 0), size=torch.Size([3, 2]))
    torch.save({"epoch": 3, "args": options, "state_dict": model.state_dict(), "state_dict_ema": averaged,
                "optimizer": optimizer.state_dict(), "metric": np.float64(75.5), "best": np.array([1.0, 2.0]),
                "milestones": collections.Counter([30, 60]), "rng": np.random.RandomState(0).get_state()[1][:4],
                "arch": "linear"}, FOLDER / "checkpoint.pth.tar", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(1, 1), FOLDER / "module.pth")
    contiguous = {name: value.detach().clone().contiguous() for name, value in values.items()}
    save_file(contiguous, FOLDER / "tensors.safetensors", metadata={"format": "pt"})
    told = {"model": "tiny", "args": {"num_classes": 3, "in_channels": 3, "stem_stride": 1},
            "classes": ["ant", "bee", "cat"], "preprocessing": {
                "input_size": [20, 24], "channels": 3, "mean": [0.5] * 3, "std": [0.2] * 3, "crop_ratio": 0.9,
                "interpolation": "bicubic"}, "metrics": {"epoch": 2, "test_top1": 87.5}}
    named = {f"model.{name}": contiguous[name] for name in ("0.weight", "0.bias", "tied.a")}
    save_file(named, FOLDER / "described.safetensors", metadata={"ghost_ms": json.dumps(told), "format": "pt"})
    np.savez_compressed(FOLDER / "expected.npz",
                        linear=model.weight.detach().numpy(), averaged=averaged["module.weight"].numpy(),
                        **{f"state/{name}": value.detach().float().numpy() if value.dtype == torch.bfloat16
                           else value.detach().numpy() for name, value in values.items()})


if __name__ == "__main__":
    main()
