"""The page of scores trusts no name and asks for nothing; in a browser its table sorts and its pictures zoom."""

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from launch.evaluation.page import Shown, save_evaluation_page, shown, worst_and_best
from launch.evaluation.scoreboard import PICTURES
from launch.evaluation.scores import Evaluation, Score, View
from pipeline.pages.markup import POLICY

HOSTILE = '</script><b onload="x">&.png'
NAMES = ["one.png", HOSTILE, "three.png"]


def picture(name: str, level: float) -> Shown:
    pixels = torch.full((3, 40, 60), level)
    views = [View("noisy", "20.00 dB", pixels + 0.1), View("denoised", "30.00 dB", pixels + 0.02)]
    return shown(name, "gaussian sigma_255=25", [*views, View("clean", "", pixels)])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    scores = [Score(name, 20.0, 30.0 + 9 * n % 4, 0.3, 0.8 + 0.01 * n) for n, name in enumerate(NAMES)]
    evaluations = [Evaluation("first", "gaussian sigma_255=25", scores)]
    pictures = [picture(name, 0.2 + 0.2 * n) for n, name in enumerate(NAMES)]
    save_evaluation_page(evaluations, pictures, HOSTILE, tmp_path / "page.html", PICTURES)
    return tmp_path / "page.html"


def test_names_are_text_and_nothing_is_asked_for(page: Path) -> None:
    content = page.read_text()
    assert "<b onload" not in content
    assert POLICY in content
    assert not re.search(r"https?://", content)
    assert content.count("<script") == content.count("</script>") == 2
    entries = json.loads(re.search(r'id="pictures">(.*?)</script>', content, re.S)[1])  # type: ignore[index]
    assert [entry["name"] for entry in entries] == NAMES


def test_pictures_are_kept_to_the_pixel(page: Path) -> None:
    entries = json.loads(re.search(r'id="pictures">(.*?)</script>', page.read_text(), re.S)[1])  # type: ignore[index]
    file = base64.b64decode(entries[0]["views"][1]["src"].partition(",")[2])
    with Image.open(io.BytesIO(file)) as image:
        assert (np.asarray(image) == 56).all()  # 0.22 * 255 = 56.1


def test_of_large_pictures_the_middle_is_shown() -> None:
    pixels = torch.zeros(3, 30, 1500)
    pixels[..., 750] = 1
    large = shown("", "", [View("", "", pixels)] * 2)
    assert large.cut == "the middle of 1500 x 30"
    with Image.open(io.BytesIO(large.views[0][2])) as image:
        assert image.size == (1024, 30)
        assert image.getpixel((512, 3)) == (255, 255, 255)


def test_the_worst_come_first_then_the_best() -> None:
    scores = [Score(str(n), 20.0, float(n), 0.0, 0.0) for n in (3, 1, 4, 0, 2)]
    assert worst_and_best(scores, 4, PICTURES) == ["0", "1", "4", "3"]
    assert worst_and_best(scores, 3, PICTURES) == ["0", "1", "4"]
    assert worst_and_best(scores, 50, PICTURES) == ["0", "1", "2", "3", "4"]
    assert worst_and_best(scores, 0, PICTURES) == []


