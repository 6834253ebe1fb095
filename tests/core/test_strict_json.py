"""JSON of strangers is parsed within limits of size, depth and number."""
import json
import time

import pytest

from ghost_ms.core import strict_json


def test_what_json_is_stays_what_it_is():
    value = {"a": [1, -2.5, 1e-300, True, None, "x{[\"\\"], "b": {"c": {}}, "é": 10 ** 29}
    assert strict_json.parse(json.dumps(value)) == value
    assert strict_json.parse('["\\ud83d\\ude00", "\\udc80"]') == ["\U0001F600", "\udc80"]
    assert strict_json.parse("[" * 32 + "]" * 32)


@pytest.mark.parametrize("content, reason", [
    ("{", "no JSON"), ("", "no JSON"), ('{"a": 1, "a": 2}', "names 'a' twice"), ("[1e999]", "too large"),
    ("[NaN]", "holds NaN"), ("[-Infinity]", "holds -Infinity"), ("9" * 31, "31 digits"), ("[" * 33, "nested"),
    ('{"a":' * 40, "nested"), ("[] 1", "no JSON"), ("\x00", "no JSON"), (3, "no text"), (None, "no text"),
    (b"{}", "no text")])
def test_what_cannot_be_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        strict_json.parse(content)


def test_numbers_that_json_does_not_have():
    first, second = strict_json.parse("[NaN, Infinity]", finite=False)
    assert first != first and second == float("inf")
    with pytest.raises(ValueError, match="too large"):
        strict_json.parse("[1e999]", finite=False)


@pytest.mark.parametrize("content", [
    "[" * 7_000_000, '"' + '\\"' * 3_000_000, '"' * 7_000_001, '{"a":' * 1_400_000, "9" * 7_000_000, "x" * 9_000_000])
def test_large_ones_are_refused_soon(content):
    start = time.process_time()
    with pytest.raises(ValueError):
        strict_json.parse(content)
    assert time.process_time() - start < 10
