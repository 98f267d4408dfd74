"use strict";
// Sends an image to the model server's REST port (signature `detail`) and draws the answer over it. The threshold of
// abstaining is moved here, in the browser: the answer has the best class and the void score of every pixel.

const $ = (id) => document.getElementById(id);
const HEAT = [[0, 0, 4], [60, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const HATCH = [[255, 0, 255], [70, 0, 70]]; // "no class", as kseg's own overlays draw it
const HATCH_PX = 4;

const state = { about: null, image: null, classes: null, scores: null, only: null, request: 0 };

// The server. ---------------------------------------------------------------------------------------------------------

function modelUrl() {
  const server = ($("server").value || location.origin).replace(/\/+$/, "");
  return `${server}/v1/models/${encodeURIComponent($("model-name").value)}:predict`;
}

async function predict(signature, input, value) {
  let response;
  try {
    // As text: a JSON content type would make the browser ask for permission first, which TF-Serving may not answer.
    const body = JSON.stringify({ signature_name: signature, instances: [{ [input]: { b64: value } }] });
    response = await fetch(modelUrl(), { method: "POST", headers: { "Content-Type": "text/plain" }, body });
  } catch {
    throw new Error(`no answer from ${new URL(modelUrl()).origin}; is the address right, and CORS enabled there?`);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(sentence(answer.error || `HTTP status ${response.status}`));
  return answer.predictions[0];
}

function sentence(message) {
  const ours = message.match(/kseg: ([^\n]*?)\](?:\n|\s*$|\s*\[)/);
  return ours ? ours[1] : message.split("\n")[0];
}

async function connect() {
  state.about = null;
  say("model", "connecting …");
  try {
    state.about = JSON.parse(await predict("about", "query", ""));
  } catch (error) {
    say("model", error.message, true);
    $("connection").open = true;
    return false;
  }
  const about = state.about;
  const threshold = about.score_map.threshold;
  say("model", `${about.num_classes} classes of ${about.table.name}, treatment ${about.treatment}, ` +
    (threshold === null ? "never abstains by itself" : `abstains where ${words(about.score_map.score)} is over ${round(threshold)}`));
  resetThreshold();
  return true;
}

// The image. ----------------------------------------------------------------------------------------------------------

async function open(file) {
  const request = ++state.request;
  say("status", "");
  let bitmap, sent;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    sent = await requestBytes(file, bitmap);
  } catch {
    say("status", `${file.name || "this"} is not an image that the browser can read`, true);
    return;
  }
  show(bitmap);
  if (!state.about && !(await connect())) return;
  $("viewer").classList.add("busy");
  say("status", "the model is at work …");
  const began = performance.now();
  try {
    const answer = await predict("detail", "image_bytes", await base64(sent));
    const [classes, scores] = await Promise.all([channel(answer.class_png_bytes.b64), channel(answer.void_score_png_bytes.b64)]);
    if (request !== state.request) return; // another image was chosen meanwhile
    if (classes.length !== bitmap.width * bitmap.height) throw new Error("the answer has another size than the image");
    Object.assign(state, { classes, scores, only: null });
    const seconds = ((performance.now() - began) / 1000).toFixed(2);
    say("status", `${bitmap.width} × ${bitmap.height} px, ${kilobytes(sent.size)} sent, answered in ${seconds} s`);
    $("controls").hidden = false;
    buildLegend();
    draw();
  } catch (error) {
    if (request === state.request) say("status", error.message, true);
  } finally {
    if (request === state.request) $("viewer").classList.remove("busy");
  }
}

// The file itself where the server sees what the browser shows; otherwise (EXIF orientation, other formats) a PNG of it.
async function requestBytes(file, bitmap) {
  const head = new Uint8Array(await file.slice(0, 65536 * 4).arrayBuffer());
  const isPng = head[0] === 0x89 && head[1] === 0x50;
  const isJpeg = head[0] === 0xff && head[1] === 0xd8;
  if (isPng || (isJpeg && exifOrientation(head) <= 1)) return file;
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

function exifOrientation(bytes) {
  const view = new DataView(bytes.buffer);
  let at = 2;
  while (at + 10 < view.byteLength && view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xe1 && view.getUint32(at + 4) === 0x45786966) { // "Exif"
      const tiff = at + 10;
      const little = view.getUint16(tiff) === 0x4949;
      let entry = tiff + view.getUint32(tiff + 4, little);
      if (entry + 2 > view.byteLength) return 1;
      for (let n = view.getUint16(entry, little); n > 0 && entry + 14 < view.byteLength; n--, entry += 12) {
        if (view.getUint16(entry + 2, little) === 0x0112) return view.getUint16(entry + 10, little);
      }
      return 1;
    }
    if (marker === 0xda) return 1;
    at += 2 + view.getUint16(at + 2);
  }
  return 1;
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// One byte a pixel from a grey PNG, untouched by colour management.
async function channel(coded) {
  const bytes = Uint8Array.from(atob(coded), (c) => c.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  return Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i]);
}

function show(bitmap) {
  const canvas = $("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.style.setProperty("--aspect", bitmap.width / bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  state.image = context.getImageData(0, 0, bitmap.width, bitmap.height);
  state.classes = state.scores = null;
  $("drop").hidden = true;
  $("viewer").hidden = false;
  $("controls").hidden = true;
}

// Drawing. ------------------------------------------------------------------------------------------------------------

let pending = false;
function draw() { // at most once a frame, however fast the slider moves
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; render(); });
}

function render() {
  if (!state.classes) return;
  const { image, classes, scores, about, only } = state;
  const view = document.querySelector("input[name=view]:checked").value;
  const threshold = Number($("threshold").value);
  const share = Number($("opacity").value) / 100;
  const k = about.num_classes;
  const palette = about.classes.map((entry) => entry.color);
  const heat = heatPalette();
  const drawn = new ImageData(image.width, image.height);
  const from = image.data, to = drawn.data;
  const counts = new Array(k + 1).fill(0);
  for (let i = 0, p = 0, y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, i++, p += 4) {
      const value = scores[i] >= threshold ? k : classes[i];
      counts[value]++;
      let color = null;
      if (view === "score") color = heat[scores[i]];
      else if (view === "mask") color = value === k ? HATCH[Math.floor((x + y) / HATCH_PX) % 2] : palette[value];
      let mix = color === null ? 0 : share;
      if (only !== null && view === "mask") mix = value === only ? Math.max(share, 0.75) : 0.1 * share;
      // Under the heat colours the image is grey, or its own colours would read as scores.
      const grey = view === "score" ? 0.299 * from[p] + 0.587 * from[p + 1] + 0.114 * from[p + 2] : null;
      for (let c = 0; c < 3; c++) {
        const under = grey ?? from[p + c];
        to[p + c] = mix ? under + mix * (color[c] - under) : under;
      }
      to[p + 3] = 255;
    }
  }
  $("canvas").getContext("2d").putImageData(drawn, 0, 0);
  $("opacity-value").value = `${Math.round(100 * share)} %`;
  $("threshold-value").value = threshold > 255 ? "never" : threshold;
  $("threshold-note").textContent = thresholdNote(threshold);
  $("abstained").textContent = `${(100 * counts[k] / classes.length).toFixed(1)} %`;
  $("scale").hidden = view !== "score";
  updateLegend(counts, classes.length);
}

