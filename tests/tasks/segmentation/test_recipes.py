"""The shipped recipes of segmentation."""
import pathlib

import pytest
from mindspore.nn.utils import no_init_parameters

from ghost_ms import config
from ghost_ms.checkpoints.reconcile import Wish, describe
from ghost_ms.data.label_maps import LAYOUTS
from ghost_ms.tasks.registry import create_task
from ghost_ms.weights.manifest import releases

RECIPES = sorted(path for path in (pathlib.Path(__file__).parents[3] / "configs" / "segmentation").glob("[a-z]*.yaml"))
CLASSES = {"voc": 21, "ade20k": 150, "cityscapes": 19, "fashion_canvas": 11}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_builds_its_network_and_says_what_is_published(path):
    recipe, text = config.load(str(path)), path.read_text()
    task = create_task(recipe.task.name, recipe.task.args)
    spec = describe(Wish(recipe), 3, [f"class {place}" for place in range(CLASSES[recipe.data.dataset])])
    with no_init_parameters():
        net = task.prepare(spec, recipe, None).build()
    assert sum(parameter.size for parameter in net.trainable_params()) > 1e6
    assert recipe.run.dir == f"runs/{path.stem}"
    if recipe.data.dataset in LAYOUTS:
        assert "Not measured here" in text and f"configs/segmentation/{path.name}" in text
        assert path.stem.startswith(f"{recipe.data.dataset}_{recipe.task.head}_")
        assert recipe.model.pretrained is True and releases(recipe.model.name)
