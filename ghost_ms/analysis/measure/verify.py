"""Every variant in every format that a device runs: written, run, compared, timed.

Each variant is taken by a process of its own (`verify_worker`), so that one that fails, or whose runtime crashes, costs
its own row and no other. The results are a CSV file that is written anew after each variant; the table is made of it.
"""
import concurrent.futures
import csv
import dataclasses
import os
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from ghost_ms.analysis.measure.benchmark import heading
from ghost_ms.core import interpreter
from ghost_ms.core.files import whole_file
from ghost_ms.core.tables import as_markdown
from ghost_ms.core.talk import Ended, Process
from ghost_ms.core.tasks import TASKS
from ghost_ms.models import list_models
from ghost_ms.runtime.compare import MARGIN, TOLERANCE

#: Seconds that a variant may take in all.
LIMIT = 3600
#: What can be taken of a variant, and the fields of its row that this fills.
FORMATS: Dict[str, Tuple[str, ...]] = {
    "mindspore": ("compile_s", "mindspore_ms"), "mindir": ("mindir", "mindir_mb"),
    "onnx": ("onnx", "onnx_mb", "onnx_ms"), "lite": ("lite", "lite_mb", "lite_ms")}


@dataclasses.dataclass
class Row:
    """What was found of one variant, batch 1 at its published size; None where there is nothing.

    Args:
        compile_s: processor seconds of the first call in graph mode from Python, deploy form.
        mindspore_ms, onnx_ms, lite_ms: median of a call in MindSpore's graph mode, ONNX Runtime, MindSpore Lite.
        mindir, onnx, lite: largest difference between the file's output and the network's, relative to the largest
            output.
        mindir_mb, onnx_mb, lite_mb: size of the file.
        rounding: relative change of the network's own output when its input changes in the last bit; only where the
            files differ by more than the tolerance.
        *_note: why the format has no figures.
        taken: processor, versions, and how many at a time.
    """

    model: str
    input_size: str = ""
    compile_s: Optional[float] = None
    mindspore_ms: Optional[float] = None
    mindir: Optional[float] = None
    mindir_mb: Optional[float] = None
    onnx: Optional[float] = None
    onnx_mb: Optional[float] = None
    onnx_ms: Optional[float] = None
    lite: Optional[float] = None
    lite_mb: Optional[float] = None
    lite_ms: Optional[float] = None
    rounding: Optional[float] = None
    mindspore_note: str = ""
    mindir_note: str = ""
    onnx_note: str = ""
    lite_note: str = ""
    taken: str = ""

    def well(self, formats: Sequence[str]) -> bool:
        """Whether these formats give the network's numbers, as far as it gives them twice itself."""
        allowed = max(TOLERANCE, MARGIN * (self.rounding or 0.0))
        differences = [getattr(self, name) for name in formats if name != "mindspore"]
        complete = all(getattr(self, field) is not None for name in formats for field in FORMATS[name])
        return complete and all(value <= allowed for value in differences)

    def without(self, formats: Sequence[str]) -> "Row":
        """The row with what these formats filled left out."""
        fields: Dict[str, Optional[str]] = {field: None for name in formats for field in FORMATS[name]}
        return dataclasses.replace(self, **fields, **{f"{name}_note": "" for name in formats})

    @property
    def notes(self) -> str:
        """A sentence for each format without figures."""
        said = {name: getattr(self, f"{name}_note") for name in FORMATS}
        return " ".join(f"{name}: {text}." for name, text in said.items() if text)


def verify(names: Sequence[str], path: str, formats: Sequence[str] = tuple(FORMATS), jobs: int = 1, threads: int = 1,
           advance: Callable[[Row], None] = lambda row: None) -> Dict[str, Row]:
    """Take variants through formats; what `path` holds of others is kept.

    Args:
        path: CSV file of the results; written after each variant.
        jobs: variants at the same time, each on cores of its own.
        threads: cores of each.
        advance: called with each new row.

    Returns:
        All rows of the file by name.
    """
    rows = read(path) if os.path.isfile(path) else {}
    taken = f"{heading()}; {jobs} at a time, {threads} {'cores' if threads > 1 else 'core'} each"
    free = list(range(jobs))

    def take(name: str) -> Row:
        place = free.pop()
        try:
            return _one(rows.get(name, Row(name)).without(formats), formats, threads, place)
        finally:
            free.append(place)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(take, name) for name in names]):
            row = dataclasses.replace(done.result(), taken=taken)
            rows[row.model] = row
            write(path, rows)
            advance(row)
    return rows


