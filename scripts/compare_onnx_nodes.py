"""Count the nodes of our ONNX files beside those that torch.onnx writes of timm's networks of the same name.

    python scripts/compare_onnx_nodes.py --timm-python /path/to/env/bin/python [MODEL...]

timm, torch, onnx and onnxscript live in an environment of their own, named by --timm-python; this script runs there a
second time for timm's half. Both networks are in evaluation mode, batch 1, at their published size, untrained.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

MODELS = ("ghostnet_100", "tnt_s_patch16_224", "mobilenetv3_large_100", "efficientnet_b0")


def count_timm(name: str, dynamo: bool) -> int:
    """Nodes of torch.onnx.export(timm.create_model(name))."""
    import onnx
    import timm
    import torch

    net = timm.create_model(name).eval()
    shape = (1, *net.default_cfg["input_size"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.onnx")
        torch.onnx.export(net, (torch.zeros(shape),), path, dynamo=dynamo)
        return len(onnx.load(path, load_external_data=False).graph.node)


def count_ours(name: str) -> int:
    """Nodes of `ghost-ms export --format ONNX --model NAME`."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.onnx")
        subprocess.run([sys.executable, "-m", "ghost_ms.cli", "export", "--format", "ONNX", "--model", name,
                        "--output", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return len(onnx.load(path).graph.node)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"by default {', '.join(MODELS)}")
    parser.add_argument("--timm-python", help="Python of the environment with timm, torch, onnx and onnxscript")
    parser.add_argument("--timm-only", action="store_true", help="print timm's counts as JSON (used by the script)")
    options = parser.parse_args()
    if options.timm_only:
        print(json.dumps({name: [count_timm(name, dynamo) for dynamo in (False, True)] for name in options.models}))
        return 0
    if not options.timm_python:
        parser.error("name the Python of timm's environment with --timm-python")
    answer = subprocess.run([options.timm_python, __file__, "--timm-only", *options.models], check=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    theirs = json.loads(answer.strip().splitlines()[-1])
    print("| model | ours | timm, torch.onnx (TorchScript) | timm, torch.onnx (dynamo) |\n|---|---|---|---|")
    worse = False
    for name in options.models:
        ours = count_ours(name)
        worse |= ours > min(theirs[name])
        print(f"| {name} | {ours} | {theirs[name][0]} | {theirs[name][1]} |", flush=True)
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
