"""Charts: round ticks, the front of what nothing beats, and shapes where the values say."""
import re
import xml.etree.ElementTree as ElementTree

import pytest

from ghost_ms.analysis.report import charts
from ghost_ms.analysis.report.charts import Point, Series

SVG = "{http://www.w3.org/2000/svg}"


def _parse(svg):
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize("low, high, expected", [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (57.2, 84.9, [60, 65, 70, 75, 80]), (1, 3, [1, 1.5, 2, 2.5, 3]), (7, 7, [7]),
    (-0.1, 0.1, [-0.1, -0.05, 0, 0.05, 0.1])])
def test_ticks_are_round(low, high, expected):
    assert charts.ticks(low, high) == expected


def test_logarithmic_ticks():
    assert charts.log_ticks(3, 60) == [5, 10, 20, 50]
    assert charts.log_ticks(1e6, 1e9) == [1e6, 1e7, 1e8, 1e9]


@pytest.mark.parametrize("value, text", [
    (0, "0"), (0.5, "0.5"), (5182508, "5.183M"), (1.4e10, "14G"), (20000, "20k"), (0.00031, "3.1e-4"), (1234.5, "1234"),
    (1e-5, "1e-5")])
def test_numbers_are_short(value, text):
    assert charts.number(value) == text


@pytest.mark.parametrize("low, high", [
    (1.46e-4, 1.55e-4), (1.49999e-4, 1.50001e-4), (10001, 10009), (0.12341, 0.12349), (1e16, 1e16 + 2),
    (5e-324, 1e-300), (-1e30, 1e30), (0.99991, 0.99999), (1e-5, 3e-3)])
def test_no_two_ticks_say_the_same(low, high):
    values = charts.ticks(low, high)
    said = charts.tick_labels(values)
    assert len(set(said)) == len(values) > 1 and max(map(len, said)) < 24
    for value, text in zip(values, said):
        units = {"k": 1e3, "M": 1e6, "G": 1e9}
        found = float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)
        assert found == pytest.approx(value, rel=1e-3)


def test_labels_of_a_learning_rate_that_hardly_changes():
    svg = charts.line_chart("lr", [Series("lr", [(1, 1.55e-4), (2, 1.54e-4), (3, 1.52e-4), (4, 1.48e-4)])], "epoch")
    labels = [text.text for text in _parse(svg).iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert labels == ["1.48e-4", "1.5e-4", "1.52e-4", "1.54e-4"]


def test_values_without_a_place_are_left_out():
    points = [(1, 2.0), (2, float("inf")), (3, 1e300), (1e300, 3.0), (4, 2.5)]
    assert len(list(_parse(charts.line_chart("x", [Series("x", points)], "epoch")).iter(f"{SVG}circle"))) == 2
    many = charts.line_chart("x", [Series("x", [(index, index) for index in range(1000)])], "epoch")
    assert "<circle" not in many and many.count(",") > 990


def test_front_of_what_nothing_beats():
    """By hand: b is dearer and worse than a, d costs as much as c and is worse, e ties with c and costs more."""
    points = [Point(name, "", x, y) for name, x, y in
              (("a", 1, 60), ("b", 2, 55), ("c", 3, 70), ("d", 3, 65), ("e", 4, 70), ("f", 9, 71))]
    assert [p.name for p in charts.pareto(points)] == ["a", "c", "f"]
    root = _parse(charts.scatter("cost", points, "ms"))
    on_front = [dot.get("data-model") for dot in root.iter(f"{SVG}circle") if "on-front" in dot.get("class")]
    assert sorted(on_front) == ["a", "c", "f"]


def test_a_line_runs_through_its_values():
    root = _parse(charts.line_chart("loss", [Series("train <loss>", [(1, 2.0), (2, 1.0), (3, float("nan"))])], "epoch"))
    line, = root.iter(f"{SVG}polyline")
    (x1, y1), (x2, y2) = ([float(v) for v in pair.split(",")] for pair in line.get("points").split())
    assert x1 < x2 and y1 < y2, "the higher value stands higher"
    said = [title.text for title in root.iter(f"{SVG}title")]
    assert said == ["train <loss>, epoch 1: 2", "train <loss>, epoch 2: 1"]
    assert charts.line_chart("nothing", [Series("x", [(1, float("nan"))])], "epoch") == ""


def test_confusion_matrix_shades_shares_of_the_row():
    svg = charts.matrix_chart([[9, 1], [0, 0]], ["cat", "dog"], "title")
    assert re.findall(r'class="(hit|miss)"[^>]*fill-opacity="([\d.]+)"', svg) == [
        ("hit", "0.900"), ("miss", "0.316"), ("miss", "0.000"), ("hit", "0.000")]
    assert "cat taken for dog: 1" in svg and _parse(svg) is not None
    assert charts.matrix_chart([[0] * 41] * 41, ["x"] * 41, "title") is None
