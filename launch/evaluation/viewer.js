"use strict";
// One state for all canvases: which picture, which point of it is in the middle, and how large a pixel is.
const pictures = JSON.parse(document.getElementById("pictures").textContent);
const at = (id) => document.getElementById(id);
const compare = at("compare"), split = at("split"), left = at("left"), right = at("right"), gain = at("gain");
let current = null, middle = [0, 0], scale = 1, panels = [];

function size(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  return ratio;
}

function paint(canvas, image, from, to) {
  const ratio = size(canvas), pen = canvas.getContext("2d"), zoom = scale * ratio;
  pen.save();
  pen.beginPath();
  pen.rect(from * canvas.width, 0, (to - from) * canvas.width, canvas.height);
  pen.clip();
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingEnabled = zoom < 1;  // from one to one on, pixels are pixels
  pen.translate(canvas.width / 2 - middle[0] * zoom, canvas.height / 2 - middle[1] * zoom);
  pen.scale(zoom, zoom);
  if (image) pen.drawImage(image, 0, 0);
  pen.restore();
}

function draw() {
  if (!current) return;
  const share = split.value / 1000;
  paint(compare, current.images[left.value], 0, share);
  paint(compare, current.images[right.value], share, 1);
  const pen = compare.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(share * compare.width - 1, 0, 2, compare.height);
  for (const panel of panels) paint(panel.canvas, panel.image(), 0, 1);
  at("zoom").textContent = scale < 1 ? Math.round(scale * 100) + " %" : scale.toFixed(scale < 10 ? 1 : 0) + " x";
}

function fit() {
  scale = Math.min(compare.clientWidth / current.width, compare.clientHeight / current.height);
  middle = [current.width / 2, current.height / 2];
  draw();
}

// The difference to the last view, the clean picture, mid-grey where there is none; as many canvases as denoised views.
function difference(view) {
  const width = current.width, height = current.height, result = document.createElement("canvas");
  result.width = width;
  result.height = height;
  const pen = result.getContext("2d", { willReadFrequently: true });
  const pixels = (image) => { pen.drawImage(image, 0, 0); return pen.getImageData(0, 0, width, height); };
  const clean = pixels(current.images[current.images.length - 1]).data, shown = pixels(current.images[view]);
  for (let n = 0; n < clean.length; n++) {
    if (n % 4 !== 3) shown.data[n] = 128 + gain.value * (shown.data[n] - clean[n]);
  }
  pen.putImageData(shown, 0, 0);
  return result;
}

function addPanel(caption, note, image) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const words = document.createElement("figcaption"), title = document.createElement("b");
  const side = document.createElement("span");
  title.textContent = caption;
  side.textContent = note;
  words.append(title, side);
  figure.append(canvas, words);
  at("panels").append(figure);
  listen(canvas);
  panels.push({ canvas, image });
}

function layPanels() {
  panels = [];
  at("panels").replaceChildren();
  const last = current.views[current.views.length - 1].label;
  current.views.forEach((view, n) => addPanel(view.label, view.note, () => current.images[n]));
  for (let n = 1; n < current.views.length - 1; n++) {
    const map = difference(n);
    addPanel("difference", current.views[n].label + " minus " + last + ", " + gain.value + " x", () => map);
  }
}

function choices(select, chosen) {
  select.replaceChildren(...current.views.map((view, n) => new Option(view.label + "  " + view.note, n)));
  select.value = chosen;
}

async function show(number) {
  const picture = pictures[number], keep = current;
  const images = await Promise.all(picture.views.map((view) => new Promise((ready) => {
    const image = new Image();
    image.onload = () => ready(image);
    image.src = view.src;
  })));
  current = { ...picture, number, images, width: images[0].naturalWidth, height: images[0].naturalHeight };
  const same = keep && keep.views.length === current.views.length;
  choices(left, same ? left.value : 0);
  choices(right, same ? right.value : 1);
  at("name").textContent = current.name + (current.cut ? " (" + current.cut + ")" : "");
  at("noise").textContent = current.noise;
  for (const row of document.querySelectorAll("tr.here")) row.classList.remove("here");
  for (const row of document.querySelectorAll(`tr[data-picture="${number}"]`)) row.classList.add("here");
  layPanels();
  fit();
  document.body.dataset.shown = current.name;
}

function step(by) { show((current.number + by + pictures.length) % pictures.length); }

// Zoom keeps the point under the pointer where it is; every canvas shows the same part.
function listen(canvas) {
  let dragging = null;
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 300), point(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const box = canvas.getBoundingClientRect();
    const line = box.left + box.width * split.value / 1000;
    dragging = canvas === compare && Math.abs(event.clientX - line) < 14 ? "split" : "pan";
  });
  canvas.addEventListener("pointermove", (event) => {
    values(point(event));
    if (!dragging) return;
    if (dragging === "split") {
      const box = canvas.getBoundingClientRect();
      split.value = 1000 * (event.clientX - box.left) / box.width;
    } else {
      middle = [middle[0] - event.movementX / scale, middle[1] - event.movementY / scale];
    }
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { dragging = null; });
}

function zoomBy(factor, [x, y]) {
  const next = Math.min(64, Math.max(0.05, scale * factor));
  middle = [middle[0] + x / scale - x / next, middle[1] + y / scale - y / next];
  scale = next;
  draw();
}

// The pixel under the pointer, in every view.
const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
probe.canvas.width = probe.canvas.height = 1;
function values([x, y]) {
  if (!current) return;
  const column = Math.floor(middle[0] + x / scale), row = Math.floor(middle[1] + y / scale);
  if (column < 0 || row < 0 || column >= current.width || row >= current.height) return;
  const read = current.images.map((image, n) => {
    probe.drawImage(image, -column, -row);
    return current.views[n].label + " " + probe.getImageData(0, 0, 1, 1).data.slice(0, 3).join(",");
  });
  at("values").textContent = `(${column}, ${row})  ` + read.join("   ");
}

function sortBy(head) {
  const body = head.closest("table").tBodies[0], column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const number = head.dataset.kind === "number";
  const rows = [...body.rows].sort((a, b) => number ? key(a) - key(b) : key(a).localeCompare(key(b)));
  body.append(...(down ? rows.reverse() : rows));
}

for (const head of document.querySelectorAll("th[data-kind]")) {
  head.querySelector("button").addEventListener("click", () => sortBy(head));
}
for (const row of document.querySelectorAll("tr[data-picture]")) {
  row.querySelector("button").addEventListener("click", async () => {
    await show(Number(row.dataset.picture));
    at("viewer").scrollIntoView({ behavior: "smooth" });
  });
}
if (pictures.length) {
  listen(compare);
  for (const control of [split, left, right]) control.addEventListener("input", draw);
  gain.addEventListener("input", () => { layPanels(); draw(); });
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("fit").addEventListener("click", fit);
  at("pixels").addEventListener("click", () => { scale = 1 / (window.devicePixelRatio || 1); draw(); });
  at("closer").addEventListener("click", () => zoomBy(2, [0, 0]));
  at("farther").addEventListener("click", () => zoomBy(0.5, [0, 0]));
  window.addEventListener("resize", draw);
  show(0);
}
