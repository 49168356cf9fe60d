"use strict";
// The review page: the answers, which the browser keeps.
//
// A subject is a label of an image; it is known by its place in data.subjects, which is
// that of its card in the list. An answer is {verdict, correct}: "right", "wrong" or
// "unsure", and the right class of what is wrong, or "". All that is kept is the log of
// changes; the first log.done of them hold, those after can be done again.

const data = JSON.parse(byId("review-data").textContent);
const imageNames = data.subjects.map((subject) => subject.image);
const KEY = `review-${data.digest}`;
const VERDICTS = ["right", "wrong", "unsure"];

let log = { changes: [], done: 0, at: 0 };
let answers = []; // by subject; what the log amounts to
let canKeep = true; // the browser keeps the log
let isExported = true; // the last answers are in a file

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
