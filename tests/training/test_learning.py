"""One network of each kind that is not convolutional learns the embedded images."""
import csv
import math
import pathlib

import pytest

from ghost_ms import config
from ghost_ms.training.fit import fit

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted(CONFIGS.glob("*/*_embedded.yaml")), ids=lambda path: path.stem)
def test_loss_halves_in_three_epochs(recipe, tmp_path):
    fit(config.load(str(recipe), ["--run.dir", str(tmp_path)]))
    rows = list(csv.DictReader(open(tmp_path / "metrics.csv")))
    # An untrained network tells nothing of ten classes: its loss is log(10), or above.
    assert len(rows) == 3 and float(rows[-1]["train_loss"]) < math.log(10) / 2
