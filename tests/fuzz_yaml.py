"""Damages recipes at random and reads them as every command does. Each ends in a recipe or in a ValueError of one line,
within a second and in little memory, and nothing is executed.

    python -m tests.fuzz_yaml --cases 10000

A case is a function of seed and number alone.
"""
import argparse
import collections
import os
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import time

from ghost_ms import config

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
#: What YAML gives a meaning to, and what harms where it is believed.
WORDS = ("&a ", "*a", "<<: *a\n", "{", "}", "[", "]", ": ", "\n", "- ", "? ",
         "!!python/object/apply:os.system [touch x]", "!!python/name:os.system", "!!binary aGk=", "!!set {a}",
         "!!timestamp 2020-01-01", ".nan", "-.inf", "1e999", "9" * 40, "-1", "0", "null", "true", "~", "'", '"',
         "|\n  x", ">-\n", "%YAML 9.9\n---\n", "---\n", "...\n", "\t", "#", "\x00", "\ufeff", "\u202e", "\x1b[2J",
         "{class_path: subprocess.Popen, init_args: {args: x, shell: true}}", "base: /dev/zero\n",
         "base: ../../../etc/passwd\n", "base: .\n", "[" * 300, "{a: " * 40, "0x1F", "0o17", "12:30:45", "2020-99-99")
#: Address space that a case may take beyond the start's, and seconds of CPU.
ROOM, SECONDS = 256 << 20, 1.0


def seeds():
    """Text of some recipes, long and short."""
    names = ("quickstart.yaml", "ghostnet/ghostnet_100_imagenet.yaml", "tnt/tnt_s_patch16_224_imagenet.yaml",
             "snnmlp/_base_imagenet.yaml", "_embedded.yaml", "ghostnetv3/ghostnetv3_fashion_mnist_distilled.yaml")
    texts = [(CONFIGS / name).read_text() for name in names]
    return texts + ["model: {name: vig_ti, args: &a {drop_rate: 0.1, list: [1, [2, {x: y}]]}}\ndistill: {args: *a}\n"]


def damage(text, draw):
    """(kind, bytes): a damaged copy of a recipe."""
    kind = draw.choice(("cut", "bits", "word", "word", "word", "value", "value", "repeat", "splice"))
    start = draw.randrange(len(text))
    if kind == "cut":
        return kind, text[:start].encode()
    if kind == "bits":
        changed = bytearray(text.encode())
        for _ in range(draw.choice((1, 3, 20))):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return kind, bytes(changed)
    if kind == "repeat":
        part = text[start:start + draw.choice((5, 50, 500))] * draw.choice((2, 50, 3000))
        return kind, (text[:start] + part).encode()
    if kind == "splice":
        other = draw.choice(seeds())
        return kind, (text[:start] + other[draw.randrange(len(other)):]).encode()
    for _ in range(draw.choice((1, 1, 2, 6))):
        places = [at + 2 for at in range(len(text)) if text.startswith(": ", at)] if kind == "value" else []
        at = draw.choice(places) if places else draw.randrange(len(text) + 1)
        end = next((i for i in range(at, len(text)) if text[i] in ",}\n"), len(text)) if places else at
        text = text[:at] + draw.choice(WORDS) + text[end:]
    return kind, text.encode("utf-8", "surrogatepass")


def run(cases, seed=0, progress=False):
    """Counts of what became of the cases.

    Raises:
        AssertionError: one ended in another error, took too long, or left a file behind; it names the case.
    """
    counts, texts = collections.Counter(), seeds()
    parser = config.build_parser("fuzz", "")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with tempfile.TemporaryDirectory() as folder:
        # Among the recipes that it may stand upon.
        place = os.path.join(shutil.copytree(CONFIGS, os.path.join(folder, "configs")), "ghostnet")
        path, before, count = os.path.join(place, "case.yaml"), os.getcwd(), len(os.listdir(place)) + 1
        os.chdir(place)
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, limits[1]))
        try:
            for number in range(cases):
                draw = random.Random(f"{seed} {number}")
                kind, content = damage(draw.choice(texts), draw)
                with open(path, "wb") as file:
                    file.write(content)
                start = time.process_time()
                try:
                    config.parse(parser, ["--config", path])
                    outcome = "accepted"
                except (ValueError, OSError) as error:
                    assert "\n" not in str(error), f"case {number}: {error!r}"
                    outcome = "refused"
                seconds = time.process_time() - start
                assert seconds < SECONDS, f"case {number} ({kind}) took {seconds:.1f} s"
                assert len(os.listdir(place)) == count, f"case {number} ({kind}) left a file behind"
                counts[kind, outcome] += 1
                if progress and number % 500 == 499:
                    print(f"{number + 1} cases", file=sys.stderr)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
            os.chdir(before)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="recipes to try (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default 0)")
    options = parser.parse_args()
    counts = run(options.cases, options.seed, progress=True)
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:8} {outcome:10} {count:6}")
    print(f"{sum(counts.values())} recipes: none executed, crashed, hung or took more than {ROOM >> 20} MiB")


if __name__ == "__main__":
    main()
