"""Text files of strangers are read within limits, and give plain data."""
import math
import os
import time

import pytest
import yaml

from ghost_ms.core import plain


@pytest.fixture
def quick():
    """What is refused is refused within a second."""
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < 1


def test_plain_data_comes_back():
    text = "a: {b: [1, 2.5, 1e-3, x, null, true], c: &one {d: 1}, e: *one}\nf: |\n  two\n  lines\n"
    assert plain.parse_yaml(text, "it") == {
        "a": {"b": [1, 2.5, 0.001, "x", None, True], "c": {"d": 1}, "e": {"d": 1}}, "f": "two\nlines\n"}


def _laughs(depth):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)])


@pytest.mark.parametrize("text, words", [
    (_laughs(9), "more than 20,000 values"),
    ("merge: &m {" + ", ".join(f"k{i}: 1" for i in range(200)) + "}\nall: [" + ", ".join(["{<<: *m}"] * 200) + "]",
     "more than 20,000 values"),
    ("a: &a [*a]", "within itself"), ("a: " + "[" * 500_000, "nest"),
    ("a: " + "{b: " * 30 + "1" + "}" * 30, "deeper than 20 levels"), ("[" + "1," * 400_000 + "]", "20,000 values"),
    ("a: " + "9" * 900_000, "10,000 characters"), ("x: !!python/object/apply:os.system [touch /tmp/x]", "tag"),
    ("x: !!python/name:os.system", "tag"), ("x: !custom 1", "tag"),
    ("a: 1\nb: 2\na: 3", "'a' stands twice, again in line 3"),
    ("s: {lr: 1, lr: 2}", "'lr' stands twice"), ("{", "not valid YAML"), ("a: \x00", "not valid YAML"),
    ("? [1, 2]\n: 3\n? {a: 1}\n: 4", "not valid YAML")])
def test_what_no_recipe_holds_is_refused(text, words, quick):
    with pytest.raises(ValueError, match="it is not valid YAML") as error:
        plain.parse_yaml(text, "it")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_none_or_too_large(tmp_path, quick):
    large, pipe, binary = (str(tmp_path / name) for name in ("large", "pipe", "binary"))
    with open(large, "wb") as file:
        file.truncate(1 << 34)
    os.mkfifo(pipe)
    with open(binary, "wb") as file:
        file.write(b"a: \xff")
    for path, words in ((large, "more than 1,048,576 bytes"), (pipe, "no file of text"),
                        ("/dev/zero", "no file of text"),
                        (str(tmp_path), "no file of text|Is a directory"), (binary, "no text in UTF-8 .byte 3")):
        with pytest.raises((ValueError, OSError), match=words):
            plain.read_text(path)


@pytest.mark.parametrize("value, words", [
    ({"a": {1: 2}}, "x.a has the key 1"), ([1, [math.nan]], r"x\[1\]\[0\] is nan"), ({"b": -math.inf}, "x.b is -inf"),
    ({"c": object()}, "x.c holds a object"), ({"d": b"1"}, "x.d holds a bytes"), ({"e": {1, 2}}, "x.e holds a set"),
    (yaml.safe_load("f: 2020-01-01"), "x.f holds a date")])
def test_what_is_not_plain(value, words):
    with pytest.raises(ValueError, match=words):
        plain.require_plain(value, "x")


def test_plain_values_stay_what_they_are():
    value = {"a": [1, 2.5, "b", None, False], "c": {"class_path": "subprocess.Popen"}}
    assert plain.require_plain(value, "x") == value
