"""Every way by which an image comes into the program: the same files are found, read and turned upright."""
import base64
import io
import os

import numpy as np
import pytest
from PIL import Image

from ghost_ms.analysis.explain import explain
from ghost_ms.analysis.report import mistakes
from ghost_ms.cli import image_paths
from ghost_ms.config import AugmentConfig, Config, DataConfig
from ghost_ms.data.datasets import open_source
from ghost_ms.data.decode import turned
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.quantize import calibration
from ghost_ms.runtime import files
from ghost_ms.runtime.sidecar import Sidecar
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks import predict
from ghost_ms.tasks.classification import judge
from tests.batches import evaluation_batches, training_batches
from tests.data.test_decode import LARGE

WAYS = ("training", "evaluation", "inference", "raw inference", "calibration", "explanation", "report")


def _spec(orient, channels=3, size=(48, 64)):
    return Preprocessing(size, channels, (0.0,) * channels, (1.0,) * channels, 1.0, "bilinear", orient)


@pytest.fixture
def photograph(tmp_path):
    """(path of a JPEG that lies on its side in an image_folder, its pixels as they lie)."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = 6
    for split in ("train", "val"):
        os.makedirs(tmp_path / split / "a")
        path = tmp_path / split / "a" / "photo.jpg"
        Image.fromarray(coarse).resize((64, 48)).save(path, exif=exif, quality=95)
    return str(path), np.asarray(Image.open(path))


def _seen(way, path, spec):
    """uint8 (H, W, C): what the network, or the reader of the report, gets of the image at a path."""
    folder = os.path.dirname(path)
    config = Config(data=DataConfig("image_folder", os.path.dirname(os.path.dirname(folder)), batch_size=1, workers=1),
                    augment=AugmentConfig(scale=(1.0, 1.0), ratio=(spec.input_size[1] / spec.input_size[0],) * 2,
                                          horizontal_flip=0.0))
    if way == "training":
        (images, _), = training_batches(open_source(config.data, "train"), config, spec, 0)
        return images.asnumpy()[0]
    if way == "raw inference":
        return ExportSignature(True).prepare(predict.opened(path, spec), spec)
    if way == "explanation":
        return np.asarray(explain.read_seen(path, spec))
    if way == "report":
        source, label = open_source(config.data, "val"), int(open_source(config.data, "val").labels[0])
        wrong = judge.judge(lambda images: -np.eye(2)[[label]], [(np.zeros(1), np.array([label]))], ["one", "two"])
        data, = mistakes.mistakes_of(wrong, source, spec)[0].pictures
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))))
    if way == "evaluation":
        (images, _), = evaluation_batches(open_source(config.data, "val"), config, spec)
        image = images[0]
    elif way == "inference":
        image = ExportSignature().prepare(predict.opened(path, spec), spec)
    else:
        image = files.read_images(calibration.open_images(folder), [0], Sidecar(spec, [], ExportSignature(), 1))[0]
    return np.round(image * 255).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_photograph_is_upright_wherever_it_is_seen(way, photograph):
    path, lying = photograph
    upright = turned(lying, 6)
    assert lying.shape == (48, 64, 3) and upright.shape == (64, 48, 3)
    np.testing.assert_array_equal(_seen(way, path, _spec(True, size=(64, 48))), upright)
    np.testing.assert_array_equal(_seen(way, path, _spec(False)), lying, err_msg="a file of old keeps the old way")


@pytest.mark.parametrize("way", WAYS)
def test_a_decompression_bomb_is_refused_wherever_it_is_seen(way, photograph):
    path, _ = photograph
    for each in (path, path.replace("val", "train")):
        with open(each, "wb") as file:
            file.write(LARGE["jpeg"]())
    with pytest.raises(ValueError, match="not a readable image: its size is 65500x65500, and 178956970 pixels are"):
        _seen(way, path, _spec(True))


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_turned_into_a_pipe_is_refused_wherever_it_is_seen(way, photograph, monkeypatch):
    path, _ = photograph
    found = calibration.find_images(os.path.dirname(path))
    for each in (path, path.replace("val", "train")):
        os.remove(each)
        os.mkfifo(each)
    from ghost_ms.data import folders

    monkeypatch.setattr(calibration, "find_images", lambda folder: found)
    monkeypatch.setattr(folders, "find_images", lambda folder: type(found)([os.path.join(folder, "photo.jpg")],
                                                                           found.passed_over))
    with pytest.raises(ValueError, match="not a readable image: it is a named pipe, not a file"):
        _seen(way, path, _spec(True))


def _write(folder, *names):
    for name in names:
        os.makedirs(os.path.dirname(folder / name), exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name, "PNG")


def test_infer_and_calibration_find_the_same_images(tmp_path, capsys):
    _write(tmp_path, "b.PNG", "a.webp", "deep/c.JfiF", ".hidden.png", ".cache/d.png")
    (tmp_path / "notes.txt").write_text("text")
    wanted = [str(tmp_path / name) for name in ("a.webp", "b.PNG", "deep/c.JfiF")]
    line = f"passed over 3 files in {tmp_path}: 2 hidden, 1 .txt\n"
    assert image_paths.find_images([str(tmp_path)]) == wanted and capsys.readouterr() == ("", line)
    assert calibration.open_images(str(tmp_path)).paths == wanted and capsys.readouterr() == ("", line)
    assert image_paths.find_images([wanted[1], wanted[0]]) == [wanted[1], wanted[0]] and capsys.readouterr() == ("", "")


def test_what_holds_no_image_gets_a_sentence(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"")
    for find in (lambda path: image_paths.find_images([path]), calibration.open_images):
        with pytest.raises(ValueError, match=r"^folder '.*' holds no image that can be decoded here \(passed over 1 "
                                             r"file in .*: 1 .heic \(cannot be decoded here\)\)$"):
            find(str(tmp_path))
        with pytest.raises(FileNotFoundError, match=r"there is no .*image.* '.*\\x1b\[2J'"):
            find(str(tmp_path / "\x1b[2J"))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to("nowhere")
    for name, kind in (("pipe.png", "a named pipe"), ("endless.png", "a device"), ("gone.png", "a link to nothing")):
        with pytest.raises(ValueError, match=f"{name}' is {kind}, not an image"):
            image_paths.find_images([str(tmp_path / name)])


def test_calibration_follows_the_classes_that_are_given(tmp_path):
    for name in ("1", "2", "10"):
        _write(tmp_path, f"train/{name}/a.png", f"val/{name}/a.png")
    (tmp_path / "r.yaml").write_text(f"data: {{dataset: image_folder, root: {tmp_path}}}")
    recipe = str(tmp_path / "r.yaml")
    assert calibration.open_images(recipe, "val").classes == ["1", "2", "10"]
    assert calibration.open_images(recipe, "val", classes=["1", "10", "2"]).paths[1].endswith("10/a.png")
