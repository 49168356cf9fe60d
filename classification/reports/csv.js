"use strict";
// CSV as RFC 4180 has it.

function toCsv(rows) {
  return rows.map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

function quoted(cell) {
  return /[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

function parseCsv(text) {
  const rows = [[]];
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;
  const body = text.replace(/^\ufeff/, "");
  while (cell.lastIndex < body.length) {
    const match = cell.exec(body);
    if (!match) throw new Error(`row ${rows.length}: not CSV`);
    rows[rows.length - 1].push(match[1]?.replaceAll('""', '"') ?? match[2]);
    if (match[3] === ",") {
      if (cell.lastIndex === body.length) rows[rows.length - 1].push("");
    } else rows.push([]);
  }
  return rows;
}
