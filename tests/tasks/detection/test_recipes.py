"""The shipped recipes of detection."""
import pathlib

import pytest
from mindspore.nn.utils import no_init_parameters

from ghost_ms import config
from ghost_ms.checkpoints.reconcile import Wish, describe
from ghost_ms.data.dataset import Dataset
from ghost_ms.tasks.detection.task import coder_of
from ghost_ms.tasks.registry import create_task
from ghost_ms.weights.manifest import releases

RECIPES = sorted(path for path in (pathlib.Path(__file__).parents[3] / "configs" / "detection").glob("[a-z]*.yaml"))
CLASSES = {"coco": 80, "voc": 1, "fashion_canvas": 10}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_its_network_and_says_what_is_published(path):
    recipe, text = config.load(str(path)), path.read_text()
    task = create_task(recipe.task.name, recipe.task.args)
    classes = [f"class {place}" for place in range(CLASSES[recipe.data.dataset])]
    with no_init_parameters():
        spec = task.prepare(describe(Wish(recipe), 3, classes), recipe, Dataset(classes, [], 3, False, None))
        net = spec.build()
    assert sum(parameter.size for parameter in net.trainable_params()) > 1e6
    assert recipe.run.dir == f"runs/{path.stem}" and type(net.coder) is type(coder_of(spec))
    assert net.coder.first_class == coder_of(spec).first_class and not net.resampled
    if recipe.data.dataset == "coco":
        assert "Not measured here" in text and f"configs/detection/{path.name}" in text and "publish" in text
        if recipe.model.pretrained is True and recipe.task.head:
            assert releases(recipe.model.name)
