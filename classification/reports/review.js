"use strict";
// The review page: takes a person's answers by key or button, keeps them in the browser,
// and writes them as the CSV that save_mislabeled takes.
//
// A subject is a label of an image; it is known by its place in data.subjects, which is
// that of its card in the list. An answer is {verdict, correct}: "right", "wrong" or
// "unsure", and the right class of what is wrong, or "". All that is kept is the log of
// changes; the first log.done of them hold, those after can be done again.

const data = JSON.parse(byId("review-data").textContent);
const cards = [...document.querySelectorAll("#cards > li")];
const imageNames = data.subjects.map((subject) => subject.image);
const KEY = `review-${data.digest}`;
const VERDICTS = ["right", "wrong", "unsure"];
const STATES = { open: "no answer", given: "any answer", right: "right", wrong: "wrong", unsure: "unsure" };
const FILTERS = ["label", "predicted", "dataset", "split"];
const NOTHING = "Nothing passes the filters.";
const AROUND = 8; // pictures of the strip on either side
const OFFERED = 8; // classes offered at a time

let log = { changes: [], done: 0, at: 0 };
let answers = []; // by subject; what the log amounts to
let shown = []; // places of the subjects that pass the filters
let isGrid = false;
let canKeep = true; // the browser keeps the log
let isExported = true; // the last answers are in a file
let offered = []; // classes in the list of completions
let chosen = 0; // which of them Enter takes

// ---- names

function byId(id) {
  return document.getElementById(id);
}

function visible(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (character) => {
    const code = character.codePointAt(0);
    return code < 256 ? `\\x${hex(code, 2)}` : code < 65536 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  });
}

function hex(code, digits) {
  return code.toString(16).padStart(digits, "0");
}

function plain(text) {
  return text.replace(/[\p{Cc}\p{Z}]+/gu, " ").trim();
}

// ---- the log of answers

function replay() {
  answers = new Array(data.subjects.length).fill(null);
  for (const change of log.changes.slice(0, log.done)) {
    for (const [place, , after] of change) answers[place] = after;
  }
}

function record(change) {
  log.changes.length = log.done;
  log.changes.push(change);
  log.done += 1;
  isExported = false;
  for (const [place, , after] of change) answers[place] = after;
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(log));
  } catch {
    if (canKeep) warn("This browser keeps nothing for this page: the answers are lost when it is closed. Export them before.");
    canKeep = false;
  }
}

function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    if (isLog(kept)) log = kept;
  } catch {
    // What cannot be read is not there; keep() says whether anything can be kept.
  }
  replay();
}

function isLog(kept) {
  return (
    kept !== null && Array.isArray(kept.changes) && kept.changes.every(isChange) &&
    Number.isInteger(kept.done) && kept.done >= 0 && kept.done <= kept.changes.length && isPlace(kept.at)
  );
}

function isChange(change) {
  return Array.isArray(change) && change.length > 0 && change.every(
    (step) => Array.isArray(step) && isPlace(step[0]) && isAnswer(step[1]) && isAnswer(step[2]),
  );
}

function isPlace(place) {
  return Number.isInteger(place) && place >= 0 && place < data.subjects.length;
}

function isAnswer(answer) {
  return answer === null || (VERDICTS.includes(answer?.verdict) && typeof answer.correct === "string");
}

// ---- answering

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

// ---- moving

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

// ---- filters

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

