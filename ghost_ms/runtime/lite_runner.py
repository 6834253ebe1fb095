"""The part of `ghost-ms lite` that runs inside MindSpore Lite: it needs that, NumPy and Python 3.7 or newer.

    python lite_runner.py convert MODEL.onnx OUT.ms [general|none|ascend_oriented:SOC] ['{"quant_type": ...}']
    python lite_runner.py serve MODEL.ms [THREADS] [cpu|ascend]

`convert` writes the file and ends. `serve` loads a model and answers lines of JSON on standard input by lines of JSON:
{"input": A.npy, "output": B.npz} runs it, {"calls": n} tells the milliseconds of n further calls on the same input.
At the end of the input it tells its peak memory.
"""
import json
import os
import resource
import sys
import time

import numpy as np

FORMATS = {".onnx": "ONNX", ".mindir": "MINDIR"}


def convert(source, target, optimize="general", weights="{}"):
    """Convert an ONNX or MINDIR file to `target` (.ms for devices, .mindir for servers).

    `weights` is the section common_quant_param of the converter's settings as JSON; empty for float weights.
    """
    import mindspore_lite as lite

    stem, suffix = os.path.splitext(target)
    converter = lite.Converter()
    converter.save_type = lite.ModelType.MINDIR_LITE if suffix == ".ms" else lite.ModelType.MINDIR
    # Without this a .ms file takes images as (B, H, W, C).
    converter.input_format = lite.Format.NCHW
    converter.optimize, _, chip = optimize.partition(":")
    if chip:
        converter.set_config_info("acl_init_options", {"ge.socVersion": chip})
    if json.loads(weights):
        converter.set_config_info("common_quant_param", json.loads(weights))
    kind = getattr(lite.FmkType, FORMATS[os.path.splitext(source)[1]])
    converter.convert(fmk_type=kind, model_file=source, output_file=stem)
    os.chmod(target, 0o644)


class Model:
    """A loaded model, called with an array."""

    def __init__(self, path, threads, target):
        import mindspore_lite as lite

        context = lite.Context()
        context.target = [target]
        context.cpu.thread_num = threads
        kind = lite.ModelType.MINDIR_LITE if path.endswith(".ms") else lite.ModelType.MINDIR
        self.model = lite.Model()
        self.model.build_from_file(path, kind, context)
        self.shape, self.names = None, []

    def __call__(self, images):
        inputs = self.model.get_inputs()
        height, width, channels = images.shape[1:]
        if inputs[0].shape[1:] == [channels, height, width] != [height, width, channels]:
            # The converter drops a transposition at the input: raw images go in with their channels first.
            images = images.transpose(0, 3, 1, 2)
        if list(images.shape) != self.shape:
            # Mandatory before the first call of a model whose batch is open, harmless for others.
            self.model.resize(inputs, [list(images.shape)])
            inputs, self.shape = self.model.get_inputs(), list(images.shape)
        inputs[0].set_data_from_numpy(np.ascontiguousarray(images))
        outputs = self.model.predict(inputs)
        self.names = [output.name for output in outputs]
        return [output.get_data_to_numpy() for output in outputs]


def serve(path, threads="2", target="cpu"):
    """Answer requests until the input ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # The library prints; the answers must stay apart.
    images = None

    def answer(**values):
        out.write(json.dumps(values) + "\n")
        out.flush()

    start = time.perf_counter()
    try:
        model = Model(path, int(threads), target)
    except (RuntimeError, TypeError, ValueError, ImportError) as error:
        answer(error=" ".join(str(error).split()))
        return
    answer(load_s=time.perf_counter() - start, size_mb=os.path.getsize(path) / 1e6)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "input" in request:
                images = np.load(request["input"])
                np.savez(request["output"], *model(images))
                answer(names=model.names)
            else:
                times = []
                for _ in range(request["calls"]):
                    start = time.perf_counter()
                    model(images)
                    times.append(1e3 * (time.perf_counter() - start))
                answer(ms=times)
        except (RuntimeError, TypeError, ValueError) as error:
            answer(error=" ".join(str(error).split()))
    answer(peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


if __name__ == "__main__":
    {"convert": convert, "serve": serve}[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
