"""A segmenter goes through every command."""
import json
import re

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import ghost_ms
from ghost_ms.checkpoints.checkpoint import restore
from ghost_ms.cli import main
from ghost_ms.runtime.sidecar import read_sidecar
from tests.same import assert_same_runs, rows_of, stop_and_resume
from tests.tasks.segmentation import dense


@pytest.fixture(scope="module", autouse=True)
def known():
    with dense.registered():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Bright squares on a dark ground, and where they are."""
    folder, draw = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 7)):
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(count):
            labels = np.zeros((40, 56), np.uint8)
            top, left = draw.integers(0, 20), draw.integers(0, 30)
            labels[top:top + 18, left:left + 24] = 1
            image = np.where(labels[..., None] == 1, 220, 40) + draw.integers(-20, 21, (40, 56, 3))
            Image.fromarray(image.astype(np.uint8)).save(folder / split / "images" / f"{number}.png")
            Image.fromarray(labels).save(folder / split / "masks" / f"{number}.png")
    return folder


def _words(run, data, *more):
    return ["train", "--task.name", "segmentation", "--task.head", "lraspp", "--task.args", "{scale: [0.8, 1.3]}",
            "--model.name", "tiny_dense", "--data.dataset", "image_masks", "--data.root", str(data),
            "--data.classes", "[ground, square]", "--data.batch_size", "8", "--data.eval_batch_size", "3",
            "--data.workers", "1", "--data.input_size", "48", "--optimizer.name", "adamw", "--optimizer.lr", "0.03",
            "--ema.decay", "0.8", "--train.epochs", "6", "--run.device", "CPU", "--run.dir", str(run), *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    run = tmp_path_factory.mktemp("seg") / "run"
    assert main(_words(run, data)) == 0
    return run


def test_it_learns_and_tells_its_figures(run):
    rows = rows_of(run)
    assert {"train_pixel_accuracy", "test_miou", "ema_miou", "test_pixel_accuracy"} <= set(rows[0])
    assert rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]
    assert max(max(row["test_miou"], row["ema_miou"]) for row in rows) > 70


def test_it_resumes_to_the_bit(run, data, tmp_path):
    stop_and_resume(_words(tmp_path / "run", data), 3, 2)
    assert_same_runs(run, tmp_path / "run")


def test_a_checkpoint_is_measured_with_classes_and_a_matrix(run, tmp_path, capsys):
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["eval", "--ckpt", best, "--per_class", "--confusion", "-o", str(tmp_path / "found.json")]) == 0
    said, facts = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    best_row = max(max(row["test_miou"], row["ema_miou"]) for row in rows_of(run))
    assert facts["miou"] == pytest.approx(best_row, abs=1e-4) and f"mIoU {facts['miou']:.2f} %" in said
    assert "of each row's pixels" in said and "mean of the classes that occur" in said
    matrix = np.array(facts["confusion"]["pixels"])
    assert 100 * np.trace(matrix) / matrix.sum() == pytest.approx(facts["pixel_accuracy"])
    assert len(facts["predictions"]) == 7 and facts["predictions"][0]["image"].endswith("0.png")


def test_the_report_shows_the_matrix_and_the_worst_images_beside_their_truth(run, tmp_path):
    assert main(["report", str(run), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count('class="hit"') == 2 and page.count('class="miss"') == 2 and "mIoU" in page
    figures = re.findall(r"<figure>.*?</figure>", page, re.S)
    assert 0 < len(figures) <= 7 and f"The {len(figures)} worst test images" in page
    shares = [float(re.search(r"mIoU ([\d.]+) %", one)[1]) for one in figures]
    assert shares == sorted(shares) and all(one.count("<img") == 2 for one in figures)
    assert "beside what is right: ground, square" in figures[0]


def test_held_norms_keep_what_they_began_with(run, data, tmp_path):
    assert main(_words(tmp_path / "held", data, "--model.freeze_norms", "true", "--train.epochs", "1")) == 0
    net, _ = restore(str(tmp_path / "held" / "checkpoints" / "best.ckpt"))
    found = {name: value.asnumpy() for name, value in net.parameters_dict().items() if name.endswith("moving_mean")}
    inside = {name for name in found if name.startswith("backbone.")}
    assert inside and all(not found[name].any() for name in inside)
    assert all(found[name].any() for name in set(found) - inside) and set(found) > inside


def test_mirrored_images_and_sliding_windows(run, data, tmp_path, capsys):
    """Typed arguments of the task count before the checkpoint's own."""
    best, found = str(run / "checkpoints" / "best.ckpt"), {}
    for name, args in {"plain": "{}", "flip": "{flip: true}", "slide": "{slide: true, scales: [0.8, 1.2]}"}.items():
        out = str(tmp_path / f"{name}.json")
        assert main(["eval", "--ckpt", best, "--task.args", args, "-o", out]) == 0
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
    pixels = {name: np.sum(each["confusion"]["pixels"]) for name, each in found.items()}
    # Whole images in their frame, and at their own size.
    assert pixels["slide"] == 7 * 40 * 56 and pixels["plain"] == pixels["flip"] == 7 * 34 * 48
    assert min(each["miou"] for each in found.values()) > 60
    assert len({each["miou"] for each in found.values()}) == 3
    assert main(["eval", "--ckpt", best, "--task.args", "{scales: [0.8]}"]) != 0
    assert "but with slide true" in capsys.readouterr().err
    file = str(tmp_path / "net.mindir")
    assert main(["export", "--ckpt", best, "--argmax", "--output", file]) == 0
    for args, words in (("{slide: true}", "adds logits of 2 classes"), ("{flip: true}", "this file gives classes")):
        assert main(["eval", "--file", file, "--config", str(run / "config.yaml"), "--task.args", args]) != 0
        assert words in capsys.readouterr().err


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """(path, its map): as the training's, of another size and shape."""
    labels = np.zeros((90, 70), np.uint8)
    labels[30:70, 20:60] = 1
    path = tmp_path_factory.mktemp("picture") / "one.png"
    Image.fromarray(np.repeat(np.where(labels == 1, 220, 40).astype(np.uint8)[..., None], 3, 2)).save(path)
    return path, labels