function heatPalette() {
  return Array.from({ length: 256 }, (_, i) => {
    const place = i / 255 * (HEAT.length - 1), low = Math.min(Math.floor(place), HEAT.length - 2), part = place - low;
    return HEAT[low].map((value, c) => Math.round(value + part * (HEAT[low + 1][c] - value)));
  });
}

// What a byte of the void score stands for: the knots of the score map, read backwards.
function scoreAt(byte) {
  const knots = state.about.score_map.knots;
  for (let i = 1; i < knots.length; i++) {
    const [x0, y0] = knots[i - 1], [x1, y1] = knots[i];
    if (byte <= y1) return x0 + (x1 - x0) * (byte - y0) / (y1 - y0);
  }
  return null;
}

function thresholdNote(threshold) {
  const map = state.about.score_map;
  if (threshold > 255) return "every pixel gets its best class";
  const score = scoreAt(threshold);
  const own = map.threshold !== null && threshold === 128 ? ": the model's own" : "";
  return score === null ? `beyond every ${words(map.score)}` : `${words(map.score)} ${round(score)}${own}`;
}

// "No class" first, then the classes that are best somewhere, most first: an order that the slider does not change.
function buildLegend() {
  const k = state.about.num_classes;
  const names = state.about.classes.map((entry) => entry.name);
  const best = new Array(k).fill(0);
  for (const value of state.classes) best[value]++;
  const present = [...names.keys()].filter((value) => best[value]).sort((a, b) => best[b] - best[a]);
  $("legend").replaceChildren(...[k, ...present].map((value) => {
    const item = document.createElement("li"), button = document.createElement("button"), swatch = document.createElement("i");
    const name = document.createElement("span"), part = document.createElement("output");
    button.type = "button";
    if (value === k) swatch.className = "void";
    else swatch.style.background = `rgb(${state.about.classes[value].color.join(" ")})`;
    name.textContent = value === k ? "no class" : names[value];
    button.append(swatch, name, part);
    button.addEventListener("click", () => { state.only = state.only === value ? null : value; draw(); });
    item.append(button);
    item.dataset.value = value;
    return item;
  }));
  const absent = names.filter((_, value) => !best[value]);
  $("absent").textContent = absent.length ? `Not here: ${absent.join(", ")}` : "";
  const bar = $("scale-bar").getContext("2d"), colors = heatPalette();
  colors.forEach((color, x) => { bar.fillStyle = `rgb(${color.join(" ")})`; bar.fillRect(x, 0, 1, 1); });
}