def _one(row: Row, formats: Sequence[str], threads: int, place: int) -> Row:
    command = interpreter.command("ghost_ms.analysis.measure.verify_worker", row.model, str(threads), str(place),
                                  *formats)
    # What was found before a crash counts, and the format that was under way when it came is the one that failed.
    under_way = formats[0]
    try:
        for answer in Process(command, {"OMP_NUM_THREADS": str(threads)}).told(LIMIT):
            under_way = answer.pop("format", under_way)
            row = dataclasses.replace(row, **answer)
    except Ended as reason:
        row = dataclasses.replace(row, **{f"{under_way}_note": f"it ended early: {reason}"})
    return row


def read(path: str) -> Dict[str, Row]:
    """The rows of a file that `write` wrote, by name; ValueError where it is another file."""
    kinds = {field.name: field.type for field in dataclasses.fields(Row)}
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        if lines.fieldnames != list(kinds):
            raise ValueError(f"'{path}' is no file of `ghost-ms verify`; name another one with --results")
        rows = [Row(**{key: value if kinds[key] is str else (float(value) if value else None)
                       for key, value in line.items()}) for line in lines]
    return {row.model: row for row in rows}


def write(path: str, rows: Dict[str, Row]) -> None:
    """Write every figure in full, one line per variant by name; the old file stays until the new one is whole."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: f"{value:.4g}" if isinstance(value, float) else value
                          for key, value in dataclasses.asdict(rows[name]).items()} for name in sorted(rows))


COLUMNS: Tuple[Tuple[str, Callable[[Row], str]], ...] = (
    ("model", lambda row: row.model),
    ("input", lambda row: row.input_size),
    ("compile (s)", lambda row: _number(row.compile_s, ".1f")),
    ("MindSpore (ms)", lambda row: _number(row.mindspore_ms, ".1f")),
    ("MINDIR differs", lambda row: _number(row.mindir, ".0e")),
    ("MB", lambda row: _number(row.mindir_mb, ".1f")),
    ("ONNX differs", lambda row: _number(row.onnx, ".0e")),
    ("MB", lambda row: _number(row.onnx_mb, ".1f")),
    ("ONNX Runtime (ms)", lambda row: _number(row.onnx_ms, ".1f")),
    ("Lite differs", lambda row: _number(row.lite, ".0e")),
    ("MB", lambda row: _number(row.lite_mb, ".1f")),
    ("Lite (ms)", lambda row: _number(row.lite_ms, ".1f")),
)


def _number(value: Optional[float], form: str) -> str:
    return "-" if value is None else format(value, form)


def as_table(rows: Dict[str, Row]) -> str:
    """The table in Markdown, where its rows were taken above it and why there are holes below it."""
    ordered = [rows[name] for name in sorted(rows)]
    columns = [[title, *(cell(row) for row in ordered)] for title, cell in COLUMNS]
    # What was taken of none of them is no hole.
    table = as_markdown([list(line) for line in zip(*(column for column in columns if set(column[1:]) != {"-"}))])
    missing = [name for name in list_models("*") if name not in rows]
    notes = [f"- {row.model}: {row.notes}" for row in ordered if row.notes]
    notes += [f"- {row.model}: its own output changes by {row.rounding:.0e} when its input changes in the last bit, "
              "because it chooses between equals; no runtime repeats that." for row in ordered if row.rounding]
    notes += [f"- not taken yet: {', '.join(missing)}"] if missing else []
    taken = ".\n".join(sorted({row.taken for row in ordered}))
    return "\n\n".join([f"{taken}.", table, *(["\n".join(notes)] if notes else [])])


def chosen(patterns: Sequence[str], rows: Dict[str, Row], formats: Sequence[str], missing: bool) -> List[str]:
    """Names that patterns stand for; with `missing` only those that are not good in these formats yet."""
    names: List[str] = []
    for pattern in patterns:
        found = next(filter(None, (list_models(pattern, task) for task in TASKS)), [])
        if not found:
            raise ValueError(f"no model matches '{pattern}'; `ghost-ms models` lists all")
        names += [name for name in found if name not in names]
    return [name for name in names if not (missing and name in rows and rows[name].well(formats))]
