"use strict";
// Puts the labels of a confusion matrix into another order, rows and columns alike, so
// that what is right stays on the diagonal. Its first order is that of the label index.
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
  const lines = [...table.tHead.rows, ...rows].map((row) => ({ row, cells: [...row.cells] }));
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
      for (const { row, cells } of lines) row.append(...order.map((place) => cells[place + 1]));
      table.tBodies[0].append(...order.map((place) => rows[place]));
      for (const one of toolbar.children) one.setAttribute("aria-pressed", String(one === button));
    });
    toolbar.append(button);
  }
  table.parentElement.before(toolbar);
}
