"use strict";
// The review page: takes a person's answers by key or button, and shows them. Answers,
// filters, typing and tables are in scripts of their own, which run before.

const cards = [...document.querySelectorAll("#cards > li")];
const NOTHING = "Nothing passes the filters.";
const AROUND = 8; // pictures of the strip on either side

let isGrid = false;

function answer(verdict, correct = "") {
  if (!shown.length) return;
  const place = log.at;
  const after = verdict && { verdict, correct };
  record([[place, answers[place], after]]);
  if (verdict) advance();
  settle(`${place + 1}: ${inWords(after)}`);
}

function takeSuggestion() {
  const { suggestion, predicted } = data.subjects[log.at];
  if (suggestion) answer("wrong", suggestion);
  else if (predicted) askForClass(`The dataset has no single class for “${visible(predicted)}”; type it.`);
  else askForClass("The classifier says nothing else; type what it is.");
}

function undo() {
  if (log.done === 0) return say("There is nothing to undo.");
  log.done -= 1;
  step("Undone", log.changes[log.done]);
}

function redo() {
  if (log.done === log.changes.length) return say("There is nothing to do again.");
  log.done += 1;
  step("Done again", log.changes[log.done - 1]);
}

function step(what, change) {
  replay();
  isExported = false;
  log.at = change[0][0];
  settle(change.length === 1 ? `${what}. ${log.at + 1}: ${inWords(answers[log.at])}` : `${what}: ${change.length} answers`);
}

function inWords(answer) {
  if (answer === null) return "no answer";
  return answer.correct ? `wrong, it is “${visible(answer.correct)}”` : answer.verdict;
}

function go(place) {
  if (place === undefined) return;
  log.at = place;
  settle("");
}

function move(by) {
  if (!shown.length) return;
  const here = shown.indexOf(log.at);
  const nearest = by > 0 ? shown.findIndex((place) => place > log.at) : shown.findLastIndex((place) => place < log.at);
  const target = here >= 0 ? here + by : nearest;
  go(shown[Math.min(Math.max(target, 0), shown.length - 1)]);
}

function advance() {
  const later = shown.filter((place) => place > log.at);
  log.at = nextOpen() ?? later[0] ?? log.at;
}

function nextOpen() {
  const later = shown.filter((place) => place > log.at);
  return [...later, ...shown].find((place) => answers[place] === null);
}

function goToOpen() {
  const next = nextOpen();
  if (next === undefined) say("All that are shown have an answer.");
  else go(next);
}

function rowLength() {
  const tops = shown.map((place) => cards[place].offsetTop);
  const count = tops.findIndex((top) => top !== tops[0]);
  return count < 0 ? tops.length : count;
}

function settle(message) {
  keep();
  sift();
  const held = ["cards", "strip"].find((id) => byId(id).contains(document.activeElement));
  draw();
  if (held) byId(held).querySelector(".current button").focus({ preventScroll: true });
  say(message);
  byId("said").textContent = `${message} ${shown.length ? describe(log.at) : NOTHING}`;
}

function describe(place) {
  const { label, predicted } = data.subjects[place];
  const other = predicted ? `, or ${visible(predicted)}` : "";
  return `${place + 1} of ${cards.length}: ${visible(label)}${other}; ${inWords(answers[place])}.`;
}

function say(message) {
  byId("message").textContent = message;
}

function warn(message) {
  byId("trouble").textContent = message;
  byId("trouble").hidden = false;
}

function draw() {
  const passing = new Set(shown);
  cards.forEach((card, place) => drawCard(card, place, passing.has(place)));
  drawTally();
  drawActions();
  byId("single").hidden = isGrid;
  byId("cards").hidden = !isGrid;
  byId("view-name").textContent = isGrid ? "One" : "Grid";
  if (isGrid) cards[log.at].scrollIntoView({ block: "nearest" });
  else drawSingle();
}