def test_a_segmenter_is_fine_tuned_to_other_classes(run, data, tmp_path, capsys, caplog):
    """Its head comes along, but for what decides the classes."""
    from ghost_ms.checkpoints.checkpoint import read_checkpoint, restore

    best, words = str(run / "checkpoints" / "best.ckpt"), ["--train.epochs", "1", "--optimizer.lr", "0"]
    assert main(_words(tmp_path / "same", data, "--model.pretrained", best, *words)) == 0
    assert rows_of(tmp_path / "same")[0]["test_miou"] > 60 and "fresh" not in caplog.text
    assert main(_words(tmp_path / "other", data, "--model.pretrained", best, "--data.classes", "[ground, square, dot]",
                       *words)) == 0
    assert "the classifier is fresh" in caplog.text
    values, other = read_checkpoint(best)[0], restore(str(tmp_path / "other" / "checkpoints" / "best.ckpt"))[0]
    assert other.classifier.high_classifier.weight.shape[0] == 3
    for name in ("backbone.stem.0.weight", "classifier.cbr.0.weight"):
        np.testing.assert_array_equal(values[name].asnumpy(), other.parameters_dict()[name].asnumpy())
    assert main(_words(tmp_path / "no", data, "--model.pretrained", best, "--task.head", "fcn", *words)) != 0
    assert "is of a network with the head lraspp, and task.head is fcn" in capsys.readouterr().err
    with pytest.raises(ValueError, match="its network has the head lraspp behind a backbone"):
        ghost_ms.create_model("tiny_dense", pretrained=best)


def test_a_segmenter_teaches_another(run, data, tmp_path, capsys):
    best = str(run / "checkpoints" / "best.ckpt")
    taught = ["--distill.teacher", best, "--distill.label_weight", "0"]
    assert main(_words(tmp_path / "taught", data, *taught)) == 0
    rows = rows_of(tmp_path / "taught")
    assert max(max(row["test_miou"], row["ema_miou"]) for row in rows) > 60
    assert main(_words(tmp_path / "no", data, *taught, "--distill.method", "features")) != 0
    assert "a network for segmentation is none; take soft or hard" in capsys.readouterr().err
    assert main(_words(tmp_path / "no", data, "--task.name", "classification", "--task.head", "null", "--task.args",
                       "{}", "--data.dataset", "synthetic", "--data.synthetic_classes", "2", "--data.classes", "null",
                       *taught)) != 0
    assert "is a network for segmentation, and the student is for classification" in capsys.readouterr().err


