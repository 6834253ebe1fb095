"""scripts/measure_step.py on a small network: all three forms of the step are built, run and compared."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
#: The script, with a network for which it compiles in seconds.
SCRIPT = """
import runpy
from tests.tiny import registered
with registered():
    runpy.run_path("scripts/measure_step.py", run_name="__main__")
"""


def test_three_forms_of_the_step():
    done = subprocess.run([sys.executable, "-c", SCRIPT, "--model", "tiny", "--batch", "2", "--size", "32",
                           "--rounds", "4"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert "tiny, batch 2, 32 px, 4 rounds" in done.stdout
    ratios = dict(re.findall(r"^([\w ]+): median .* ms .*, (\d\.\d{3}) of bare$", done.stdout, re.M))
    assert list(ratios) == ["bare", "ghost_ms", "ghost_ms with running means"] and ratios["bare"] == "1.000"
