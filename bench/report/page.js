// Tables that sort and filter, samples that adapt step by step. The page is whole without this script: it adds the controls that it
// serves, and changes no text.
"use strict";

const SUFFIXES = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };

/** The number that a cell begins with ("−1,234.5 [a, b]", "40.0 k", "5/5", "∞"), or NaN. */
function numberOf(text) {
  const plain = text.trim().replaceAll("\u2212", "-").replaceAll(",", "");
  if (/^-?∞/.test(plain)) return plain.startsWith("-") ? -Infinity : Infinity;
  const found = /^(-?\d+(?:\.\d+)?)(?: ([kMGTP])(?![A-Za-z]))?/.exec(plain);
  return found ? Number(found[1]) * (SUFFIXES[found[2]] ?? 1) : NaN;
}

/** Negative where cell a comes before cell b; cells without a number come last whatever the direction. */
function compare(a, b, direction) {
  if (!a.classList.contains("number") || !b.classList.contains("number")) {
    return direction * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  }
  const [x, y] = [numberOf(a.textContent), numberOf(b.textContent)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return x === y ? 0 : direction * (x < y ? -1 : 1);
}

/** A button in each heading: ascending, descending, then the report's own order again. */
function sortable(table) {
  const body = table.tBodies[0], original = [...body.rows], headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "" }[heading.getAttribute("aria-sort")] ?? "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) heading.setAttribute("aria-sort", next);
      const direction = next === "descending" ? -1 : 1;
      const order = (a, b) => compare(a.cells[column], b.cells[column], direction);
      body.append(...(next ? [...original].sort(order) : original));
    });
  });
}

/** A labelled field above the table: rows that hold all its words stay, and how many these are is said aloud. */
function filterable(table) {
  const rows = [...table.tBodies[0].rows], label = document.createElement("label"), field = document.createElement("input");
  const count = document.createElement("span"), controls = document.createElement("div");
  label.textContent = "Filter rows ";
  field.type = "search";
  field.setAttribute("aria-controls", table.id);
  label.append(field);
  count.setAttribute("role", "status");
  controls.className = "filter";
  controls.append(label, count);
  table.closest(".scroll").before(controls);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => { row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word)); });
    count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
}

const STEP_TIME = 900;  // milliseconds that a step is shown

/** A canvas for one arm, and the function that draws a frame of its grid on it: a part of the picture that the page has already. */
function sceneView(image, scene) {
  const view = document.createElement("figure"), caption = document.createElement("figcaption"), canvas = document.createElement("canvas");
  const name = image.closest(".picture").querySelector("figcaption").textContent.replace(`, ${scene}`, "");
  caption.textContent = name;
  canvas.setAttribute("role", "img");
  view.append(caption, canvas);
  const draw = ({ label, box }) => {
    const [left, top, width, height] = box.map((share, i) => Math.round(share * (i % 2 ? image.naturalHeight : image.naturalWidth)));
    Object.assign(canvas, { width, height });
    view.style.width = `${box[2] * image.getAttribute("width")}px`;
    canvas.setAttribute("aria-label", `${name}, ${label}`);
    canvas.getContext("2d").drawImage(image, left, top, width, height, 0, 0, width, height);
  };
  return { view, caption, draw };
}

/** All arms of a scene at one adaptation step, chosen by a slider or shown in turn; the grids themselves stay below. */
function playable(scene, images) {
  const frames = images.map((image) => JSON.parse(image.dataset.frames));
  const stills = frames[0].filter((frame) => frame.still), steps = frames.map((of) => of.filter((frame) => !frame.still));
  const player = document.createElement("figure"), title = document.createElement("figcaption"), stage = document.createElement("div");
  const controls = document.createElement("div"), label = document.createElement("label"), slider = document.createElement("input");
  const said = document.createElement("output"), button = document.createElement("button");
  title.textContent = `All arms adapt, ${scene}`;
  player.className = "player";
  controls.className = "controls";
  stage.className = "stage";
  label.textContent = "Adaptation ";
  Object.assign(slider, { type: "range", min: 0, max: steps[0].length - 1, step: 1, value: 0 });
  label.append(slider);
  Object.assign(button, { type: "button", textContent: "Play" });
  // What moves by itself is offered to those only who have not asked for less motion.
  controls.append(...(matchMedia("(prefers-reduced-motion: reduce)").matches ? [] : [button]), label, said);
  player.append(title, controls, stage);

  for (const still of stills) {
    const { view, caption, draw } = sceneView(images[0], scene);
    draw(still);
    caption.textContent = still.label;
    view.lastChild.setAttribute("aria-label", still.label);
    stage.append(view);
  }
  const arms = images.map((image) => sceneView(image, scene));
  stage.append(...arms.map((arm) => arm.view));
  const show = () => {
    const step = Number(slider.value);
    arms.forEach((arm, i) => arm.draw(steps[i][step]));
    said.textContent = steps[0][step].label;
    slider.setAttribute("aria-valuetext", steps[0][step].label);
  };
  let timer = 0;
  const pause = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  const advance = () => { slider.value = (Number(slider.value) + 1) % steps[0].length; show(); };
  slider.addEventListener("input", () => { pause(); show(); });
  button.addEventListener("click", () => {
    if (timer) return pause();
    button.textContent = "Pause";
    timer = setInterval(advance, STEP_TIME);
  });
  show();
  const first = images[0].closest(".gallery");
  (first.closest("details") ?? first).before(player);
}

const scenes = new Map();
for (const image of document.querySelectorAll("img[data-scene]")) {
  scenes.set(image.dataset.scene, [...(scenes.get(image.dataset.scene) ?? []), image]);
}
for (const [scene, images] of scenes) {
  // A picture that can't be read is left to its text.
  if (JSON.parse(images[0].dataset.frames).filter((frame) => !frame.still).length > 1) {
    Promise.all(images.map((image) => image.decode())).then(() => playable(scene, images), () => {});
  }
}

for (const table of document.querySelectorAll("table.interactive")) {
  sortable(table);
  filterable(table);
}
