"use strict";
// The review page: which subjects are shown.

const STATES = { open: "no answer", given: "any answer", right: "right", wrong: "wrong", unsure: "unsure" };
const FILTERS = ["label", "predicted", "dataset", "split"];

let shown = []; // places of the subjects that pass the filters

function passes(place) {
  const subject = data.subjects[place];
  const state = byId("filter-state").value;
  const verdict = answers[place]?.verdict ?? "open";
  return (
    FILTERS.every((key) => !byId(`filter-${key}`).value || byId(`filter-${key}`).value === `=${subject[key]}`) &&
    (!state || state === verdict || (state === "given" && verdict !== "open")) &&
    textOf(place).includes(byId("filter-text").value.toLowerCase())
  );
}

function textOf(place) {
  const { image, label, predicted } = data.subjects[place];
  return [image, label, predicted, answers[place]?.correct ?? ""].join("\n").toLowerCase();
}

function fillFilters() {
  for (const key of FILTERS) {
    const count = new Map();
    for (const subject of data.subjects) count.set(subject[key], (count.get(subject[key]) ?? 0) + 1);
    const names = [...count.keys()].sort((one, other) => one.localeCompare(other));
    fillSelect(key, names.map((name) => [`=${name}`, `${shortened(visible(name)) || "none"} (${count.get(name)})`]));
    byId(`filter-${key}`).parentElement.hidden = names.length < 2;
  }
  fillSelect("state", Object.entries(STATES));
}

function fillSelect(key, pairs) {
  byId(`filter-${key}`).append(new Option("all", ""), ...pairs.map(([value, text]) => new Option(text, value)));
}

function askForText() {
  byId("filters").open = true;
  byId("filter-text").focus();
}

function sift() {
  shown = imageNames.map((_, place) => place).filter(passes);
}

function refilter() {
  sift();
  if (!shown.includes(log.at) && shown.length) {
    log.at = shown.find((place) => place >= log.at) ?? shown[shown.length - 1];
  }
  settle(`${shown.length} shown.`);
}
