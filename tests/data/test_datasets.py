"""Every data set from files that the test writes, and the order in which the loader serves them."""
import gzip
import os
import struct

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from ghost_ms.config import Config, DataConfig
from ghost_ms.data.datasets import open_source
from ghost_ms.data.decode import to_pillow
from ghost_ms.data.transforms import Preprocessing
from tests.batches import evaluation_batches, training_batches


def _config(**data):
    return Config(data=DataConfig(workers=1, **data))


def _spec(size, channels):
    return Preprocessing(size, channels, (0.0,) * channels, (1.0,) * channels, 1.0, "bilinear")


def _labels(batches):
    """Labels of (images, labels) pairs, tensors or arrays."""
    return np.concatenate([y.asnumpy() if isinstance(y, ms.Tensor) else y for _, y in batches])


def _write_idx(path, array):
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    if str(path).endswith(".gz"):
        content = gzip.compress(content)
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """image_folder: two classes of grey levels, five images each to train, two each to validate; and a stray file."""
    for split, count in (("train", 5), ("val", 2)):
        for label, name in enumerate(("bird", "cat")):
            os.makedirs(tmp_path / split / name)
            for index in range(count):
                level = 40 + 150 * label + index
                Image.new("RGB", (50 + index, 40), (level,) * 3).save(tmp_path / split / name / f"{index}.jpg")
    (tmp_path / "train" / "cat" / "readme.txt").write_text("no image")
    return tmp_path


def test_a_share_of_the_training_images_is_the_same_of_every_class(folder):
    whole = open_source(DataConfig("embedded"), "train")
    part, less = (open_source(DataConfig("embedded", train_share=share), "train") for share in (0.1, 0.05))
    assert np.bincount(part.labels).tolist() == [70] * 10 and part.classes == whole.classes
    names = {whole.read(index).tobytes(): label for index, label in enumerate(whole.labels)}
    assert all(names[part.read(index).tobytes()] == label for index, label in enumerate(part.labels))
    assert {less.read(index).tobytes() for index in range(less.size)} \
        < {part.read(index).tobytes() for index in range(part.size)}, "more is what is there and others"
    assert open_source(DataConfig("embedded", train_share=0.1), "val").size == 1000
    files = open_source(DataConfig("image_folder", str(folder), train_share=0.4), "train")
    assert files.labels.tolist() == [0, 0, 1, 1]
    assert all(os.path.basename(os.path.dirname(path)) == files.classes[label]
               for path, label in zip(files.paths, files.labels))
    with open(files.name(3), "rb") as file:
        assert files.read(3) == file.read()
    assert open_source(DataConfig("image_folder", str(folder), train_share=0.01), "train").size == 2


def test_embedded_is_balanced_and_disjoint():
    splits = {split: open_source(DataConfig("embedded"), split) for split in ("train", "val")}
    assert [s.size for s in splits.values()] == [7000, 1000] and len(splits["train"].classes) == 10
    config = _config(dataset="embedded", eval_batch_size=500)
    seen = {}
    for split, source in splits.items():
        batches = list(evaluation_batches(source, config, _spec((28, 28), 1)))
        assert np.bincount(_labels(batches)).tolist() == [source.size // 10] * 10
        seen[split] = {image.tobytes() for images, _ in batches for image in images}
    assert not seen["train"] & seen["val"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_idx_files(dataset, suffix, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    _write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", images)
    _write_idx(tmp_path / f"t10k-labels-idx1-ubyte{suffix}", np.arange(7, dtype=np.uint8))
    config = _config(dataset=dataset, root=str(tmp_path), eval_batch_size=4)
    source = open_source(config.data, "val")
    batches = list(evaluation_batches(source, config, _spec((28, 28), 1)))
    assert [len(x) for x, _ in batches] == [4, 4] and [len(y) for _, y in batches] == [4, 3]
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches])[:7, 0], images / 255, atol=1e-6)
    assert source.classes[9] == ("9" if dataset == "mnist" else "Ankle boot")


def test_truncated_idx_is_named(tmp_path):
    _write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((3, 28, 28), np.uint8))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is not a whole IDX file"):
        open_source(DataConfig("mnist", str(tmp_path)), "train")


