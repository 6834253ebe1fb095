"""The manifest covers every model, and says so where nothing was released."""
import re

import pytest

from ghost_ms import list_models, model_card
from ghost_ms.models.imagenet import imagenet_names
from ghost_ms.weights.manifest import manifest, releases


@pytest.mark.parametrize("name", list_models())
def test_registered_model_and_manifest_agree(name):
    card = model_card(name)
    if card.weights is None:
        with pytest.raises(ValueError, match="no weights are released"):
            releases(name)
    else:
        assert card.weights == name
        assert releases(name)[0].top1 is not None


def test_every_release_can_be_had():
    files = [release for entry in manifest().values() if not isinstance(entry, str) for release in entry]
    assert len(files) == 80 and len([entry for entry in manifest().values() if isinstance(entry, str)]) == 31
    for release in files:
        assert release.urls or release.baidu or release.package, release
        assert all(url.startswith("https://") and url.rsplit("/", 1)[1] == release.file for url in release.urls)
        assert release.sha256 is None or re.fullmatch("[0-9a-f]{64}", release.sha256)
        assert release.sha256_starts is None or re.fullmatch("[0-9a-f]{8,10}", release.sha256_starts)
        in_name = re.search("-([0-9a-f]{8,10})[.]pth$", release.file)
        for known in (release.sha256, release.sha256_starts):
            assert not (known and in_name) or known.startswith(in_name.group(1))
    assert len([release for release in files if release.sha256]) == 7
    assert len([release for release in files if release.sha256 or release.sha256_starts]) == 24


def test_unknown_model():
    with pytest.raises(ValueError, match="no entry for 'densenet121'"):
        releases("densenet121")


def test_class_names_stand_at_their_indices():
    names = imagenet_names()
    known = {0: "tench", 1: "goldfish", 207: "golden retriever", 258: "Samoyed", 281: "tabby", 285: "Egyptian cat",
             291: "lion", 340: "zebra", 388: "giant panda", 404: "airliner", 504: "coffee mug", 954: "banana",
             967: "espresso", 968: "cup", 999: "toilet tissue"}
    assert len(names) == 1000 and {i: names[i].split(",")[0] for i in known} == known
