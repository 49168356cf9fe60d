"use strict";
// Sorts a table with the class "sortable" by the column whose heading is clicked. A cell's
// data-value is compared as a number; where there is none, its text is compared as text.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, headings, column));
  });
}

function sort(table, headings, column) {
  const before = headings[column].getAttribute("aria-sort");
  const sign = before === "ascending" ? -1 : 1;
  for (const heading of headings) heading.removeAttribute("aria-sort");
  headings[column].setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((one, other) => sign * compare(one.cells[column], other.cells[column]));
  body.append(...rows);
}

function compare(one, other) {
  const numbers = [one, other].map((cell) => parseFloat(cell.dataset.value));
  if (numbers.some(Number.isNaN)) {
    if (!numbers.every(Number.isNaN)) return Number.isNaN(numbers[0]) ? 1 : -1;
    return one.textContent.trim().localeCompare(other.textContent.trim());
  }
  return numbers[0] - numbers[1];
}
