"""The report: known predictions, a page that loads nothing, and a browser that filters and sorts it."""
import base64
import io
import re
import shutil
import tempfile

import numpy as np
import pytest
from PIL import Image

from ghost_ms import list_models, model_card
from ghost_ms.analysis.measure import verify
from ghost_ms.analysis.measure.benchmark import Result, as_csv
from ghost_ms.analysis.report import mistakes, page
from ghost_ms.analysis.report.template import columns
from ghost_ms.analysis.report.models import read_bench
from ghost_ms.analysis.report.trainings import JudgedRun, judged
from ghost_ms.checkpoints import run_folder
from ghost_ms.checkpoints.run_folder import read_run
from ghost_ms.cli import main
from ghost_ms.data.datasets import Dataset
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.base import WORST
from ghost_ms.tasks.classification import judge
from tests.tiny import registered

#: Registered while the page is made.
TEST_MODELS = ("tiny", "tiny_vanilla")
SPEC = Preprocessing((8, 6), 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear")
LABELS = np.array([0, 0, 1, 1, 2], np.int32)
LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]]))


def _judged():
    """Three batches in effect: the second is filled up by one image, which does not count."""
    batches = [(LOGITS[:3], LABELS[:3]), (np.concatenate([LOGITS[3:], LOGITS[-1:]]), LABELS[3:])]
    return judge.judge(lambda images: images, batches, ["ant", "bee", "cow"])


