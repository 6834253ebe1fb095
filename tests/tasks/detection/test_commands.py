"""A detector goes through every command."""
import json

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import ghost_ms
from ghost_ms.analysis.measure import verify
from ghost_ms.checkpoints.checkpoint import restore
from ghost_ms.cli import main
from ghost_ms.models.coders import Decoded
from ghost_ms.runtime.sidecar import read_sidecar
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks.detection.task import Detection
from tests.same import assert_same_runs, rows_of, stop_and_resume
from tests.tasks.segmentation import dense

CLASSES = ("square", "bar")


@pytest.fixture(scope="module", autouse=True)
def known():
    with dense.registered():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Bright squares and grey bars on a dark ground, as COCO; one image in six is empty."""
    folder, draw = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    (folder / "annotations").mkdir()
    for split, count in (("train", 32), ("val", 9)):
        content = {"images": [], "annotations": [],
                   "categories": [{"id": 5 * place + 3, "name": name} for place, name in enumerate(CLASSES)]}
        (folder / split).mkdir()
        for number in range(count):
            image = draw.integers(20, 60, (48, 64, 3))
            content["images"].append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
            for place in range(0 if number % 6 == 5 else 2):
                kind = int(draw.integers(2))
                width, height = ((18, 18), (26, 10))[kind]
                left, top = 32 * place + int(draw.integers(0, 33 - width)), int(draw.integers(0, 48 - height))
                image[top:top + height, left:left + width] = (230, 130)[kind] + draw.integers(-15, 16)
                content["annotations"].append({
                    "id": len(content["annotations"]), "image_id": number, "category_id": 5 * kind + 3, "iscrowd": 0,
                    "bbox": [left, top, width, height], "area": width * height})
            Image.fromarray(image.astype(np.uint8)).save(folder / split / f"{number}.png")
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def _words(run, data, *more):
    return ["train", "--task.name", "detection", "--task.head", "ssdlite", "--task.args", "{max_objects: 6}",
            "--model.name", "tiny_dense", "--data.dataset", "coco", "--data.root", str(data), "--data.batch_size", "8",
            "--data.eval_batch_size", "4", "--data.workers", "1", "--data.input_size", "[64, 64]",
            "--optimizer.name", "adamw", "--optimizer.lr", "0.02", "--ema.decay", "0.5", "--train.epochs", "3",
            "--run.device", "CPU", "--run.dir", str(run), *more]


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    run = tmp_path_factory.mktemp("det") / "run"
    assert main(_words(run, data)) == 0
    return run


@pytest.fixture(scope="module")
def best(run):
    return str(run / "checkpoints" / "best.ckpt")


def test_it_learns_and_tells_its_figures(run):
    rows = rows_of(run)
    assert {"train_class_loss", "train_box_loss", "test_ap", "ema_ap50", "test_ap_small"} <= set(rows[0])
    assert rows[-1]["train_loss"] < 0.93 * rows[0]["train_loss"]
    assert rows[0]["train_loss"] == pytest.approx(rows[0]["train_class_loss"] + rows[0]["train_box_loss"], rel=1e-4)
    log = (run / "log.txt").read_text()
    assert "objects of 2 classes in 32 training images, 5 of them without any" in log


def test_it_resumes_to_the_bit(run, data, tmp_path):
    stop_and_resume(_words(tmp_path / "run", data), 1, 2)
    assert_same_runs(run, tmp_path / "run")


def test_batches_of_several_sizes(data, tmp_path, capsys):
    args = ["--task.args", "{sizes: [[48, 64], [64, 64]], max_objects: 6}", "--train.epochs", "2"]
    assert main(_words(tmp_path / "run", data, *args)) == 0
    rows = rows_of(tmp_path / "run")
    assert rows[1]["train_loss"] < rows[0]["train_loss"] and np.isfinite(rows[1]["test_ap"])
    args[1] = "{sizes: [[32, 64], [64, 32]]}"
    assert main(_words(tmp_path / "other", data, *args)) != 0
    assert "two sizes whose maps have as many cells" in capsys.readouterr().err


def test_a_checkpoint_and_its_files_have_the_trainings_figure(run, best, data, tmp_path, capsys):
    row = max(rows_of(run), key=lambda row: max(row["test_ap"], row["ema_ap"]))
    expected = max(row["test_ap"], row["ema_ap"])
    assert main(["eval", "--ckpt", best, "--per_class", "-o", str(tmp_path / "found.json")]) == 0
    said, facts = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    assert facts["ap"] == pytest.approx(expected, abs=1e-4) and f"box AP {facts['ap']:.2f} %" in said
    assert "mean of the classes with objects" in said and len(facts["predictions"]) == 9
    assert facts["predictions"][0]["image"].endswith("0.png")
    for kind in ("MINDIR", "ONNX"):
        path = str(tmp_path / f"net_{kind}.{kind.lower()}")
        form = ["--preprocess", "in-graph"] if kind == "ONNX" else []
        assert main(["export", "--ckpt", best, "--format", kind, "--output", path, *form]) == 0
        assert main(["eval", "--file", path, "--data.dataset", "coco", "--data.root", str(data), "-o",
                     str(tmp_path / "file.json")]) == 0
        found = json.loads((tmp_path / "file.json").read_text())
        assert found["ap"] == pytest.approx(expected, abs=0.3 if form else 1e-2)
    assert main(["eval", "--ckpt", best, "--confusion"]) != 0
    assert "no confusion matrix; --per_class shows" in capsys.readouterr().err


def test_sidecars_say_how_detections_are_found(best, tmp_path):
    path = str(tmp_path / "net.onnx")
    assert main(["export", "--ckpt", best, "--format", "ONNX", "--output", path, "--batch_size", "0"]) == 0
    content = json.loads((tmp_path / "net.json").read_text())
    rows = 6 * (16 + 4 + 1 + 1 + 1 + 1)
    assert [(one["name"], one["shape"]) for one in content["outputs"]] == [("boxes", [-1, rows, 4]),
                                                                           ("scores", [-1, rows, 2])]
    args = content["task_args"]
    assert sum(args["levels"]) == rows and args["by_class"] and args["iou_threshold"] == 0.55
    sidecar = read_sidecar(path)
    assert sidecar.task == "detection" and sidecar.args == {"num_classes": 2}
    content["task_args"]["levels"] = [5]
    (tmp_path / "net.json").write_text(json.dumps(content))
    assert main(["infer", "--file", path, str(tmp_path / "net.json")]) != 0


@pytest.fixture
def picture(tmp_path):
    image = np.random.default_rng(1).integers(20, 60, (96, 160, 3), np.uint8)
    image[20:56, 30:66] = 230
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return path


@pytest.mark.parametrize("kind", ["MINDIR", "ONNX"])
def test_objects_are_told_drawn_and_the_same_from_files(kind, best, picture, tmp_path, capsys):
    words = ["infer", str(picture), "--pictures", str(tmp_path / "pictures"), "--json"]
    assert main([*words, "--ckpt", best]) == 0
    own, = json.loads(capsys.readouterr().out)
    assert (own["width"], own["height"]) == (160, 96)
    for one in own["objects"]:
        left, top, right, bottom = one["box"]
        assert 0 <= left < right <= 160 and 0 <= top < bottom <= 96 and one["class"] in CLASSES and one["score"] > 0.3
    drawn = np.asarray(Image.open(tmp_path / "pictures" / "photo_boxes.png"))
    assert drawn.shape == (96, 160, 3)
    path = str(tmp_path / f"net.{kind.lower()}")
    assert main(["export", "--ckpt", best, "--format", kind, "--output", path]) == 0
    capsys.readouterr()
    assert main([*words, "--file", path]) == 0
    other, = json.loads(capsys.readouterr().out)
    assert [one["class"] for one in other["objects"]] == [one["class"] for one in own["objects"]]
    for one, two in zip(own["objects"], other["objects"]):
        assert one["box"] == pytest.approx(two["box"], abs=0.01)
        assert one["score"] == pytest.approx(two["score"], abs=1e-4)
    found, = ghost_ms.load(path).predict([str(picture)])
    assert len(found.classes) == len(own["objects"]) == len(found.boxes) and found.boxes.dtype == np.float32
    assert main(["infer", str(picture), "--file", path, "-o", str(tmp_path / "found.csv")]) == 0
    lines = (tmp_path / "found.csv").read_text().splitlines()
    assert lines[0] == "path,class,score,left,top,right,bottom" and len(lines) == 1 + max(1, len(own["objects"]))


def test_thresholds_of_the_best_f1_go_into_the_sidecar(best, data, picture, tmp_path, capsys):
    path = str(tmp_path / "net.mindir")
    assert main(["export", "--ckpt", best, "--output", path]) == 0
    words = ["--data.dataset", "coco", "--data.root", str(data)]
    assert main(["eval", "--ckpt", best, "--choose-threshold"]) != 0
    assert "writes the thresholds into the sidecar of an exported file; name it with --file" in capsys.readouterr().err
    assert main(["eval", "--file", path, "--choose-threshold", *words]) == 0
    said = capsys.readouterr().out
    thresholds = read_sidecar(path).thresholds
    assert len(thresholds) == 2 and all(0 < one <= 1 for one in thresholds)
    assert f"square: {thresholds[0]:.3f}" in said and "F1" in said
    assert main(["infer", str(picture), "--file", path, "--json"]) == 0
    found, = json.loads(capsys.readouterr().out)
    least = dict(zip(CLASSES, thresholds))
    assert all(one["score"] > least[one["class"]] for one in found["objects"])


def test_the_report_shows_curves_and_the_worst_images(run, tmp_path):
    assert main(["report", str(run), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Precision over recall at IoU 0.5" in page and "worst test images" in page and page.count("<img") >= 2


def test_the_deploy_form_gives_what_the_task_says(best):
    net, spec = restore(best)
    task = Detection(spec.task_args)
    decoded = task.deployed(net, spec)
    assert isinstance(decoded, Decoded)
    outputs = decoded.set_train(False)(Tensor(np.zeros((2, 3, 64, 64), np.float32)))
    assert [one.shape[1:] for one in outputs] == [one.shape for one in task.outputs(spec, ExportSignature())]


def test_registered_detectors_are_listed_and_timed(capsys):
    assert main(["models", "--task", "detection"]) == 0
    assert capsys.readouterr().out.count("resnet50") == 3
    assert main(["info", "ssdlite320_mobilenet_v3_large", "--input_size", "64", "--depth", "1"]) == 0
    said = capsys.readouterr().out
    assert "box AP 21.3 %" in said and "3,440,060" in said
    assert main(["info", "ghostnet_050", "--head", "retinanet", "--input_size", "64", "--depth", "1"]) == 0
    assert "with retinanet for 1000 classes" in capsys.readouterr().out
    assert verify.chosen(["ssdlite320*"], {}, ("mindir",), False) == ["ssdlite320_mobilenet_v3_large"]
    for backend in ("train", "mindir"):
        assert main(["bench", "ssdlite320*", "--backend", backend, "--input_size", "64", "--rounds", "1"]) == 0
        assert f"ssdlite320_mobilenet_v3_large  {backend}" in capsys.readouterr().out


@pytest.mark.parametrize("more, words", [
    (["--task.head", "lraspp"], "task.head is lraspp: what finds objects on the backbone's maps, ssdlite"),
    (["--task.head", "null"], "task.head is not set: what finds objects"),
    (["--task.head", "ssdlite", "--task.head_args", "{aux: 2}"], "ssdlite takes no aux"),
    (["--task.name", "segmentation", "--task.head", "fcos", "--task.args", "{}"], "has no maps of labels"),
    (["--data.dataset", "embedded"], "which has no boxes; detection takes coco, voc, yolo"),
    (["--task.args", "{max_boxes: 3}"], "task.args holds 'max_boxes'"),
    (["--augment.mixup", "0.5"], "mix the labels of images"),
    (["--augment.random_erasing", "0.5"], "augment.random_erasing is for classification: detection has"),
    (["--model.name", "ssdlite320_mobilenet_v3_large"], "has its head already; leave it out"),
    (["--model.name", "ssdlite320_mobilenet_v3_large", "--task.head", "null", "--model.num_classes", "2"],
     "counts one more, as in torchvision"),
    (["--distill.teacher", "x.ckpt"], "compares class logits, which a network for detection does not give")])
def test_what_cannot_be_is_refused_in_a_sentence(more, words, data, tmp_path, capsys):
    assert main(_words(tmp_path / "run", data, *more)) != 0
    said = capsys.readouterr().err
    assert words in said and "this is a bug" not in said
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_forms_of_other_tasks_are_refused(best, capsys):
    for option in ("--softmax", "--argmax"):
        assert main(["export", "--ckpt", best, option]) != 0
        assert "a detector's file gives boxes and scores" in capsys.readouterr().err