function updateLegend(counts, total) {
  for (const item of $("legend").children) {
    const value = Number(item.dataset.value), button = item.firstChild;
    button.lastChild.value = `${(100 * counts[value] / total).toFixed(1)} %`;
    button.setAttribute("aria-pressed", String(state.only === value));
  }
}

function resetThreshold() {
  // A model that never abstains by itself has no byte from 128: the slider starts beyond every score.
  $("threshold").value = state.about.score_map.threshold === null ? 256 : 128;
  draw();
}

// Input. --------------------------------------------------------------------------------------------------------------

function hover(event) {
  const box = $("canvas").getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * $("canvas").width);
  const y = Math.floor((event.clientY - box.top) / box.height * $("canvas").height);
  const inside = state.classes && x >= 0 && y >= 0 && x < $("canvas").width && y < $("canvas").height;
  $("hover").hidden = !inside;
  if (!inside) return;
  const i = y * $("canvas").width + x;
  const best = state.about.classes[state.classes[i]].name;
  const abstains = state.scores[i] >= Number($("threshold").value);
  $("hover").textContent = `${abstains ? `no class (best: ${best})` : best} · void score ${state.scores[i]} · ${x}, ${y}`;
}

function say(id, text, bad = false) {
  $(id).textContent = text;
  $(id).classList.toggle("bad", bad);
}

const words = (name) => name.replaceAll("_", " ");
const round = (number) => Number(number.toPrecision(3)).toString();
const kilobytes = (bytes) => bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1000))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

function choose() { $("file").value = ""; $("file").click(); }

$("file").addEventListener("change", () => { if ($("file").files[0]) open($("file").files[0]); });
$("drop").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
$("another").addEventListener("click", choose);
$("reset").addEventListener("click", resetThreshold);
$("server-form").addEventListener("submit", async (event) => { event.preventDefault(); if (await connect()) $("connection").open = false; });
for (const id of ["threshold", "opacity"]) $(id).addEventListener("input", draw);
for (const radio of document.querySelectorAll("input[name=view]")) radio.addEventListener("change", draw);
$("viewer").addEventListener("pointermove", hover);
$("viewer").addEventListener("pointerleave", () => { $("hover").hidden = true; });
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => { if (event.clipboardData.files[0]) open(event.clipboardData.files[0]); });

const query = new URLSearchParams(location.search);
$("server").value = query.get("server") || "";
$("model-name").value = query.get("model") || "kseg";
if (location.protocol === "file:" && !$("server").value) $("server").value = "http://localhost:8501";
connect();