def test_the_loss_of_a_teacher_is_the_mean_over_pixels():
    from ghost_ms.config import DistillConfig
    from ghost_ms.training.distillation import Distillation

    draw = np.random.default_rng(0)
    student, teacher = (draw.standard_normal((2, 3, 4, 5)).astype(np.float32) for _ in range(2))
    distillation = Distillation(None, DistillConfig(teacher="t", temperature=2.0, weight=1.0, label_weight=0.0), None)
    found = distillation(Tensor(teacher), (Tensor(student), Tensor(student)), None, Tensor(np.float32(9)))
    logs = [half / 2 - np.log(np.exp(half / 2).sum(1, keepdims=True)) for half in (student, teacher)]
    expected = 4 * (np.exp(logs[1]) * (logs[1] - logs[0])).sum(1).mean()
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5)


def test_pictures_and_shares(run, picture, tmp_path, capsys):
    path, labels = picture
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["infer", "--ckpt", best, str(path), "--json", "--pictures", str(tmp_path)]) == 0
    found, = json.loads(capsys.readouterr().out)
    shares = {one["class"]: one["share"] for one in found["classes"]}
    assert (found["width"], found["height"]) == (70, 90) and sum(shares.values()) == pytest.approx(1)
    drawn = Image.open(tmp_path / "one_labels.png")
    assert drawn.mode == "P" and drawn.size == (70, 90)
    assert (np.asarray(drawn) == labels).mean() > 0.8
    assert (np.asarray(drawn) == 1).mean() == pytest.approx(shares["square"])
    overlay = np.asarray(Image.open(tmp_path / "one_overlay.png"))
    assert overlay.shape[0] == 90 + 16 * len(shares) and overlay.shape[1] == 160
    # As programs like it.
    typed, = ghost_ms.load(best).predict(str(path))
    assert np.array_equal(typed.labels, np.asarray(drawn)) and typed.shares == shares


@pytest.mark.parametrize("kind, form", [("MINDIR", []), ("ONNX", []), ("MINDIR", ["--argmax"]),
                                        ("ONNX", ["--argmax", "--preprocess", "in-graph"]),
                                        ("ONNX", ["--batch_size", "0"])])
def test_files_give_the_same(kind, form, run, picture, tmp_path, capsys):
    best, file = str(run / "checkpoints" / "best.ckpt"), str(tmp_path / f"net.{kind.lower()}")
    assert main(["export", "--ckpt", best, "--format", kind, "--output", file, *form]) == 0
    sidecar = read_sidecar(file)
    assert sidecar.task == "segmentation" and sidecar.preprocessing.fit == "letterbox"
    assert sidecar.classes == ["ground", "square"] and sidecar.spec().args["num_classes"] == 2
    output, = json.loads((tmp_path / "net.json").read_text())["outputs"]
    assert output["name"] == ("labels" if "--argmax" in form else "logits") and output["shape"][-2:] == [48, 48]
    assert output["dtype"] == ("int32" if "--argmax" in form else "float32")
    capsys.readouterr()
    shares = []
    for source in (["--ckpt", best], ["--file", file]):
        assert main(["infer", *source, str(picture[0]), "--json"]) == 0
        found, = json.loads(capsys.readouterr().out)
        shares.append({one["class"]: one["share"] for one in found["classes"]})
    # Classes are enlarged by the nearest pixel, logits bilinearly.
    assert shares[1] == pytest.approx(shares[0], abs=0.05 if "--argmax" in form else 1e-6)
    for source in (["--ckpt", best], ["--file", file, "--config", str(run / "config.yaml")]):
        assert main(["eval", *source]) == 0
        shares.append(capsys.readouterr().out.split("mIoU")[1])
    assert shares[2].split(" on ")[0] == shares[3].split(" on ")[0]


@pytest.mark.parametrize("more, words", [
    (["--task.head", "unet"], "there is no head 'unet'; known are lraspp"),
    (["--task.head", "null"], "task.head is not set"),
    (["--task.head_args", "{aux: 0}"], "lraspp has no auxiliary head"),
    (["--task.head", "fcn", "--task.head_args", "{aux: two}"], "aux is two; a TinyDense has the maps 0 to 1"),
    (["--task.head_args", "{early_taps: 7}"], "early_taps is 7; it is true or false"),
    (["--task.head_args", "{rates: 3}"], "task.head_args holds 'rates'; a head takes aux and early_taps"),
    (["--model.name", "vig_ti"], "stride"),
    (["--data.classes", "[ground]"], "holds the value '1', but there are 1 classes"),
    (["--augment.mixup", "0.2"], "mix the labels of images, which has no meaning for segmentation"),
    (["--data.crop_ratio", "0.9"], "sees whole images"),
    (["--data.dataset", "embedded", "--data.classes", "null"], "has no maps of labels; segmentation takes image_masks"),
    (["--task.name", "classification"], "has maps of labels, which task.name segmentation learns")])