function drawCard(card, place, isShown) {
  const answer = answers[place];
  card.hidden = !isShown;
  card.dataset.verdict = answer?.verdict ?? "";
  card.classList.toggle("current", place === log.at);
  card.querySelector(".verdict").textContent = answer ? markOf(answer) : "";
  const button = card.querySelector("button");
  button.setAttribute("aria-label", describe(place));
  if (place === log.at) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function markOf({ verdict, correct }) {
  const sign = { right: "✓ right", wrong: "✗ wrong", unsure: "? unsure" }[verdict];
  return correct ? `✗ ${visible(correct)}` : sign;
}

function drawTally() {
  const count = (verdict) => answers.filter((answer) => answer?.verdict === verdict).length;
  const given = answers.filter((answer) => answer !== null).length;
  byId("progress").value = given;
  const parts = VERDICTS.map((verdict) => `${count(verdict)} ${verdict}`);
  const filtered = shown.length < cards.length ? `; ${shown.length} shown` : "";
  byId("tally").textContent = `${given} of ${cards.length} answered: ${parts.join(", ")}${filtered}`;
}

function drawActions() {
  const subject = data.subjects[log.at];
  const answer = answers[log.at];
  byId("suggestion").textContent = shortened(visible(subject.suggestion || subject.predicted)) || "…";
  for (const verdict of VERDICTS) {
    const isOn = answer?.verdict === verdict;
    for (const button of actions(verdict)) button.setAttribute("aria-pressed", String(isOn));
  }
  for (const button of actions("undo")) button.disabled = log.done === 0;
  for (const button of actions("redo")) button.disabled = log.done === log.changes.length;
}

function actions(name) {
  return document.querySelectorAll(`[data-action="${name}"]`);
}

function drawSingle() {
  const stage = byId("stage");
  const isEmpty = !shown.length;
  stage.dataset.verdict = isEmpty ? "" : cards[log.at].dataset.verdict;
  if (isEmpty) stage.replaceChildren(paragraph(NOTHING));
  else stage.replaceChildren(...stageOf(cards[log.at]));
  byId("strip").replaceChildren(...neighbours().map(stripItem));
}

function stageOf(card) {
  const pictures = card.querySelector(".pictures").cloneNode(true);
  pictures.replaceChildren(...pictures.querySelectorAll(".picture"));
  const facts = card.querySelector(".facts").cloneNode(true);
  const place = paragraph(`${log.at + 1} of ${cards.length}`);
  place.className = "quiet";
  facts.prepend(place);
  return [pictures, facts];
}

function neighbours() {
  const here = Math.max(shown.indexOf(log.at), 0);
  const first = Math.max(0, Math.min(here - AROUND, shown.length - 2 * AROUND - 1));
  return shown.slice(first, first + 2 * AROUND + 1);
}

function stripItem(place) {
  const item = document.createElement("li");
  item.dataset.verdict = answers[place]?.verdict ?? "";
  item.classList.toggle("current", place === log.at);
  item.append(pictureButton(place, () => go(place)));
  return item;
}

function pictureButton(place, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "open";
  button.setAttribute("aria-label", describe(place));
  button.append(cards[place].querySelector(".picture").cloneNode(true));
  button.addEventListener("click", act);
  return button;
}

function makeGrid() {
  cards.forEach((card, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    button.append(card.querySelector(".picture"));
    card.querySelector(".pictures").prepend(button);
    button.addEventListener("click", () => (isGrid && place === log.at ? toggleView() : go(place)));
  });
}

function toggleView() {
  isGrid = !isGrid;
  settle("");
  focusHere();
}

function focusHere() {
  const target = isGrid ? cards[log.at].querySelector("button") : byId("stage");
  target.focus({ preventScroll: !isGrid });
}

const ACTIONS = {
  right: () => answer("right"),
  wrong: () => answer("wrong"),
  unsure: () => answer("unsure"),
  clear: () => answers[log.at] && answer(null),
  suggestion: takeSuggestion,
  ask: () => askForClass(),
  previous: () => move(-1),
  next: () => move(1),
  up: () => move(isGrid ? -rowLength() : -1),
  down: () => move(isGrid ? rowLength() : 1),
  first: () => go(shown[0]),
  last: () => go(shown[shown.length - 1]),
  open: goToOpen,
  undo,
  redo,
  view: toggleView,
  search: askForText,
  export: exportCsv,
  import: () => byId("file").click(),
  help: () => byId("help").showModal(),
  close: () => byId("help").close(),
};
const LETTERS = {
  r: "right", w: "wrong", u: "unsure", p: "suggestion", c: "ask", n: "open", z: "undo",
  y: "redo", g: "view", "/": "search", "?": "help",
};
const OTHER_KEYS = {
  ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "up", ArrowDown: "down",
  Home: "first", End: "last", Delete: "clear", Backspace: "clear",
};

function actionOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.altKey) return undefined;
  if (event.ctrlKey || event.metaKey) return { z: event.shiftKey ? "redo" : "undo", y: "redo" }[key];
  if (key === "z" && event.shiftKey) return "redo";
  return OTHER_KEYS[key] ?? (byId("letters").checked ? LETTERS[key] : undefined);
}

function pressKey(event) {
  const isTyping = event.target.closest("input:not([type=checkbox]), select, dialog");
  if (event.key === "Escape" && isTyping && !byId("help").open) return focusHere();
  if (isTyping || !cards.length || event.defaultPrevented) return;
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  ACTIONS[action]();
}

function listen() {
  document.addEventListener("keydown", pressKey);
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => ACTIONS[button.dataset.action]());
  }
  for (const key of [...FILTERS, "state", "text"]) byId(`filter-${key}`).addEventListener("input", refilter);
  byId("correct").addEventListener("input", offer);
  byId("correct").addEventListener("keydown", typeKey);
  byId("correct").addEventListener("blur", () => (byId("classes").hidden = true));
  byId("correct").addEventListener("focus", offer);
  byId("file").addEventListener("change", takeFile);
  window.addEventListener("storage", takeOtherTab);
  window.addEventListener("beforeunload", holdBack);
}

function takeFile({ target }) {
  if (target.files.length) importCsv(target.files[0]);
  target.value = "";
}

// Another tab with the same page has changed the answers.
function takeOtherTab(event) {
  if (event.key !== KEY) return;
  recall();
  refilter();
}

function holdBack(event) {
  if (!canKeep && !isExported) event.preventDefault();
}

function begin() {
  byId("by-hand").hidden = true;
  byId("list-head").hidden = true;
  byId("filters").open = matchMedia("(min-width: 761px)").matches;
  byId("cards").classList.add("compact");
  if (!cards.length) return;
  for (const id of ["desk", "actions"]) byId(id).hidden = false;
  makeGrid();
  fillFilters();
  recall();
  listen();
  refilter();
  say("");
}

begin();