def test_mistakes_carry_their_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), np.uint8)
    source = Dataset(["ant", "bee", "cow"], LABELS, 3, False, pixels.__getitem__)
    first, second = mistakes.mistakes_of(_judged(), source, SPEC)[:2]
    assert first[:3] == ("image 3", "ant 90 %", "is bee") and second.truth == "is ant"
    kind, data = first.pictures[0].split(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels[3])
    kind, data = mistakes.picture(Image.new("RGB", (600, 300))).split(",")
    assert kind == "data:image/jpeg;base64" and Image.open(io.BytesIO(base64.b64decode(data))).size == (128, 64)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A CSV as `ghost-ms bench` writes it; ghostnet_050 is the fastest, shufflenetv2_x0_5 failed."""
    path = tmp_path_factory.mktemp("bench") / "bench.csv"
    results = [Result(name, "mindspore", 1, (224, 224), 2, median_ms=ms, images_per_second=1e3 / ms, peak_mb=400.0)
               for name, ms in (("ghostnet_100", 30.0), ("ghostnet_050", 12.5), ("mobilenetv3_small_100", 14.0))]
    path.write_text(as_csv([*results, Result("shufflenetv2_x0_5", "lite", 1, (224, 224), 2, error="no Lite here")]))
    return path


def test_a_benchmark_is_read_back(bench):
    rows = read_bench(str(bench))
    assert [(row.model, row.values["median_ms"]) for row in rows] == [
        ("ghostnet_100", 30.0), ("ghostnet_050", 12.5), ("mobilenetv3_small_100", 14.0)]
    assert rows[0].values["size_mb"] is None and rows[0].input_size == "224x224"


def test_results_of_verify_are_read_too(tmp_path):
    path = str(tmp_path / "formats.csv")
    verify.write(path, {"snnmlp_t": verify.Row("snnmlp_t", "224", compile_s=30.0, mindspore_ms=400.0, onnx=1e-6,
                                               onnx_mb=113.4, onnx_ms=250.0, lite_note="no roll")})
    network, file = read_bench(path)
    assert (network.backend, network.values["compile_s"], network.values["images_per_second"]) == ("mindspore", 30, 2.5)
    assert (file.backend, file.values["median_ms"], file.values["size_mb"]) == ("onnx", 250, 113.4)
    assert "Latency, onnx, batch 1" in page.page([], [network, file])


@pytest.fixture(scope="module")
def finished(bench, tmp_path_factory):
    """A short training and the page of it and the benchmark."""
    folder = tmp_path_factory.mktemp("finished")
    with registered():
        assert main(["train", "--model.name", "tiny", "--data.dataset", "synthetic", "--data.synthetic_size", "64",
                     "--data.synthetic_classes", "4", "--data.input_size", "[32, 32]", "--data.batch_size", "32",
                     "--data.eval_batch_size", "48", "--data.workers", "1", "--train.epochs", "2",
                     "--run.device", "CPU", "--run.dir", str(folder / "run")]) == 0
        run = judged(read_run(str(folder / "run")))
        assert main(["report", str(folder / "run"), str(bench), "-o", str(folder / "page.html")]) == 0
    return run, folder / "page.html"


def test_the_matrix_of_a_run_has_the_accuracy_of_its_metrics(finished):
    run, path = finished
    confusion = run.judgement.confusion
    assert confusion.sum() == 64 and 100 * confusion.trace() / 64 == pytest.approx(run.best.figures["top1"])
    assert len(run.run.rows) == 2 and not run.missing
    text = path.read_text()
    assert f"{run.best.figures['top1']:.2f} %" in text and "name: tiny" in text
    wrong = 64 - confusion.trace()
    assert text.count("<figure>") == min(wrong, WORST) and f"Worst of {wrong} mistakes" in text
    assert text.count('class="hit"') == 4 and text.count('class="miss"') == 12
    shares = [float(share) for share in re.findall(r"--share:([\d.]+)%", text)]
    assert shares == pytest.approx(sorted(100 * confusion.diagonal() / 16), abs=0.06)


def test_the_page_loads_nothing(finished):
    text = finished[1].read_text()
    loaded = re.findall(r"""(?:src|srcset|poster|data)=["']?([^"'\s>]+)""", text) + re.findall(r"url\(([^)]*)\)", text)
    assert all(address.startswith("data:") for address in loaded)
    assert not re.search(r"<link|<iframe|@import|<script src|fetch\(|XMLHttpRequest", text)


def test_every_measurement_and_model_has_its_line(finished):
    text = finished[1].read_text()
    lines = re.findall(r'<tr data-model="(\w+)"', text)
    assert sorted(lines) == sorted([*list_models(), *TEST_MODELS])
    line = re.search(r'<tr data-model="ghostnet_050".*?</tr>', text)[0]
    assert 'data-value="12.5">12.50<' in line and 'data-value="66.2">' in line and "80.0" in line
    assert text.count("model-card") >= 3 and "state_dict_73.98.pth, licence Apache-2.0" in text


def test_without_predictions_or_data_the_page_says_why(finished, tmp_path, capsys):
    folder = finished[1].parent / "run"
    assert judged(read_run(str(folder)), predict=False).judgement is None
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "checkpoints" / "best.ckpt").unlink()
    with registered():
        run = judged(read_run(str(copy)))
        assert run.judgement is None and "there is no checkpoint" in run.missing
        assert "There are no predictions" in page.page([run], [])
    assert "no predictions" in capsys.readouterr().err


@pytest.mark.parametrize("make, words", [
    (lambda folder: folder / "nothing", "there is no run or benchmark"),
    (lambda folder: folder, "it has no metrics.csv and no config.yaml")])
def test_bad_input(make, words, tmp_path, capsys):
    assert main(["report", str(make(tmp_path)), "-o", str(tmp_path / "page.html")]) == 1
    assert words in capsys.readouterr().err and not (tmp_path / "page.html").exists()


def test_damaged_tables(tmp_path, bench):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is no table of `ghost-ms bench"):
        read_bench(str(other))
    text = bench.read_text()
    for bad in ("nan", "inf", "-3", "1e300", "1e-300", "many"):
        other.write_text(text.replace("30.0", bad, 1))
        with pytest.raises(ValueError, match="is no table of `ghost-ms bench"):
            read_bench(str(other))
    with pytest.raises(ValueError, match="is no table of `ghost-ms bench"):
        read_bench("/dev/zero")