def _idx(*shape, data=None, head=b"\0\0\x08"):
    content = bytes(int(np.prod(shape))) if data is None else data
    return head + bytes((len(shape),)) + struct.pack(f">{len(shape)}I", *shape) + content


@pytest.mark.parametrize("images, labels, words", [
    (_idx(2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1, data=b""), b"", "images-idx3.*bytes, and 1073741824 are the limit"),
    (_idx(60000, 28, 28, data=b""), b"", "images-idx3.*is not a whole IDX file"),
    (_idx(3, 784), b"", "images-idx3.*does not hold bytes of 3 dimensions"),
    (_idx(3, 28, 28, head=b"\0\0\x0d"), b"", "images-idx3.*does not hold bytes"), (b"", b"", "images-idx3.*IDX file"),
    (_idx(3, 28, 28), _idx(3, 1), "labels-idx1.*does not hold bytes of 1 dimension$"),
    (_idx(3, 28, 28), _idx(2), "the data set has 3 images and 2 labels"),
    (_idx(3, 28, 28), _idx(3, data=b"\0\x0a\1"), "the data set has the label 10, but its 10 classes are")])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_that_do_not_fit(images, labels, words, packed, tmp_path):
    for name, content in (("images-idx3", images), ("labels-idx1", labels)):
        (tmp_path / f"t10k-{name}-ubyte{'.gz' * packed}").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=words):
        open_source(DataConfig("mnist", str(tmp_path)), "test")


def test_a_packed_idx_file_is_unpacked_no_further_than_it_says(tmp_path, monkeypatch):
    content = _idx(3, 28, 28) + bytes(1 << 28)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(content, 1))
    whole = gzip.compress(_idx(3))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(whole)
    read, sizes = gzip.GzipFile.read, []
    monkeypatch.setattr(gzip.GzipFile, "read", lambda file, size=-1: sizes.append(size) or read(file, size))
    assert open_source(DataConfig("mnist", str(tmp_path)), "test").size == 3
    assert min(sizes) >= 0 and max(sizes) == 3 * 28 * 28
    for damaged in (whole[:-1], whole[:12] + b"\xff" * 9, whole[:-8] + bytes(8)):
        (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match="labels-idx1-ubyte.gz is not a whole IDX file"):
            open_source(DataConfig("mnist", str(tmp_path)), "test")


