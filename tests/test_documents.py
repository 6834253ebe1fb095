"""The documents: links that lead somewhere, keys and commands that exist, code that runs, counts that are right."""
import dataclasses
import importlib.util
import pathlib
import re
import shutil
import sys
import urllib.parse

import numpy as np
import pytest
import yaml
from mindspore import Tensor

import ghost_ms
from ghost_ms import list_models, model_card
from ghost_ms import config as recipes
from ghost_ms.analysis.measure.complexity import count_layers, total
from ghost_ms.cli import COMMANDS
from ghost_ms.core.tables import as_markdown
from ghost_ms.factory import create_model
from ghost_ms.models import registry
from ghost_ms.models.table import MARKDOWN_COLUMNS, rows

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md")
                   if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)|!\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def _prose(path):
    """A document without its code."""
    text = re.sub(r"^(```|~~~).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def _anchors(path):
    """What GitHub makes of the headings of a document."""
    found = []
    for line in re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S).splitlines():
        heading = re.match(r"#+\s+(.*?)\s*#*$", line)
        if heading:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return found


def broken_links(path):
    """Links of a document that lead nowhere; external ones only have to be well-formed."""
    broken = []
    for match in LINK.finditer(_prose(path)):
        target = next(filter(None, match.groups()))
        parts = urllib.parse.urlsplit(target)
        if parts.scheme or target.startswith("//"):
            good = parts.scheme in ("http", "https", "mailto") and (parts.netloc.count(".") or parts.scheme == "mailto")
        else:
            file = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            good = file.exists() and (not parts.fragment or file.suffix != ".md" or parts.fragment in _anchors(file))
        if not good:
            broken.append(target)
    return broken


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert broken_links(path) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# One, two\n## One two\n```sh\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md) [b](other.md#one-two) [c](gone.md) [d](other.md#three) [e](http://nowhere) "
                    "[f](https://example.org/x) [g](#here) ![h](gone.png) `[i](gone.md)` [j](other.md#no-heading)\n"
                    "# Here\n")
    assert broken_links(page) == ["gone.md", "other.md#three", "http://nowhere", "gone.png", "other.md#no-heading"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_exist(path):
    named = re.findall(r"(?:^|`)ghost-ms ([a-z][a-z-]*)", path.read_text(encoding="utf-8"), flags=re.M)
    assert set(named) <= set(COMMANDS)


def test_the_example_of_a_family_is_one(tmp_path, monkeypatch):
    """The file of docs/adding_a_model.md, as it stands there, keeps the contract, and its card is right."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "adding_a_model.md").read_text(), flags=re.S)[1]
    (tmp_path / "plainnet.py").write_text(code)
    for table in (registry._CARDS, registry._CONSTRUCTORS):
        monkeypatch.setitem(table, "plainnet_small", None)
        del table["plainnet_small"]
    spec = importlib.util.spec_from_file_location("plainnet", tmp_path / "plainnet.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "plainnet", module)
    spec.loader.exec_module(module)
    card, net = model_card("plainnet_small"), create_model("plainnet_small").set_train(False)
    counted = total(count_layers(net, 3, (224, 224)))
    assert counted.params == card.params and counted.macs == pytest.approx(card.macs, rel=1e-4)
    x = Tensor(np.zeros((2, 3, 64, 96), np.float32))
    for info, map_ in zip(net.feature_info, net.forward_pyramid(x)):
        assert map_.shape == (2, info.channels, 64 // info.stride, 96 // info.stride)
        assert info.name in dict(net.cells_and_names())
    assert net(x).shape == (2, 1000)
    net.reset_classifier(5)
    assert net(x).shape == (2, 5)


def test_the_recipe_guide_names_every_section_and_keys_that_exist():
    text = (ROOT / "docs" / "recipes.md").read_text()
    sections = {field.name: {key.name for key in dataclasses.fields(field.default_factory)}
                for field in dataclasses.fields(recipes.Config)}
    assert re.findall(r"^\| `(\w+)` \|", text, flags=re.M) == list(sections)
    named = re.findall(rf"`({'|'.join(sections)})\.(\w+)`", text)
    assert len(named) > 30 and [f"{name}.{key}" for name, key in named if key not in sections[name]] == []


def test_the_recipe_of_the_guide_loads(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), flags=re.S)[1]
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    path = tmp_path / "configs" / "ghostnet" / "mine.yaml"
    path.write_text(text)
    recipe = recipes.load(str(path))
    assert (recipe.train.epochs, recipe.optimizer.lr, recipe.augment.random_erasing) == (300, 0.4, 0.2)


def test_the_networks_to_pick_from_are_as_their_cards():
    for page in ("README.md", "README_CN.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        lines = re.findall(r"^\| \w+_\w+ \|.*$", text, re.M)
        names = [line.split("|")[1].strip() for line in lines]
        assert len(names) == 10
        assert as_markdown(rows(names, MARKDOWN_COLUMNS)).splitlines()[2:] == lines


def test_counts_and_versions():
    families = {model_card(name).family for name in list_models()}
    assert f"{len(list_models())} variants of {len(families)} families" in (ROOT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ghost_ms.__version__ and citation["license"] == "Apache-2.0"
    assert (ROOT / "CHANGELOG.md").read_text().split("## ")[1].startswith(ghost_ms.__version__)


def test_no_test_depends_on_the_date():
    """A test that passes today passes tomorrow: none of them chooses or expects by the calendar."""
    calendar = re.compile(r"\b(date\.today|datetime\.(now|utcnow|today)|time\.(localtime|gmtime|strftime|ctime))\(")
    files = (ROOT / "tests").rglob("*.py")
    found = [str(path.relative_to(ROOT)) for path in files if calendar.search(path.read_text())]
    assert found == []