@pytest.fixture
def prepared(tmp_path):
    """A run's folder that somebody has prepared; what runs anything makes a file RAN beside it."""
    folder = tmp_path / "evil"
    (folder / "checkpoints").mkdir(parents=True)
    call = "{class_path: subprocess.Popen, init_args: {args: touch RAN, shell: true}}".replace("RAN", f"{tmp_path}/RAN")
    (folder / "config.yaml").write_text(f"model: {{name: '<script>alert(1)</script>', args: {{width: {call}}}}}\n"
                                        f"distill: {{args: {{x: {call}}}}}\n"
                                        "data: {dataset: image_folder, root: '/</pre><b>'}\n")
    (folder / "metrics.csv").write_text("epoch,test_top1\n1,50\n")
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"\x80\x04cos\nsystem\n")
    return folder


def test_nothing_of_a_prepared_folder_is_executed_or_becomes_an_element(prepared, tmp_path, capsys):
    assert main(["report", str(prepared), "-o", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text and "</pre><b>" not in text and "&lt;script&gt;alert(1)" in text
    assert text.count("<script>") == 1 and "There are no predictions: " in text
    assert "no predictions" in capsys.readouterr().err and not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("recipe", [
    "model: {name: ghostnet_050, args: {num_classes: -1}}\ndata: {dataset: embedded}",
    "model: {name: ghostnet_050, args: {wings: 2}}\ndata: {dataset: embedded}",
    "model: {name: ghostnet_050}\ndata: {dataset: image_folder, root: /proc}", "model: {name: nothing}", "x: 1",
    "model: {name: ghostnet_050}\nrun: {device: Ascend}\ndata: {dataset: embedded}"])
def test_a_recipe_that_cannot_be_judged_by_costs_the_predictions_alone(prepared, recipe, tmp_path, capsys):
    (prepared / "config.yaml").write_text(recipe)
    assert main(["report", str(prepared), "-o", str(tmp_path / "page.html")]) == 0
    assert "50.00 %" in (tmp_path / "page.html").read_text()
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and "Traceback" not in said


def test_one_bad_folder_costs_no_other(prepared, bench, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["report", "e*", str(bench), "nowhere", "--no-predictions", "-o", "page.html"]) == 0
    streams = capsys.readouterr()
    assert streams.out.startswith("page.html: 1 runs, 3 measurements")
    assert main(["report", str(bench), "-o", "/proc/x.html"]) == 1
    assert "cannot write '/proc/x.html'" in capsys.readouterr().err
    assert ["empty" in streams.err.splitlines()[0], "'nowhere'" in streams.err.splitlines()[1]] == [True, True]


def test_tiles_and_tables_tell_what_best_ckpt_holds(tmp_path):
    """The running means won, by more than the weights ever had; a tie goes to the lower loss."""
    for name, rows in (("a", ["1,70,95,1.0,82,99,0.5", "2,75,96,0.9,80,98,0.6"]),
                       ("b", ["1,60,95,1.0,50,90,1.5", "2,60,96,0.9,55,91,1.4"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("model: {name: tiny}\ndata: {root: /x/pets}\n")
        (tmp_path / name / "metrics.csv").write_text("\n".join(
            ["epoch,test_top1,test_top5,test_loss,ema_top1,ema_top5,ema_loss", *rows]))
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--no-predictions", "-o",
                 str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    tiles = re.findall(r'tile"><b>(.*?)</b><span>(.*?)</span>', text)
    assert tiles[:5] == [("82.00 %", "top-1, test split, EMA weights"), ("99.00 %", "top-5"),
                         ("1 of 2", "best epoch"), ("0.5000", "test loss"), ("75.00 %", "best top-1 of raw weights")]
    assert tiles[5:] == [("60.00 %", "top-1, test split"), ("96.00 %", "top-5"),
                         ("2 of 2", "best epoch"), ("0.9000", "test loss"),
                         ("55.00 %", "best top-1 of EMA weights")]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr><td>.*?</tr>", text)[:2]]
    assert cells[0][5:] == ["EMA", "82.00", "99.00", "0.5000"] and cells[1][5:] == ["raw", "60.00", "96.00", "0.9000"]


def test_many_classes_are_a_list_of_the_weakest():
    labels = np.arange(60)
    outputs = np.eye(60)
    outputs[3] = outputs[4]
    told = judge.judge(lambda images: images, [(outputs, labels)], [f"name {label}" for label in labels])
    run = run_folder.Run("x", [{"epoch": 1.0}], {}, "")
    text = page.page([JudgedRun(run, told)], [])
    assert "Most frequent confusions" in text and "<td>name 3</td>" in text
    assert "The weakest of 60 classes" in text and text.count('class="bar-cell"') == 20
    assert "Worst of 1 mistakes on 60" in text
    outputs = np.eye(60)
    told = judge.judge(lambda images: images, [(outputs, labels)], [f"name {label}" for label in labels])
    assert "All of 60 test images are recognised." in page.page([JudgedRun(run, told)], [])


@pytest.mark.parametrize("count, expected", [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3), (7, 4)])
def test_no_card_stands_alone_in_the_last_row(count, expected):
    assert columns(count) == expected


def _browser():
    """Headless Chromium, driven by selenium; the test is skipped where one of them is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-component-update",
                 "disable-background-networking", "disable-sync", f"user-data-dir={tempfile.mkdtemp()}",
                 "window-size=1280,1600"):
        options.add_argument(f"--{flag}")
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


def test_in_a_browser(finished, tmp_path):
    """Filter, family, sorting in both directions, theme, the width of a phone; a picture that is not blank."""
    browser = _browser()
    select = pytest.importorskip("selenium.webdriver.support.select").Select
    try:
        browser.get(finished[1].as_uri())

        def names():
            return browser.execute_script("return [...document.querySelectorAll('#models tbody tr')]"
                                          ".filter((row) => row.offsetHeight).map((row) => row.dataset.model)")

        def head(title):
            return next(b for b in browser.find_elements("css selector", "#models thead button") if b.text == title)

        reach = browser.execute_script("return [...document.querySelectorAll('.grid')].map((grid) => "
                                       "(grid.lastElementChild.getBoundingClientRect().right - grid.offsetLeft)"
                                       " / grid.offsetWidth)")
        assert len(reach) == 3 and min(reach) >= 0.49, "no half of a row is empty"

        assert names() == ["ghostnet_050", "ghostnet_100", "mobilenetv3_small_100", "tiny"]
        head("median (ms)").click()
        assert names() == ["ghostnet_050", "mobilenetv3_small_100", "ghostnet_100", "tiny"]
        head("median (ms)").click()
        assert names() == ["ghostnet_100", "mobilenetv3_small_100", "ghostnet_050", "tiny"]
        head("model").click()
        browser.find_element("id", "measured").click()
        everything = sorted([*list_models(), *TEST_MODELS])
        assert names() == everything
        assert browser.find_element("id", "shown").text == f"{len(everything)} of {len(everything)}"
        browser.find_element("id", "search").send_keys("ghostnet 50")
        assert names() == [name for name in list_models() if "ghostnet" in name and "50" in name]
        bright = browser.execute_script("return [...document.querySelectorAll('svg .point:not(.off)')]"
                                        ".map((dot) => dot.dataset.model)")
        assert bright and all("ghostnet" in name and "50" in name for name in bright)
        browser.find_element("id", "search").clear()
        select(browser.find_element("id", "family")).select_by_visible_text("ghostnetv2")
        assert {model_card(name).family for name in names()} == {"ghostnetv2"}

        background = "return getComputedStyle(document.body).backgroundColor"
        before, toggle = browser.execute_script(background), browser.find_element("id", "theme")
        said = toggle.text
        toggle.click()
        assert browser.execute_script(background) != before and {said, toggle.text} == {"Dark", "Light"}
        browser.save_screenshot(str(tmp_path / "page.png"))
        pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
        assert pixels.shape[0] > 1000 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50

        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True})
        overflow = browser.execute_script("return document.documentElement.scrollWidth")
        assert overflow <= 390, "nothing but tables may be scrolled sideways on a phone"
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        browser.quit()