def test_cifar_files_that_do_not_fit(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(ValueError, match="has the label 10, but its 10 classes"):
        open_source(DataConfig("cifar10", str(tmp_path)), "test")
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    with pytest.raises(FileNotFoundError, match="there is no file '.*data_batch_2.bin', which belongs to the data set"):
        open_source(DataConfig("cifar10", str(tmp_path)), "train")
    os.mkfifo(tmp_path / "data_batch_2.bin")
    with pytest.raises(ValueError, match="data_batch_2.bin' cannot be read: .*a named pipe, not a file"):
        open_source(DataConfig("cifar10", str(tmp_path)), "train")


@pytest.mark.parametrize("dataset,label_bytes,name", [("cifar10", 1, "test_batch.bin"), ("cifar100", 2, "test.bin")])
def test_cifar_binary(dataset, label_bytes, name, tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (3, label_bytes + 3072), dtype=np.uint8)
    rows[:, label_bytes - 1] = [4, 2, 9]
    rows.tofile(tmp_path / name)
    config = _config(dataset=dataset, root=str(tmp_path), eval_batch_size=3)
    images, labels = next(iter(evaluation_batches(open_source(config.data, "val"), config, _spec((32, 32), 3))))
    assert labels.tolist() == [4, 2, 9]
    np.testing.assert_allclose(images.reshape(3, -1), rows[:, label_bytes:] / 255, atol=1e-6)


def test_synthetic_is_repeatable_and_its_splits_differ():
    config = _config(dataset="synthetic", input_size=(16, 24), synthetic_size=6, synthetic_classes=3)
    pixels = {}
    for split in ("train", "val"):
        for again in (0, 1):
            source = open_source(config.data, split)
            pixels[split, again] = next(iter(evaluation_batches(source, config, _spec((16, 24), 3))))[0]
    np.testing.assert_array_equal(pixels["train", 0], pixels["train", 1])
    assert np.any(pixels["train", 0] != pixels["val", 0])


def test_image_folder(folder):
    config = _config(root=str(folder), batch_size=3, eval_batch_size=3)
    train, test = (open_source(config.data, split) for split in ("train", "val"))
    assert train.classes == ["bird", "cat"] and (train.size, test.size) == (10, 4)
    levels = np.concatenate([x[:len(y), 0, 0, 0] for x, y in evaluation_batches(test, config, _spec((32, 32), 3))])
    np.testing.assert_allclose(levels * 255, [40, 41, 190, 191], atol=1)
    batches = list(training_batches(train, config, _spec((32, 32), 3), epoch=0))
    assert [x.shape for x, _ in batches] == [(3, 32, 32, 3)] * 3, "the last, partial batch is left out"
    for images, labels in batches:
        bright = images.asnumpy()[:, 16, 16, 0] > 115
        assert bright.astype(int).tolist() == labels.asnumpy().tolist()


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(folder):
    config, spec = _config(root=str(folder), batch_size=5), _spec((32, 32), 3)
    source = open_source(config.data, "train")

    def epoch(number):
        return np.concatenate([x.asnumpy() for x, _ in training_batches(source, config, spec, number)])

    first = epoch(0)
    np.testing.assert_array_equal(first, epoch(0))
    assert np.any(first != epoch(1))


def test_a_synthetic_split_that_no_memory_holds_is_refused():
    config = _config(dataset="synthetic", input_size=(224, 224), synthetic_size=10 ** 9)
    with pytest.raises(ValueError, match=r"synthetic_size: 1000000000 images of 224x224 would take 150528.0 GB"):
        open_source(config.data, "train")


@pytest.mark.parametrize("dataset,channels", [("image_folder", 1), ("synthetic", 1), ("embedded", 3)])
def test_networks_of_other_channels_than_the_images(dataset, channels, folder):
    config = _config(dataset=dataset, root=str(folder), batch_size=4, eval_batch_size=2)
    spec = _spec((32, 32), channels)
    training, _ = next(training_batches(open_source(config.data, "train"), config, spec, 0))
    evaluation, _ = next(evaluation_batches(open_source(config.data, "val"), config, spec))
    assert training.shape == (4, 32, 32, channels) and evaluation.shape == (2, channels, 32, 32)
    if dataset == "embedded":
        np.testing.assert_array_equal(training.asnumpy()[..., 0], training.asnumpy()[..., 2])


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("keep", [0, 150, 400, None])
def test_a_broken_image_is_named(folder, split, keep):
    """Cut in its header (which crashes MindSpore's own reader), cut in its data, empty, or not an image at all."""
    path = folder / split / "cat" / "1.jpg"
    path.write_bytes(b"hello" if keep is None else path.read_bytes()[:keep])
    config, spec = _config(root=str(folder), batch_size=2, eval_batch_size=2), _spec((32, 32), 3)
    with pytest.raises(ValueError, match=r"cat/1\.jpg \(not a readable image: .*\); remove or replace it"):
        if split == "train":
            list(training_batches(open_source(config.data, "train"), config, spec, 0))
        else:
            list(evaluation_batches(open_source(config.data, "val"), config, spec))


def test_both_splits_must_hold_the_same_classes(folder):
    for path in (folder / "val" / "bird").iterdir():
        path.unlink()
    (folder / "val" / "bird").rmdir()
    with pytest.raises(ValueError, match="class 'bird' has a folder in .*train and none in .*val;"):
        open_source(DataConfig("image_folder", str(folder)), "val")
    os.makedirs(folder / "val" / "bird")
    (folder / "val" / "cat" / "0.jpg").rename(folder / "val" / "bird" / "0.jpg")
    (folder / "val" / "ant").mkdir()
    (folder / "val" / "cat" / "1.jpg").rename(folder / "val" / "ant" / "0.jpg")
    Image.new("RGB", (9, 9)).save(folder / "val" / "cat" / "2.jpg")
    with pytest.raises(ValueError, match="class 'ant' has a folder in .*val and none in .*train;"):
        open_source(DataConfig("image_folder", str(folder)), "val")


def _numbered(root, names, splits=("train", "val"), images=2):
    """image_folder whose pictures show the number of their class, times ten."""
    for split in splits:
        for label, name in enumerate(names):
            os.makedirs(root / split / name)
            for index in range(images):
                Image.new("RGB", (20, 20), (10 * label,) * 3).save(root / split / name / f"{index}.png")


def _levels(source):
    """(label, level of the picture) of each image."""
    return [(int(label), int(np.asarray(to_pillow(source.read(sample), 1))[0, 0]))
            for sample, label in enumerate(source.labels)]


def test_class_folders_come_in_natural_order(tmp_path):
    names = ["1", "2", "10", "Ant", "bee"]
    _numbered(tmp_path, names)
    for split in ("train", "val"):
        source = open_source(DataConfig("image_folder", str(tmp_path)), split)
        assert source.classes == names and source.notes == []
        assert _levels(source) == [(label, 10 * label) for label in range(5) for _ in range(2)]


@pytest.mark.parametrize("order", [["1", "10", "2", "Ant", "bee"], ["bee", "1", "Ant", "10", "2"]])
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_follow_the_classes_that_are_given_by_name(tmp_path, order, split):
    """Plain order is what trainings had before there was a natural one; their images keep their places too."""
    names = ["1", "2", "10", "Ant", "bee"]
    _numbered(tmp_path, names)
    source = open_source(DataConfig("image_folder", str(tmp_path)), split, order)
    assert source.classes == order
    assert _levels(source) == [(label, 10 * names.index(name)) for label, name in enumerate(order) for _ in range(2)]
    assert [os.path.basename(os.path.dirname(path)) for path in source.paths] == [name for name in order for _ in "ab"]
    share = open_source(DataConfig("image_folder", str(tmp_path), train_share=0.5), "train", order)
    assert _levels(share) == [(label, 10 * names.index(name)) for label, name in enumerate(order)]


def test_the_classes_of_other_data_are_mapped_by_name_too():
    source = open_source(DataConfig("embedded"), "val")
    order = source.classes[::-1]
    mapped = open_source(DataConfig("embedded"), "val", order)
    assert mapped.classes == order and mapped.labels.dtype == np.int32
    np.testing.assert_array_equal(mapped.labels, 9 - source.labels)
    assert mapped.read(5).tobytes() == source.read(5).tobytes()


@pytest.mark.parametrize("classes, words", [
    (["1", "2", "3"], "the data has '10', which the network does not know; the data has no folder '3'"),
    (["1", "2"], "the data has '10', which the network"),
    (["1", "2", "10", "10"], "two of the network's have the same name"), ([], "the data has '1', '2', '10', which the"),
    ([*"1256789"], "the data has no folder '5', '6', '7' and 2 more"), (["1", "2", "\x1b[2J"], "no folder '.x1b.2J'")])
def test_classes_that_do_not_fit_are_refused(tmp_path, classes, words):
    _numbered(tmp_path, ["1", "2", "10"])
    for split in ("train", "val"):
        with pytest.raises(ValueError, match=rf"does not have the {len(classes)} classes of the network: .*{words}.*; "
                                             "rename the classes of the data, or take a network"):
            open_source(DataConfig("image_folder", str(tmp_path)), split, classes)


def test_what_is_passed_over_is_said(folder):
    assert open_source(DataConfig("image_folder", str(folder)), "train").notes == \
        [f"passed over 1 file in {folder}/train: 1 .txt"]
    cat = folder / "train" / "cat"
    for index in range(5):
        (cat / f"{index}.jpg").rename(cat / f"{index}.{'HEIC' if index < 3 else 'JfiF'}")
    (cat / "deep").mkdir()
    Image.new("RGB", (9, 9)).save(cat / "deep" / "a.webp")
    for name in (".ipynb_checkpoints/a.jpg", "cat/._1.jpg", "stray.jpg"):
        (folder / "train" / name).parent.mkdir(exist_ok=True)
        (folder / "train" / name).write_bytes(b"")
    source = open_source(DataConfig("image_folder", str(folder)), "train")
    assert source.classes == ["bird", "cat"]
    assert [os.path.relpath(path, cat) for path in source.paths[5:]] == ["3.JfiF", "4.JfiF", "deep/a.webp"]
    assert source.notes == [
        f"passed over 7 files in {folder}/train: 3 .heic (cannot be decoded here), 2 hidden, 1 .txt, 1 beside the "
        "class folders", "half of the files or more were passed over of 1 of 2 classes: 'cat'"]
    assert open_source(DataConfig("image_folder", str(folder), train_share=0.5), "train").notes == source.notes
    (folder / "val" / ".ipynb_checkpoints").mkdir()
    assert open_source(DataConfig("image_folder", str(folder)), "val").notes == \
        [f"passed over 1 file in {folder}/val: 1 hidden"]
    for path in cat.rglob("*.*"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(ValueError, match=r"class folder '.*cat' holds no image that can be decoded here \(passed over "
                                         r"8 files in .*cat: 7 .heic \(cannot be decoded here\), .*\); fill it or rem"):
        open_source(DataConfig("image_folder", str(folder)), "train")


def test_names_of_files_and_folders_do_not_steer_a_terminal(tmp_path):
    _numbered(tmp_path, ["a", "b"], ["train"])
    _numbered(tmp_path, ["a"], ["val"])
    (tmp_path / "train" / "a" / "0.png").rename(tmp_path / "train" / "a" / "\x1b[2J.png")
    assert open_source(DataConfig("image_folder", str(tmp_path)), "train").name(0).endswith("a/\\x1b[2J.png")
    os.makedirs(tmp_path / "val" / "\x1b]0;")
    with pytest.raises(ValueError, match=r"class '.x1b\]0;' has a folder") as raised:
        open_source(DataConfig("image_folder", str(tmp_path)), "val")
    assert str(raised.value).isprintable()
    os.rename(tmp_path / "train", tmp_path / "\x1b[31m")
    for root in (tmp_path / "\x1b[31m", tmp_path / "\x1b[32m"):
        with pytest.raises(OSError, match="x1b") as raised:
            open_source(DataConfig("image_folder", str(root)), "train")
        assert str(raised.value).isprintable()


def test_modes_of_files(folder):
    """Grey, transparent, palette and CMYK files become RGB."""
    for index, mode in enumerate(("L", "RGBA", "P", "CMYK", "LA", "1")):
        picture = Image.new("RGB", (40, 40), (60, 60, 60)).convert(mode, palette=Image.Palette.ADAPTIVE)
        picture.save(folder / "val" / "cat" / f"m{index}.{'tif' if mode == 'CMYK' else 'png'}")
    config = _config(root=str(folder), eval_batch_size=10)
    images, labels = next(evaluation_batches(open_source(config.data, "val"), config, _spec((32, 32), 3)))
    assert images.shape == (10, 3, 32, 32) and labels.tolist() == [0, 0] + [1] * 8
    np.testing.assert_allclose(images[4:9, :, 16, 16] * 255, 60, atol=2)


def test_a_folder_beside_the_data_set_is_told_from_it(folder, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    (outer / "pets").symlink_to(folder)
    for wrong, meant in ((folder / "train", folder), (outer, outer / "pets")):
        with pytest.raises(FileNotFoundError, match=f"no folder train or .*; did you mean --data.root {meant}\\?"):
            open_source(DataConfig("image_folder", str(wrong)), "train")


def test_folders_that_are_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no data folder"):
        open_source(DataConfig("image_folder", str(tmp_path / "nowhere")), "train")
    with pytest.raises(FileNotFoundError, match="holds no folder train or training"):
        open_source(DataConfig("image_folder", str(tmp_path)), "train")
    os.makedirs(tmp_path / "train")
    with pytest.raises(ValueError, match="has no class folders"):
        open_source(DataConfig("image_folder", str(tmp_path)), "train")
    os.makedirs(tmp_path / "train" / "cat")
    with pytest.raises(ValueError, match="cat' holds no image"):
        open_source(DataConfig("image_folder", str(tmp_path)), "train")
    with pytest.raises(ValueError, match="data.root is not set"):
        open_source(DataConfig("cifar10"), "train")