function shortened(text) {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
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

// ---- drawing

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

function paragraph(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
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

// ---- grid

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

// ---- typing a class

function classesOf(place) {
  const { dataset } = data.subjects[place];
  return data.classes[dataset] ?? data.classes[""] ?? [];
}

function completions(typed, classes) {
  const wanted = typed.toLowerCase();
  const rank = (name) => {
    const at = name.toLowerCase().indexOf(wanted);
    return at < 0 ? 3 : at === 0 ? 0 : name[at - 1] === " " ? 1 : 2;
  };
  const ranked = classes.map((name) => [rank(name), name]).filter(([one]) => one < 3);
  const exact = (name) => Number(name.toLowerCase() !== wanted);
  ranked.sort(([one, name], [other, second]) => exact(name) - exact(second) || one - other);
  return ranked.map(([, name]) => name);
}

function offer() {
  const typed = plain(byId("correct").value);
  const found = completions(typed, classesOf(log.at));
  const isKnown = found.some((name) => name.toLowerCase() === typed.toLowerCase());
  offered = found.slice(0, OFFERED);
  if (typed && !isKnown) offered.push(typed);
  // What is typed in the middle of a class's name may well be a class of its own.
  const isBegun = found.length > 0 && found[0].toLowerCase().startsWith(typed.toLowerCase());
  chosen = !typed ? -1 : isBegun ? 0 : offered.length - 1;
  drawOffered(isKnown ? "" : typed);
}

function drawOffered(fresh) {
  const input = byId("correct");
  const items = offered.map((name, index) => classItem(name, index, name === fresh));
  byId("classes").replaceChildren(...items);
  byId("classes").hidden = !items.length;
  input.setAttribute("aria-expanded", String(items.length > 0));
  choose(0);
}

function classItem(name, index, isFresh) {
  const item = document.createElement("li");
  item.id = `class-${index}`;
  item.setAttribute("role", "option");
  const shownName = document.createElement("bdi");
  shownName.textContent = visible(name);
  item.append(shownName, isFresh ? " (a new class)" : "");
  item.addEventListener("mousedown", (event) => {
    event.preventDefault();
    takeClass(index);
  });
  return item;
}

function choose(by) {
  const input = byId("correct");
  if (by && offered.length) chosen = (Math.max(chosen + by, -1) + offered.length) % offered.length;
  [...byId("classes").children].forEach((item, index) => item.setAttribute("aria-selected", String(index === chosen)));
  if (offered[chosen] === undefined) input.removeAttribute("aria-activedescendant");
  else input.setAttribute("aria-activedescendant", `class-${chosen}`);
}

function takeClass(index) {
  const name = offered[index];
  if (name === undefined) return say("Type a class first, or press W for a wrong label that nobody knows.");
  leaveClass();
  answer("wrong", name);
}

function askForClass(message = "") {
  byId("correct").focus();
  byId("correct").select();
  say(message);
}

function leaveClass() {
  byId("correct").value = "";
  offered = [];
  drawOffered("");
  focusHere();
}

function typeKey(event) {
  const act = {
    Enter: () => takeClass(chosen),
    Escape: leaveClass,
    ArrowDown: () => choose(1),
    ArrowUp: () => choose(-1),
  }[event.key];
  if (!act || event.isComposing) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

// ---- CSV

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

// An image of several labels has one row. It is wrong if any of them is, and has a class
// if one class alone was said; it is right once all of them are.
function combined(places) {
  const given = places.map((place) => answers[place]);
  const wrong = given.filter((answer) => answer?.verdict === "wrong");
  if (!wrong.length) return given.every((answer) => answer?.verdict === "right") ? ["false", ""] : null;
  const classes = new Set(wrong.map((answer) => answer.correct).filter(Boolean));
  return ["true", classes.size === 1 ? [...classes][0] : ""];
}

function placesByImage() {
  const places = new Map();
  imageNames.forEach((image, place) => places.set(image, [...(places.get(image) ?? []), place]));
  return places;
}

function exportedRows() {
  const rows = [];
  for (const [image, places] of placesByImage()) {
    const said = combined(places);
    if (said) rows.push([...placed(image), ...said]);
  }
  return rows.sort((one, other) => compare(one[1], other[1]) || compare(one[0], other[0]));
}

function compare(one, other) {
  return one < other ? -1 : Number(one > other);
}

function placed(image) {
  const parts = image.split("/");
  return [parts.pop(), parts.join("\\")];
}

const COLUMNS = ["File", "RelativePath", "mislabeled", "correct_class"];

function exportCsv() {
  const rows = exportedRows();
  if (!rows.length) return say("There is no answer to export yet; unsure is none.");
  download("mislabeled_images.csv", toCsv([COLUMNS, ...rows]));
  isExported = true;
  const unsure = answers.filter((answer) => answer?.verdict === "unsure").length;
  say(`${counted(rows.length, "image")} exported${unsure ? `; ${unsure} unsure left out` : ""}.`);
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  // A browser may begin to read it a moment later.
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function importCsv(file) {
  try {
    const { change, unknown } = changeOf(parseCsv(await file.text()));
    if (change.length) record(change);
    const rest = unknown ? `; ${counted(unknown, "row")} of images that are not on this page` : "";
    settle(`${counted(change.length, "answer")} changed by ${visible(file.name)}${rest}.`);
  } catch (error) {
    say(`${visible(file.name)}: ${error.message}; nothing was taken from it.`);
  }
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function changeOf([header = [], ...rows]) {
  const columns = COLUMNS.map((name) => header.indexOf(name));
  const missing = COLUMNS.find((_, index) => columns[index] < 0);
  if (missing) throw new Error(`row 1: the column ${missing} is missing`);
  const places = placesByImage();
  const wanted = new Map();
  let unknown = 0;
  rows.forEach((row, index) => {
    if (row.every((cell) => cell === "")) return;
    const said = rowSays(columns.map((column) => row[column] ?? ""), index + 2);
    if (said === null) return;
    const [image, after] = said;
    if (!places.has(image)) unknown += 1;
    for (const place of places.get(image) ?? []) wanted.set(place, after);
  });
  const change = [...wanted].filter(([place, after]) => !isSame(answers[place], after));
  return { change: change.map(([place, after]) => [place, answers[place], after]), unknown };
}

// A row says nothing where mislabeled is empty, as in Timelapse before anyone looked.
function rowSays([file, folder, mislabeled, correct], number) {
  if (!mislabeled.trim() && !correct.trim()) return null;
  const image = `${folder.replaceAll("\\", "/")}/${file}`;
  const word = mislabeled.trim().toLowerCase();
  if (!["true", "false"].includes(word)) throw new Error(`row ${number}: mislabeled is neither true nor false`);
  if (word === "false" && correct.trim()) throw new Error(`row ${number}: a right label with a correct_class`);
  return [image, { verdict: word === "true" ? "wrong" : "right", correct: plain(correct) }];
}

function isSame(one, other) {
  return one?.verdict === other?.verdict && one?.correct === other?.correct;
}

// ---- keys and buttons

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
