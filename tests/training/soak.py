"""Kills a training with SIGKILL at random moments until it is through, and compares it with one that was left alone.

    python tests/training/soak.py FOLDER [--kills 20] [--seconds 220] [--seed 1]

A life of the training ends at one of three kinds of moments, drawn at random: as soon as a checkpoint is being
written, after a number of steps and a few milliseconds, or at some time since its start, while it imports or compiles.
Stops after `--seconds` with its place in FOLDER; the same command goes on. With `--kills` done, the training runs to
its end, and every parameter and every row of metrics.csv must be those of the undisturbed training, bit by bit.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
EPOCHS, IMAGES, BATCH = 12, 160, 8
OPTIONS = f"""--model.name tiny --model.args {{"drop_rate":0.2,"drop_path_rate":0.2}}
--data.dataset synthetic --data.synthetic_size {IMAGES} --data.synthetic_classes 4 --data.batch_size {BATCH}
--data.eval_batch_size 40 --data.input_size [16,16] --data.crop_ratio 1.0 --data.workers 1
--augment.random_erasing 0.5 --augment.mixup 0.2 --optimizer.lr 0.05 --ema.decay 0.9
--train.epochs {EPOCHS} --train.accumulate 3 --train.checkpoint_every 3 --train.log_every 1 --train.resume auto
--run.device CPU"""


def start(folder, output=subprocess.PIPE):
    """The training as a child process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(ROOT / "tests/training/tiny_train.py"), *OPTIONS.split(), "--run.dir",
                             str(folder)], env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)


def kill_at_random(folder, draw):
    """(kind of moment, steps done in this life, whether a half-written file was left, whether it ended by itself)."""
    child, lines, begun = start(folder), [], time.time()
    threading.Thread(target=lambda: lines.extend(iter(child.stdout.readline, "")), daemon=True).start()
    kind = draw.choice(["write", "step", "step", "time"])
    steps, seconds, delay = draw.randint(1, 24), draw.uniform(0.5, 15), draw.uniform(0, 0.03)

    def half_written():
        return any(folder.glob("checkpoints/*.tmp*")) or any(folder.glob("checkpoints/.writing-*"))

    def now():
        done = sum(" images/s, " in line and "left" in line for line in lines)
        if kind == "write":
            return done >= min(steps, 6) and half_written()
        return done >= steps if kind == "step" else time.time() - begun > seconds

    while child.poll() is None and not now():
        time.sleep(0.0005)
    if kind != "write":
        time.sleep(delay)
    ended = child.poll() is not None
    child.kill()
    child.wait()
    if ended and child.returncode != 0:
        raise SystemExit("the training failed:\n" + "".join(lines[-20:]))
    done = sum(" images/s, " in line and "left" in line for line in lines)
    return kind, done, half_written(), ended


def main():
    """Run, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=220)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun, whole, broken = time.time(), options.folder / "whole", options.folder / "broken"
    record = options.folder / "kills.json"
    kills = json.loads(record.read_text()) if record.exists() else []
    if not (options.folder / "whole.done").exists():
        assert start(whole, subprocess.DEVNULL).wait() == 0
        (options.folder / "whole.done").write_text("")
    while len(kills) < options.kills and time.time() - begun < options.seconds:
        kind, steps, half, ended = kill_at_random(broken, random.Random(options.seed * 1000 + len(kills)))
        if ended:
            raise SystemExit(f"the training was through after {len(kills)} kills: make it longer")
        kills.append([kind, steps, half])
        record.write_text(json.dumps(kills))
    print(f"{len(kills)} kills: {dict(collections.Counter(kind for kind, *_ in kills))}; "
          f"{sum(half for *_, half in kills)} left a half-written file, {sum(not steps for _, steps, _ in kills)} came "
          f"before the first step; {sum(steps for _, steps, _ in kills)} steps were done in all, "
          f"{EPOCHS * IMAGES // BATCH} are a training; {time.time() - begun:.0f} s")
    if len(kills) < options.kills:
        print("not through yet: the same command goes on")
        return
    assert start(broken, subprocess.DEVNULL).wait() == 0
    sys.path.insert(0, str(ROOT))
    from tests.same import assert_same_runs

    print(f"the same bits in {assert_same_runs(whole, broken):,} values of last.ckpt, best.ckpt and metrics.csv")


if __name__ == "__main__":
    main()
