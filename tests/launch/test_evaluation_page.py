"""The page of scores trusts no name and asks for nothing; in a browser its table sorts and its pictures zoom."""

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from launch.evaluation_page import Shown, save_evaluation_page, shown, worst_and_best
from launch.scores import Evaluation, Score, View
from pipeline.markup import POLICY

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
    save_evaluation_page(evaluations, pictures, HOSTILE, tmp_path / "page.html")
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
    assert worst_and_best(scores, 4) == ["0", "1", "4", "3"]
    assert worst_and_best(scores, 3) == ["0", "1", "4"]
    assert worst_and_best(scores, 50) == ["0", "1", "2", "3", "4"]
    assert worst_and_best(scores, 0) == []


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


def test_in_a_browser_the_table_sorts_and_the_views_move_together(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    content = page.read_text()
    # A copy that lets this test's script in beside the page's own, which is still the only other one.
    content = re.sub(r"script-src '[^']+'", "script-src 'unsafe-inline'", content)
    (tmp_path / "acted.html").write_text(content.replace("</body>", f"<script>{ACT}</script></body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=6000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{tmp_path / 'acted.html'}"], capture_output=True, text=True, timeout=120, check=True
    )
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.S)[1].replace("&gt;", ">"))  # type: ignore[index]
    assert told["first"] == NAMES[0]
    assert told["next"].startswith("&lt;/script")
    assert told["descending"] == told["ascending"][::-1]
    assert told["ascending"][0] == NAMES[0], "SSIM 0.80"
    # The second picture: clean is 0.4 = 102, noisy 128, denoised 107; their differences to clean times four from 128.
    assert told["sides"] == [[128] * 3, [107] * 3]
    assert told["panels"] == [[128] * 3, [107] * 3, [102] * 3, [128 + 4 * 5] * 3]
    assert told["before"] != told["after"]
    assert all(told["edges"]), "zoomed in on one, every view is filled to its edges"


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