def test_what_cannot_be_is_refused_in_a_sentence(more, words, data, tmp_path, capsys):
    extra = ["--task.args", "{}"] if "--task.name" in more else []
    assert main(_words(tmp_path / "run", data, *more, *extra)) != 0
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_what_a_segmenter_looks_at(run, picture, tmp_path, capsys):
    """The share of a class, and Grad-CAM of the pixels that are taken for it."""
    best, path = str(run / "checkpoints" / "best.ckpt"), str(picture[0])
    assert main(["infer", "--ckpt", best, path, "--json"]) == 0
    capsys.readouterr()
    said = []
    for name in ("square", "ground"):
        assert main(["explain", "--ckpt", best, "--image", path, "--class", name, "-o", str(tmp_path / "x.png")]) == 0
        said.append(capsys.readouterr().out)
    shares = [float(re.search(r"(\d+\.\d+) %", one).group(1)) for one in said]
    assert sum(shares) == pytest.approx(100, abs=0.02) and 5 < shares[0] < 60
    assert "gradcam, stage 1 (backbone.stage)" in said[0] and (tmp_path / "x.png").is_file()


def test_a_backbone_with_a_head_is_told_layer_by_layer(capsys):
    assert main(["info", "ghostnet_050", "--head", "lraspp", "--depth", "1", "--input_size", "64"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^classifier +LRASPPHead +1x1000x8x8", said, re.M) and "with lraspp for 1000 classes" in said
    assert main(["info", "lraspp_mobilenet_v3_large", "--input_size", "64"]) == 0
    said = capsys.readouterr().out
    assert "mIoU 57.9 %" in said and "letterbox" in said
    assert main(["info", "ghostnet_050", "--head", "lrasp"]) != 0
    assert "there is no head 'lrasp'" in capsys.readouterr().err


def test_registered_segmenters_are_listed_and_timed(capsys):
    assert main(["models", "lraspp*"]) == 0 and "lraspp_mobilenet_v3_large" in capsys.readouterr().out
    assert main(["models", "--task", "segmentation"]) == 0
    assert capsys.readouterr().out.count("resnet50") == 2
    assert main(["models", "lraspp*", "--task", "classification"]) != 0
    assert main(["plan", "--config", "voc_lraspp_mobilenetv3", "--images", "1464"]) == 0
    # As torchvision's of that name, whose maps it takes.
    assert "lraspp on mobilenetv3_large_100: 3.22 M parameters" in capsys.readouterr().out
    assert main(["bench", "lraspp*", "--backend", "train", "--input_size", "64", "--rounds", "1"]) == 0
    assert re.search(r"lraspp_mobilenet_v3_large +train +1x3x64x64 +3.22", capsys.readouterr().out)


@pytest.mark.parametrize("words, said", [
    (["--model.name", "lraspp_mobilenet_v3_large"], "has its head already; leave it out"),
    (["--model.name", "lraspp_mobilenet_v3_large", "--task.name", "classification", "--task.head", "null"],
     "is a network for segmentation; set task.name segmentation"),
    (["--task.name", "classification", "--data.dataset", "synthetic", "--data.classes", "null"],
     "takes no head; leave it out, or set task.name segmentation")])
def test_networks_and_heads_of_other_tasks(words, said, data, tmp_path, capsys):
    extra = ["--task.args", "{}"] if "--task.name" in words else []
    if "classification" in words and "synthetic" not in words:
        extra += ["--data.dataset", "synthetic", "--data.classes", "null"]
    assert main(_words(tmp_path / "run", data, *words, *extra)) != 0
    assert said in capsys.readouterr().err


def test_pictures_and_forms_of_other_tasks_are_refused(run, picture, tmp_path, capsys):
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["export", "--ckpt", best, "--softmax"]) != 0
    assert "--softmax is for classification" in capsys.readouterr().err
    assert main(["train", "--model.name", "tiny_dense", "--data.dataset", "synthetic", "--data.synthetic_size", "8",
                 "--data.input_size", "32", "--data.batch_size", "4", "--train.epochs", "1", "--run.device", "CPU",
                 "--run.dir", str(tmp_path / "run")]) == 0
    best = str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert main(["export", "--ckpt", best, "--argmax"]) != 0
    assert main(["infer", "--ckpt", best, str(picture[0]), "--pictures", str(tmp_path / "pictures")]) != 0
    said = capsys.readouterr().err
    assert "--argmax is for segmentation" in said and "--pictures is for networks that give a class to every" in said
    assert not (tmp_path / "pictures").exists()
