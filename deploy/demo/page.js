"use strict";
// Sends an image to the model server's REST port (signature `detail`) and draws the answer over it. The threshold of
// abstaining is moved here, in the browser: the answer has the best class and the void score of every pixel.

const $ = (id) => document.getElementById(id);
const HEAT = [[0, 0, 4], [60, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const HATCH = [[255, 0, 255], [70, 0, 70]]; // "no class", as kseg's own overlays draw it
const HATCH_PX = 4;

const state = { about: null, image: null, classes: null, scores: null, only: null, file: null, request: 0 };

// The server. ---------------------------------------------------------------------------------------------------------

function serverAddress() {
  const typed = $("server").value.trim() || location.origin;
  return (/^https?:\/\//.test(typed) ? typed : `http://${typed}`).replace(/\/+$/, "");
}

function modelUrl() {
  const server = serverAddress();
  return `${server}/v1/models/${encodeURIComponent($("model-name").value)}:predict`;
}

async function predict(signature, input, value) {
  let response;
  try {
    // As text: a JSON content type would make the browser ask for permission first, which TF-Serving may not answer.
    const body = JSON.stringify({ signature_name: signature, instances: [{ [input]: { b64: value } }] });
    response = await fetch(modelUrl(), { method: "POST", headers: { "Content-Type": "text/plain" }, body });
  } catch {
    throw new Error(`no answer from ${serverAddress()}; is the address right, and CORS enabled there?`);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(sentence(answer.error || `HTTP status ${response.status}`));
  if (!answer.predictions?.length) throw new Error(`${serverAddress()} answers, but not as a kseg model does`);
  return answer.predictions[0];
}

function sentence(message) {
  const ours = message.match(/kseg: ([^\n]*?)\](?:\n|\s*$|\s*\[)/);
  const line = ours ? ours[1] : message.split("\n")[0];
  return / at most \d+ (pixels|px)/.test(line) ? `${line}; kseg predict asks for such an image in tiles` : line;
}

async function connect() {
  Object.assign(state, { about: null, classes: null, scores: null }); // masks are read by the table of their own model
  $("controls").hidden = true;
  $("viewer").classList.remove("busy");
  say("model", "connecting …");
  try {
    state.about = described(await predict("about", "query", ""));
  } catch (error) {
    say("model", "not connected", true);
    say("status", `The model server is not there: ${error.message}`, true);
    $("connection").open = true;
    return false;
  }
  say("status", "");
  const about = state.about, threshold = about.score_map.threshold;
  say("model", `${about.num_classes} classes of ${about.table.name}, treatment ${about.treatment}, ` +
    (threshold === null ? "never abstains by itself" : `abstains over ${words(about.score_map.score)} ${round(threshold)}`));
  resetThreshold();
  return true;
}

function described(text) {
  let about;
  try { about = JSON.parse(text); } catch { about = {}; }
  if (!about?.classes?.length || !about.score_map?.knots || !about.official_ids || !about.table) {
    throw new Error(`the model ${$("model-name").value} does not say what a kseg model says about itself`);
  }
  return about;
}

// The image. ----------------------------------------------------------------------------------------------------------

async function open(file) {
  const request = ++state.request;
  say("status", "");
  let bitmap, sent;
  try {
    [bitmap, sent] = await upright(file);
  } catch {
    if (request === state.request) say("status", `${file.name || "this"} is not an image that the browser can read`, true);
    return;
  }
  if (request !== state.request) return; // another image was chosen while this one was read
  state.file = file;
  show(bitmap);
  if (!state.about && !(await connect())) return;
  if (request !== state.request) return;
  $("viewer").classList.add("busy");
  say("status", "the model is at work …");
  const began = performance.now();
  try {
    const answer = await predict("detail", "image_bytes", await base64(sent));
    const [classes, scores] = await Promise.all([channel(answer.class_png_bytes.b64), channel(answer.void_score_png_bytes.b64)]);
    if (request !== state.request) return; // another image was chosen meanwhile
    for (const map of [classes, scores]) {
      if (map.width !== bitmap.width || map.height !== bitmap.height) {
        throw new Error(`the answer is ${map.width} × ${map.height} px, the image ${bitmap.width} × ${bitmap.height} px`);
      }
    }
    Object.assign(state, { classes: classes.values, scores: scores.values, only: null, name: file.name || "image" });
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

// [bitmap as a person sees it, what to send]: the file itself where the server's decoder, which knows no EXIF, sees the
// same; otherwise (EXIF orientation, other formats) a PNG of the bitmap.
async function upright(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const isPng = bytes[0] === 0x89 && bytes[1] === 0x50;
  const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
  if (isPng) {
    const { orientation, without } = pngOrientation(bytes);
    const stored = await createImageBitmap(without);
    return orientation <= 1 ? [stored, file] : redrawn(stored, orientation);
  }
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  return isJpeg && jpegOrientation(bytes) <= 1 ? [bitmap, file] : redrawn(bitmap, 1);
}

async function redrawn(bitmap, orientation) {
  const { width: w, height: h } = bitmap, turned = orientation > 4;
  const canvas = new OffscreenCanvas(turned ? h : w, turned ? w : h);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  // By EXIF's orientation 2 to 8: where the stored picture's axes go.
  context.setTransform(...({
    2: [-1, 0, 0, 1, w, 0], 3: [-1, 0, 0, -1, w, h], 4: [1, 0, 0, -1, 0, h], 5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, h, 0], 7: [0, -1, -1, 0, h, w], 8: [0, -1, 1, 0, 0, w],
  }[orientation] || [1, 0, 0, 1, 0, 0]));
  context.drawImage(bitmap, 0, 0);
  const sent = await canvas.convertToBlob({ type: "image/png" });
  return [await createImageBitmap(sent), sent];
}

// The orientation in a PNG's eXIf chunk, and the PNG without it, which no browser turns.
function pngOrientation(bytes) {
  const view = new DataView(bytes.buffer), kept = [bytes.subarray(0, 8)];
  let orientation = 1, at = 8;
  while (at + 12 <= bytes.length) {
    const end = at + 12 + view.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (end > bytes.length) break;
    if (name === "eXIf") orientation = tiffOrientation(view, at + 8);
    else kept.push(bytes.subarray(at, end));
    at = end;
  }
  return { orientation, without: new Blob([...kept, bytes.subarray(at)], { type: "image/png" }) };
}

function jpegOrientation(bytes) {
  const view = new DataView(bytes.buffer);
  let at = 2;
  while (at + 10 < view.byteLength && view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    if (marker === 0xe1 && view.getUint32(at + 4) === 0x45786966) return tiffOrientation(view, at + 10); // "Exif"
    if (marker === 0xda) return 1;
    at += 2 + view.getUint16(at + 2);
  }
  return 1;
}

function tiffOrientation(view, tiff) {
  if (tiff + 8 > view.byteLength) return 1;
  const little = view.getUint16(tiff) === 0x4949;
  let entry = tiff + view.getUint32(tiff + 4, little);
  if (entry + 2 > view.byteLength) return 1;
  for (let n = view.getUint16(entry, little); n > 0 && entry + 14 <= view.byteLength; n--, entry += 12) {
    if (view.getUint16(entry + 2, little) === 0x0112) return view.getUint16(entry + 10, little);
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
  const values = Uint8Array.from({ length: rgba.length / 4 }, (_, i) => rgba[4 * i]);
  return { values, width: bitmap.width, height: bitmap.height };
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
  const heat = heatPalette(state.least, state.most);
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
  $("abstained").textContent = percent(counts[k], classes.length);
  $("scale-mark").style.left = `${100 * Math.min(threshold, 256) / 256}%`;
  updateLegend(counts, classes.length);
}

// Colours of the 256 bytes, the scale stretched over the scores that this image has.
function heatPalette(least, most) {
  return Array.from({ length: 256 }, (_, i) => {
    const share = Math.min(Math.max((i - least) / Math.max(most - least, 1), 0), 1);
    const place = share * (HEAT.length - 1), low = Math.min(Math.floor(place), HEAT.length - 2), part = place - low;
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
  [state.least, state.most] = state.scores.reduce(([low, high], v) => [v < low ? v : low, v > high ? v : high], [255, 0]);
  const bar = $("scale-bar").getContext("2d"), colors = heatPalette(state.least, state.most);
  colors.forEach((color, x) => { bar.fillStyle = `rgb(${color.join(" ")})`; bar.fillRect(x, 0, 1, 1); });
}

function updateLegend(counts, total) {
  for (const item of $("legend").children) {
    const value = Number(item.dataset.value), button = item.firstChild;
    button.lastChild.value = percent(counts[value], total);
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

// One digit, and no "0.0 %" for what is there.
function percent(part, total) {
  return part > 0 && part / total < 0.0005 ? "< 0.1 %" : `${(100 * part / total).toFixed(1)} %`;
}

const words = (name) => name.replaceAll("_", " ");
const round = (number) => Number(number.toPrecision(3)).toString();
const kilobytes = (bytes) => bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1000))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

// The mask as `kseg predict` writes it: a grey PNG of published ids, at the threshold that is set.
async function saveMask() {
  const { classes, scores, about, image } = state, threshold = Number($("threshold").value), { width, height } = image;
  const rows = new Uint8Array(height * (width + 1)); // each row behind its filter byte, 0
  for (let i = 0; i < classes.length; i++) {
    const value = scores[i] >= threshold ? about.num_classes : classes[i];
    rows[i + Math.floor(i / width) + 1] = about.official_ids[value];
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array([...bigEndian(width), ...bigEndian(height), 8, 0, 0, 0, 0]);
  const body = new Uint8Array(await new Response(packed).arrayBuffer());
  const png = [[0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10], chunk("IHDR", header), chunk("IDAT", body), chunk("IEND", [])];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([new Uint8Array(png[0]), ...png.slice(1)], { type: "image/png" }));
  link.download = `${state.name.replace(/\.[^.]*$/, "")}_mask.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const bigEndian = (number) => [24, 16, 8, 0].map((shift) => (number >>> shift) & 255);

function chunk(name, data) {
  const coded = new Uint8Array(4 + data.length);
  coded.set([...name].map((letter) => letter.charCodeAt(0)));
  coded.set(data, 4);
  let crc = -1;
  for (const byte of coded) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return new Blob([new Uint8Array(bigEndian(data.length)), coded, new Uint8Array(bigEndian(~crc))]);
}

async function openSample() {
  const answer = await fetch("sample.jpg").catch(() => null);
  if (answer?.ok) open(new File([await answer.blob()], "sample.jpg"));
  else say("status", "the sample cannot be read from a file: page; serve this folder, or choose an image", true);
}

function choose() { $("file").value = ""; $("file").click(); }

$("file").addEventListener("change", () => { if ($("file").files[0]) open($("file").files[0]); });
$("drop").addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
$("another").addEventListener("click", choose);
$("save").addEventListener("click", saveMask);
$("sample").addEventListener("click", openSample);
$("reset").addEventListener("click", resetThreshold);
$("server-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  state.request++; // what another model still answers is not drawn
  if (!(await connect())) return;
  $("connection").open = false;
  if (state.file) open(state.file);
});
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
