"use strict";
// Words and names for pages: what cannot be seen is spelled out, as render.py does.

function byId(id) {
  return document.getElementById(id);
}

function visible(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, spelled);
}

function spelled(character) {
  const code = character.codePointAt(0);
  const short = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
  if (short || code < 256) return short ?? `\\x${hex(code, 2)}`;
  return code < 65536 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

function hex(code, digits) {
  return code.toString(16).padStart(digits, "0");
}

function plain(text) {
  return text.replace(/[\p{Cc}\p{Z}]+/gu, " ").trim();
}

function shortened(text) {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function compare(one, other) {
  return one < other ? -1 : Number(one > other);
}

function paragraph(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}