ACT = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
window.addEventListener("load", async () => {
  await wait(300);
  const told = {}, table = document.querySelectorAll("table")[1];
  const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  told.first = document.getElementById("name").textContent;
  table.querySelectorAll("th button")[6].click();
  told.ascending = order();
  table.querySelectorAll("th button")[6].click();
  told.descending = order();
  document.getElementById("next").click();
  await wait(300);
  told.next = document.getElementById("name").textContent;
  const canvas = [document.getElementById("compare"), ...document.querySelectorAll("#panels canvas")];
  const pixel = (n, share) => [...canvas[n].getContext("2d").getImageData(
    canvas[n].width * share, canvas[n].height / 2, 1, 1).data.slice(0, 3)];
  document.getElementById("split").value = 700;
  document.getElementById("split").dispatchEvent(new Event("input"));
  told.sides = [pixel(0, 0.5), pixel(0, 0.75)];
  told.panels = canvas.slice(1).map((_, n) => pixel(n + 1, 0.5));
  told.before = document.getElementById("zoom").textContent;
  const box = canvas[2].getBoundingClientRect();
  canvas[2].dispatchEvent(new WheelEvent("wheel",
    { deltaY: -600, clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, cancelable: true }));
  told.after = document.getElementById("zoom").textContent;
  told.edges = canvas.slice(1).map((_, n) => pixel(n + 1, 0.02)[0] > 0);
  const result = document.createElement("pre");
  result.id = "told";
  result.textContent = JSON.stringify(told);
  document.body.append(result);
});
"""


def acted(page: Path, script: str) -> Any:
    """What a script tells that acts on a page in a browser."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    content = page.read_text()
    # A copy that lets this script in beside the page's own, which is still the only other one.
    content = re.sub(r"script-src '[^']+'", "script-src 'unsafe-inline'", content)
    copy = page.with_name("acted.html")
    copy.write_text(content.replace("</body>", f"<script>{script}</script></body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=6000", "--dump-dom"]
    done = subprocess.run([*command, f"file://{copy}"], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)[1].replace("&gt;", ">"))  # type: ignore[index]


def test_in_a_browser_the_table_sorts_and_the_views_move_together(page: Path) -> None:
    told = acted(page, ACT)
    assert told["first"] == NAMES[0]
    assert told["next"].startswith("&lt;/script")
    assert told["descending"] == told["ascending"][::-1]
    assert told["ascending"][0] == NAMES[0], "SSIM 0.80"
    # The second picture: clean is 0.4 = 102, noisy 128, denoised 107; their differences to clean times four from 128.
    assert told["sides"] == [[128] * 3, [107] * 3]
    assert told["panels"] == [[128] * 3, [107] * 3, [102] * 3, [128 + 4 * 5] * 3]
    assert told["before"] != told["after"]
    assert all(told["edges"]), "zoomed in on one, every view is filled to its edges"


ACT_OF_FOUR = """
window.addEventListener("load", async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  await wait(300);
  const rows = [...document.querySelectorAll("tr[data-picture]")], told = { rows: rows.length };
  const now = () => [document.getElementById("name").textContent, document.getElementById("noise").textContent,
    [...document.querySelectorAll("tr.here")].map((row) => row.cells[1].textContent + row.cells[2].textContent),
    [...document.querySelectorAll("#panels figcaption b")].map((caption) => caption.textContent)];
  told.first = now();
  rows[rows.length - 1].querySelector("button").click();
  await wait(300);
  told.last = now();
  told.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  const result = document.createElement("pre");
  result.id = "told";
  result.textContent = JSON.stringify(told);
  document.body.append(result);
});
"""


def test_two_runs_under_two_noises_share_their_pictures(tmp_path: Path) -> None:
    noises = ("gaussian sigma_255=25", "poisson photons=30")
    runs = ("first", "s" * 90)
    scores = [Score(name, 20.0, 30.0 - n, 0.3, 0.8) for n, name in enumerate(NAMES)]
    evaluations = [Evaluation(run, noise, scores) for noise in noises for run in runs]
    pixels = torch.full((3, 40, 60), 0.5)
    views = [View("noisy", "", pixels), *(View(f"by {run}", "", pixels) for run in runs), View("clean", "", pixels)]
    pictures = [shown(name, noise, views) for noise in noises for name in NAMES[::-1]]
    save_evaluation_page(evaluations, pictures, "a set", tmp_path / "page.html", PICTURES)
    assert "3 pictures of each of 2 noises" in (tmp_path / "page.html").read_text()
    told = acted(tmp_path / "page.html", ACT_OF_FOUR)
    captions = ["noisy", *(f"by {run}" for run in runs), "clean", "difference", "difference"]
    assert told["rows"] == 12
    assert told["first"] == [NAMES[2], noises[0], [run + noises[0] for run in runs], captions]
    assert told["last"] == [NAMES[0], noises[1], [run + noises[1] for run in runs], captions]
    assert not told["wide"], "long names move nothing out of the window"


def test_the_page_s_own_policy_admits_its_script(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=4000", "--dump-dom", f"file://{page}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert 'data-shown="one.png"' in done.stdout
