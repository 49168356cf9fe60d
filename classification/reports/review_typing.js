"use strict";
// The review page: typing the right class, with completion from the known ones.

const OFFERED = 8; // classes offered at a time

let offered = []; // classes in the list of completions
let chosen = 0; // which of them Enter takes; -1 for none

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
