"use strict";
// Puts the labels of a confusion matrix into another order, rows and columns alike, so
// that what is right stays on the diagonal. Its first order is that of the label index.
// Empty cells that are neighbours are one cell of the table.
const ORDERS = {
  label: (one, other) => one.place - other.place,
  recall: (one, other) => one.recall - other.recall,
  size: (one, other) => other.size - one.size,
};

for (const table of document.querySelectorAll("table.matrix")) {
  const rows = [...table.tBodies[0].rows];
  const labels = rows.map((row, place) => ({
    place,
    recall: parseFloat(row.dataset.recall),
    size: parseFloat(row.dataset.size),
  }));
  const head = table.tHead.rows[0];
  const headings = [...head.cells].slice(1);
  const cellsByRow = rows.map(cellsByColumn);
  const toolbar = document.createElement("p");
  toolbar.className = "toolbar";
  toolbar.append("Order by ");
  for (const name of Object.keys(ORDERS)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-pressed", String(name === "label"));
    button.addEventListener("click", () => {
      const order = [...labels].sort(ORDERS[name]).map((label) => label.place);
      head.append(...order.map((place) => headings[place]));
      rows.forEach((row, place) => row.replaceChildren(row.cells[0], ...ordered(cellsByRow[place], order)));
      table.tBodies[0].append(...order.map((place) => rows[place]));
      for (const one of toolbar.children) one.setAttribute("aria-pressed", String(one === button));
    });
    toolbar.append(button);
  }
  table.parentElement.before(toolbar);
}

function cellsByColumn(row) {
  const found = new Map();
  let column = 0;
  for (const cell of [...row.cells].slice(1)) {
    if (!cell.classList.contains("gap")) found.set(column, cell);
    column += cell.colSpan;
  }
  return found;
}

function ordered(cells, order) {
  const found = [];
  for (const place of order) {
    const last = found[found.length - 1];
    if (cells.has(place)) {
      found.push(cells.get(place));
    } else if (last?.className === "gap") {
      last.colSpan += 1;
    } else {
      const gap = document.createElement("td");
      gap.className = "gap";
      found.push(gap);
    }
  }
  return found;
}
