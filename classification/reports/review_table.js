"use strict";
// The review page: answers as a table, out of the page and back into it.

const COLUMNS = ["File", "RelativePath", "mislabeled", "correct_class"];

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

function placed(image) {
  const parts = image.split("/");
  return [parts.pop(), parts.join("\\")];
}

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
