"""Names of the data's classes and of a network's: by name, whatever the order, or not at all."""
import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.data.datasets import FASHION, open_source
from ghost_ms.models.classes import match
from ghost_ms.models.imagenet import imagenet_ids, imagenet_names


def _folders(root, names, splits=("train", "val")):
    """image_folder of one picture a class and split, of the grey level of the class's place in `names`."""
    for split in splits:
        for place, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (place,) * 3).save(root / split / name / "a.png")
    return root


def _levels(source):
    """[(label, grey level)] of the images."""
    return [(int(label), Image.open(path).getpixel((0, 0))[0]) for label, path in zip(source.labels, source.paths)]


@pytest.mark.parametrize("there, known, places, words", [
    (["a", "b"], ["a", "b"], [0, 1], []),
    (["b", "a"], ["a", "b"], [1, 0], []),
    (["1", "2", "10"], ["1", "10", "2"], [0, 2, 1], []),
    (["b"], ["a", "b", "c"], [1], ["the data has 1 of the network's 3 classes"]),
    (["ankle_boot", "t-shirt/TOP"], ["Bag", "T-shirt/top", "Ankle boot"], [2, 1],
     ["classes that the network spells otherwise are taken for its own: 'ankle_boot' for 'Ankle boot' and 1 more",
      "the data has 2 of the network's 3 classes"]),
    # A name that is there as it stands is that one, whatever else is like it.
    (["cat", "Cat"], ["Cat", "cat"], [1, 0], []),
    (["cafe\u0301", "\uff43\uff41\uff54"], ["cat", "caf\u00e9"], [1, 0],
     ["classes that the network spells otherwise are taken for its own: 'cafe\u0301' for 'caf\u00e9' and 1 more"]),
    # Twice among the network's, and not asked for.
    (["a"], ["b", "b", "a"], [2], ["the data has 1 of the network's 3 classes"]),
    (["Cats", "dogs"], ["class 0", "class 1"], [0, 1],
     ["the network's 2 classes have no names ('class 0', ...): the data's are taken in their own order, 'Cats' first"]),
    (["class 1", "class 0"], ["class 0", "class 1"], [1, 0], []),
    (["class_1", "class_0"], ["class 0", "class 1"], [1, 0],
     ["classes that the network spells otherwise are taken for its own: 'class_1' for 'class 1' and 1 more"])])
def test_where_classes_are_found(there, known, places, words):
    assert match(there, known) == (places, words)


@pytest.mark.parametrize("there, known, words", [
    (["a", "zebra"], ["a", "b"], "2 classes of the network: the data has 'zebra', which the network does not know; the "
                                 "data has no class 'b'; rename"),
    (["a", "b", "c"], ["a", "b"], "the data has 'c', which"),
    (["CAT"], ["cat", "Cat"], "'CAT' could be 'cat', 'Cat' of the network's"),
    (["cat", "Cat"], ["cat", "dog"], "'cat' is not the only one that could be 'cat'"),
    (["crane", "a"], ["crane", "a", "crane"], "two of the network's have the same name, 'crane'"),
    (["cats"], ["class 0", "class 1"], "the data has 'cats', which"),
    (["cats", "class 1"], ["class 0", "class 1"], "the data has 'cats', which"),
    (["\x1b[2J"], ["a"], "the data has '.x1b.2J', which"), (["a"], [], "0 classes of the network: the data has 'a'")])
def test_what_cannot_be_found_is_refused(there, known, words):
    with pytest.raises(ValueError, match=words) as raised:
        match(there, known)
    assert str(raised.value).isprintable()


def test_imagenet_ids():
    """Known pairs, and the order: sorted, as everywhere where ImageNet lies in folders."""
    ids, names = imagenet_ids(), imagenet_names()
    assert len(set(ids)) == len(names) == 1000 and ids == sorted(ids)
    for wordnet, place, name in (
            ("n01440764", 0, "tench"), ("n02012849", 134, "crane"), ("n02979186", 482, "cassette player"),
            ("n03126707", 517, "crane"), ("n03394916", 566, "French horn"), ("n03888257", 701, "parachute"),
            ("n15075141", 999, "toilet tissue")):
        assert ids[place] == wordnet and names[place].startswith(name)
    everything = match(ids[::-1], names)
    assert everything.places == list(range(1000))[::-1] and len(everything.notes) == 1
    # Imagenette, of ten classes.
    some = ["n03888257", "n01440764"]
    assert match(some, names) == ([701, 0], [
        "the data's WordNet ids are matched with ImageNet's classes: 'n03888257' is 'parachute, chute'",
        "the data has 2 of the network's 1000 classes"])
    with pytest.raises(ValueError, match="1000 classes of the network: the data has 'n00000001', which the network"):
        match(["n00000001", *some], names)
    with pytest.raises(ValueError, match="the data has 'n01440764', which the network does not know"):
        match(["n01440764"], names[:999])


@pytest.mark.parametrize("split", ["train", "val"])
def test_data_with_some_classes_of_a_network(tmp_path, split):
    """The labels are the network's, and so is the order of the images, class by class."""
    _folders(tmp_path, ["dog", "Ant", "cat"])
    source = open_source(DataConfig("image_folder", str(tmp_path)), split, ["bee", "cat", "dog", "ant"])
    assert source.classes == ["bee", "cat", "dog", "ant"] and _levels(source) == [(1, 2), (2, 0), (3, 1)]
    assert source.labels.dtype == np.int32 and source.counts().tolist() == [0, 1, 1, 1]
    assert source.notes == ["classes that the network spells otherwise are taken for its own: 'Ant' for 'ant'",
                            "the data has 3 of the network's 4 classes"]


def test_data_in_memory_follows_by_name_too():
    given = [name.upper() for name in FASHION[::-1]] + ["Hat"]
    source, plain = (open_source(DataConfig("embedded"), "val", classes) for classes in (given, None))
    np.testing.assert_array_equal(source.labels, 9 - plain.labels)
    assert source.classes == given and len(source.notes) == 2 and not plain.notes


def test_data_classes_give_the_order(tmp_path):
    _folders(tmp_path, ["1", "2", "10"])
    for given in (["2", "10", "1", "3"], "names.txt"):
        (tmp_path / "names.txt").write_text("\ufeff2\n10\r\n\n 1\n3\n", encoding="utf-8")
        config = DataConfig("image_folder", str(tmp_path), classes=given)
        for split in ("train", "val"):
            source = open_source(config, split)
            assert source.classes == ["2", "10", "1", "3"] and _levels(source) == [(0, 1), (1, 2), (2, 0)]
    assert open_source(config, "val", ["1", "2", "3", "10"]).labels.tolist() == [0, 1, 3]
    (tmp_path / "names.txt").write_text("1\n2\n1\n")
    with pytest.raises(ValueError, match="but '1' stands twice"):
        open_source(config, "val")
    with pytest.raises(ValueError, match="data.classes is for label_file, image_folder, .*; embedded knows"):
        DataConfig("embedded", classes=["a"]).validate()
    with pytest.raises(ValueError, match="and 'a' stands twice"):
        DataConfig("image_folder", classes=["a", "b", "a"]).validate()
