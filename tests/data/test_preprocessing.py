"""A preprocessing that cannot be is refused where it is made, wherever it comes from."""
import dataclasses
import json

import numpy as np
import pytest

from ghost_ms.data.transforms import Preprocessing

GOOD = {"input_size": [32, 48], "channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 1], "crop_ratio": 0.875,
        "interpolation": "bicubic"}


def test_what_was_written_is_read():
    spec = Preprocessing.from_dict(GOOD)
    assert spec == Preprocessing((32, 48), 3, (0.5, 0.4, 0.3), (0.2, 0.2, 1), 0.875, "bicubic")
    assert Preprocessing.from_dict(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec
    assert dataclasses.replace(spec, input_size=(np.int64(8), 8), crop_ratio=np.float32(1)).input_size == (8, 8)


def test_a_field_with_a_default_may_be_absent():
    @dataclasses.dataclass(frozen=True)
    class Later(Preprocessing):
        turn: bool = False

    assert Later.from_dict(GOOD).turn is False and Later.from_dict({**GOOD, "turn": True}).turn is True
    with pytest.raises(ValueError, match="holds 'turn', which this version does not know"):
        Preprocessing.from_dict({**GOOD, "turn": True})


@pytest.mark.parametrize("field, values", [
    ("input_size", ([0, 32], [-1, 32], [32], [32, 32, 32], 32, None, "32", [32.0, 32], [True, 32], [32, 10 ** 6],
                    [8000, 8000], [32, float("nan")], [2 ** 70, 1], {}, [[32, 32]])),
    ("channels", (0, 2, 4, -3, "3", None, True, 3.0, [3], {})),
    ("mean", ([0.5] * 2, [], 0.5, [0.5, 0.5, float("nan")], [float("inf"), 0, 0], ["0", 0, 0], [10 ** 400, 0, 0], None,
              [1e7, 0, 0], [[0], 0, 0], {})),
    ("std", ([0, 1, 1], [-1, 1, 1], [1e-300, 1, 1], [1e-9, 1, 1], [1], [float("nan"), 1, 1], [1e30, 1, 1],
             [True, 1, 1], None)),
    ("crop_ratio", (0, -1, 1.01, float("nan"), float("inf"), "1", None, True, [1], 1e-320, 0.001)),
    ("interpolation", ("nearest", "", None, 3, ["bilinear"], {}, "BILINEAR", "\x1b[31m"))])
def test_an_impossible_value_is_refused_by_name(field, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"preprocessing\.(input_size|{field}) is .*; it has to be ") as caught:
            Preprocessing.from_dict({**GOOD, field: value})
        assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("values", [None, [], "x", 3, {}, {key: GOOD[key] for key in list(GOOD)[1:]}])
def test_what_is_no_preprocessing_is_refused(values):
    with pytest.raises(ValueError, match="preprocessing (is no list of fields|lacks input_size)"):
        Preprocessing.from_dict(values)
