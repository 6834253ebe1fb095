"""Charts as SVG text: no library, no script, and colours from the page's style sheet, so that dark pages are dark.

Every function returns an `<svg>` whose colours are the CSS variables and classes of report.css.
"""
import html
import math
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 38
#: Classes up to which a confusion matrix can be read.
MATRIX_CLASSES = 40
#: Magnitude above which, as with NaN, there is no place for a value, and points of a line that get a dot each.
LARGEST, MOST_DOTS = 1e30, 200


class Series(NamedTuple):
    """A line of a chart."""

    label: str
    points: Sequence[Tuple[float, float]]


class Point(NamedTuple):
    """A dot of a scatter chart; `marked` ones are drawn stronger than the rest."""

    name: str
    group: str
    x: float
    y: float
    marked: bool = False


class Scale(NamedTuple):
    """Values to positions along an axis, and the values that get a line."""

    place: Callable[[float], float]
    ticks: List[float]


def ticks(low: float, high: float, count: int = 6) -> List[float]:
    """About `count` round numbers between two values: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    exponent = math.floor(math.log10(raw))
    power = 10.0 ** exponent
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    values = [round(index * step, max(0, 2 - exponent))
              for index in range(first, math.floor(high / step + 1e-9) + 1)]
    return list(dict.fromkeys(values))


def log_ticks(low: float, high: float) -> List[float]:
    """1, 2 and 5 times powers of ten between two positive values; powers alone where that would be more than 8."""
    def between(factors: Sequence[int]) -> List[float]:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [round(factor * 10.0 ** power, 12) for power in powers for factor in factors]
        return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]

    fine = between((1, 2, 5))
    return fine if len(fine) <= 8 else between((1,))


def pareto(points: Sequence[Point]) -> List[Point]:
    """The points that no other beats: none has a smaller or equal x and a higher y; by rising x."""
    front: List[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def linear_scale(low: float, high: float, start: float, stop: float) -> Scale:
    """A scale for values between two bounds."""
    span = (high - low) or 1.0
    return Scale(lambda value: start + (value - low) / span * (stop - start), ticks(low, high))


def log_scale(low: float, high: float, start: float, stop: float) -> Scale:
    """A logarithmic scale for positive values between two bounds."""
    span = math.log(high / low) or 1.0
    return Scale(lambda value: start + math.log(value / low) / span * (stop - start), log_ticks(low, high))


def number(value: float, digits: int = 4) -> str:
    """A short decimal number: 1200000 is 1.2M, 0.00031 is 3.1e-4.

    Args:
        digits: significant ones at most; two fewer where a power of ten is written.
    """
    if value and not 1e-3 <= abs(value) < 1e13:
        mantissa, exponent = f"{value:.{max(digits - 3, 0)}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    for bound, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= bound:
            return f"{value / size:.{digits}g}{unit}"
    return f"{value:.{digits}g}"


def tick_labels(values: Sequence[float]) -> List[str]:
    """The numbers, with as many digits as tell them apart."""
    for digits in range(4, 20):
        said = [number(value, digits) for value in values]
        if len(set(said)) == len(said):
            break
    return said


def _svg(body: Sequence[str], label: str, size: Optional[Tuple[float, float]] = None) -> str:
    """The opening of an <svg> as wide as there is room or, with a size (width, height), of that many pixels."""
    width, height = size or (WIDTH, HEIGHT)
    style = f' style="width:{width:.0f}px"' if size else ""
    return (f'<svg viewBox="0 0 {width:g} {height:g}"{style} role="img" aria-label="{html.escape(label)}">'
            + "".join(body) + "</svg>")


def _axes(x: Scale, y: Scale, x_label: str) -> List[str]:
    body, bottom = [], HEIGHT - BOTTOM
    for value, said in zip(y.ticks, tick_labels(y.ticks)):
        place = y.place(value)
        body.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>'
                    f'<text class="tick" x="{LEFT - 6}" y="{place + 3.5:.1f}" text-anchor="end">{said}</text>')
    for value, said in zip(x.ticks, tick_labels(x.ticks)):
        body.append(f'<line class="rule" x1="{x.place(value):.1f}" x2="{x.place(value):.1f}" y1="{bottom}" '
                    f'y2="{bottom + 4}"/><text class="tick" x="{x.place(value):.1f}" y="{bottom + 16}" '
                    f'text-anchor="middle">{said}</text>')
    body.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    body.append(f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">'
                f'{html.escape(x_label)}</text>')
    return body


def line_chart(title: str, series: Sequence[Series], x_label: str) -> str:
    """Lines over a common axis, each with a legend entry of its class `s0`, `s1`, ...

    Empty text where no point has a place.
    """
    points = [point for one in series for point in one.points if _has_place(*point)]
    if not points:
        return ""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    margin = 0.06 * (max(ys) - min(ys)) or abs(max(ys)) * 0.1 or 1.0
    x = linear_scale(min(xs), max(xs), LEFT + 6, WIDTH - RIGHT - 6)
    x = x._replace(ticks=[tick for tick in x.ticks if float(tick).is_integer()])
    low = max(0.0, min(ys) - margin) if min(ys) >= 0 else min(ys) - margin
    y = linear_scale(low, max(ys) + margin, HEIGHT - BOTTOM, TOP + 18)
    body = _axes(x, y, x_label)
    for index, one in enumerate(series):
        places = [(x.place(a), y.place(b), a, b) for a, b in one.points if _has_place(a, b)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _, _ in places)
        body.append(f'<polyline class="line s{index}" points="{path}"/>')
        if len(places) > MOST_DOTS:
            continue
        body += [f'<circle class="dot s{index}" cx="{a:.1f}" cy="{b:.1f}" r="3"><title>{html.escape(one.label)}, '
                 f'{html.escape(x_label)} {number(at)}: {number(value)}</title></circle>' for a, b, at, value in places]
    return _svg(body + _legend([one.label for one in series]), title)


def _has_place(*values: float) -> bool:
    return all(abs(value) <= LARGEST for value in values)


def _legend(labels: Sequence[str]) -> List[str]:
    body, place = [], float(LEFT)
    for index, label in enumerate(labels):
        body.append(f'<rect class="key s{index}" x="{place:.0f}" y="{TOP - 6}" width="12" height="4" rx="2"/>'
                    f'<text class="label" x="{place + 17:.0f}" y="{TOP}">{html.escape(label)}</text>')
        place += 32 + 6.2 * len(label)
    return body


def scatter(title: str, points: Sequence[Point], x_label: str) -> str:
    """Dots over a logarithmic axis with the front of those that no other beats; empty text for no point."""
    if not points:
        return ""
    xs, ys = [p.x for p in points], [p.y for p in points]
    margin = 0.08 * (max(ys) - min(ys)) or 1.0
    x = log_scale(min(xs) / 1.15, max(xs) * 1.15, LEFT + 4, WIDTH - RIGHT - 4)
    y = linear_scale(min(ys) - margin, max(ys) + margin, HEIGHT - BOTTOM, TOP)
    front = pareto(points)
    body = _axes(x, y, x_label)
    path = " ".join(f"{x.place(p.x):.1f},{y.place(p.y):.1f}" for p in front)
    body.append(f'<polyline class="front" points="{path}"/>')
    names = {point.name for point in front}
    for point in sorted(points, key=lambda p: (p.name in names, p.marked)):
        kind = ("on-front " if point.name in names else "") + ("marked" if point.marked else "")
        body.append(f'<circle class="point {kind}" data-model="{html.escape(point.name)}" '
                    f'data-group="{html.escape(point.group)}" cx="{x.place(point.x):.1f}" cy="{y.place(point.y):.1f}" '
                    f'r="{5 if point.marked else 3.5}"><title>{html.escape(point.name)}: {number(point.x)}, '
                    f'{point.y:g} %</title></circle>')
    return _svg(body + _names(front, x, y), title)


def _names(front: Sequence[Point], x: Scale, y: Scale) -> List[str]:
    """Labels beside the dots of the front, each only where it covers no label before.

    They stand to the left, where no dot can be: it would beat the front.
    """
    body: List[str] = []
    taken: List[Tuple[float, ...]] = []
    for point in reversed(front):
        middle, width = y.place(point.y) - 3, 5.0 * len(point.name)
        fits = x.place(point.x) - width - 6 > LEFT
        start = x.place(point.x) - width - 6 if fits else x.place(point.x) + 7
        box = (start, middle - 7, start + width, middle + 4)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            continue
        taken.append(box)
        place = f'x="{x.place(point.x) - 6:.1f}" text-anchor="end"' if fits else f'x="{start:.1f}"'
        body.append(f'<text class="name" {place} y="{middle + 3:.1f}">{html.escape(point.name)}</text>')
    return body


def matrix_chart(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> Optional[str]:
    """A confusion matrix: rows are true classes, columns predictions, shades the share of the row.

    None for more than `MATRIX_CLASSES` classes. Mistakes are shaded by the square root, so that few are visible.
    """
    size = len(names)
    if size > MATRIX_CLASSES:
        return None
    cell = next(pixels for pixels, most in ((46, 6), (34, 12), (18, 24), (14, MATRIX_CLASSES)) if size <= most)
    short = [name if len(name) <= 16 else name[:15] + "…" for name in names]
    left = 14 + 6.2 * max(map(len, short))
    top = 14 + 4.6 * max(map(len, short))
    body = []
    for row, line in enumerate(counts):
        whole, y = max(sum(line), 1), top + row * cell
        body.append(f'<text class="tick" x="{left - 6:.0f}" y="{y + cell / 2 + 3.5:.1f}" text-anchor="end">'
                    f'{html.escape(short[row])}</text>')
        x = left + row * cell + cell / 2
        body.append(f'<text class="tick" transform="translate({x + 3:.1f} {top - 6:.1f}) rotate(-45)">'
                    f'{html.escape(short[row])}</text>')
        for column, count in enumerate(line):
            body.append(_cell(left + column * cell, y, cell, count / whole, row == column,
                              f"{names[row]} taken for {names[column]}: {count}", count, size <= 12))
    return _svg(body, title, (left + size * cell + 3.4 * max(map(len, short)) + 10, top + size * cell + 4))


def _cell(x: float, y: float, size: int, share: float, right: bool, said: str, count: int, shown: bool) -> str:
    kind, opacity = ("hit", share) if right else ("miss", math.sqrt(share))
    text = (f'<text class="count{" strong" if opacity > 0.55 else ""}" x="{x + size / 2:.1f}" '
            f'y="{y + size / 2 + 3.5:.1f}" text-anchor="middle">{count}</text>') if shown and count else ""
    return (f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{size - 1}" height="{size - 1}" rx="2"/>'
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{size - 1}" height="{size - 1}" rx="2" '
            f'fill-opacity="{opacity:.3f}"><title>{html.escape(said)}</title></rect>{text}')
