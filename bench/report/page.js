// Tables that sort and filter. The page is whole without this script: it adds the controls that it serves, and changes no text.
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

for (const table of document.querySelectorAll("table.interactive")) {
  sortable(table);
  filterable(table);
}
