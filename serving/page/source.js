/** Where the texts of a batch come from: pasted lines or a file, and which column of it. */
import { decode, guessHeader, guessTextColumn, parse } from "./csv.js";
import { byId, h, setFault } from "./dom.js";
import { count, plural } from "./format.js";

const LARGEST_FILE = 100 * 1024 * 1024;
const PREVIEW_ROWS = 3;
const DELIMITED = /\.(csv|tsv)$/i;

let file = null;
let frame = 0;
let listener = () => {};

/** Pasted lines as a table of one column without a header. */
const lineTable = (text) =>
  text
    .split(/\r\n|\r|\n/)
    .filter((line) => line.trim())
    .map((line) => [line]);

/**
 * The chosen texts, with the other cells of their rows.
 * @returns {{header: string[], rows: {cells: string[], text: string}[], column: number, name: string} | null}
 */
export function current() {
  if (!file) {
    const rows = lineTable(byId("many-text").value);
    return rows.length
      ? { header: ["text"], rows: rows.map((cells) => ({ cells, text: cells[0] })), column: 0, name: "texts" }
      : null;
  }
  const { table, header, column } = file;
  const width = table.reduce((most, row) => Math.max(most, row.length), 0);
  const names = Array.from(
    { length: width },
    (_, index) => (header && table[0][index]?.trim()) || `column ${index + 1}`,
  );
  const rows = (header ? table.slice(1) : table).map((cells) => ({
    cells: [...cells, ...Array(width - cells.length).fill("")],
    text: cells[column] ?? "",
  }));
  return rows.length ? { header: names, rows, column, name: file.name.replace(/\.[^.]*$/, "") } : null;
}

function columnField(names) {
  const options = names.map((name, index) => h("option", { value: index, selected: index === file.column }, name));
  const change = (event) => {
    file.column = Number(event.target.value);
    changed();
  };
  return h(
    "p",
    { class: "pair" },
    h("label", { class: "field", for: "many-column" }, "Column with the text"),
    h("select", { id: "many-column", onChange: change }, options),
  );
}

function headerField() {
  const change = (event) => {
    file.header = event.target.checked;
    changed();
  };
  return h(
    "label",
    { class: "choice" },
    h("input", { type: "checkbox", id: "many-header", checked: file.header, onChange: change }),
    "The first row holds the column names",
  );
}

function preview(source) {
  const lines = source.rows
    .slice(0, PREVIEW_ROWS)
    .map(({ text }) => h("li", { dir: "auto" }, text.slice(0, 200) || "(empty)"));
  return h("div", { class: "preview" }, h("p", { class: "quiet" }, "First texts with these settings"), h("ol", {}, lines));
}

function showChoices(source) {
  const box = byId("many-choices");
  box.hidden = !file;
  if (!file) return;
  const active = document.activeElement?.id;
  const facts = `${file.name}: ${plural(source?.rows.length ?? 0, "row")}${file.encoding === "UTF-8" ? "" : `, read as ${file.encoding}`}`;
  box.replaceChildren(
    h("p", { class: "file-name" }, facts),
    h(
      "div",
      { class: "choice-row" },
      source?.header.length > 1 && columnField(source.header),
      file.delimited && headerField(),
    ),
    source ? preview(source) : "",
  );
  if (active?.startsWith("many-")) byId(active)?.focus();
}

function changed() {
  const source = current();
  showChoices(source);
  const button = byId("many-submit");
  button.disabled = !source;
  button.textContent = source ? `Classify ${plural(source.rows.length, "text")}` : "Classify";
  byId("many-clear").hidden = !source;
  listener(source);
}

/** Reads all lines again, at most once per frame: dictation and scripted input send one event per line. */
function changedSoon() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(changed);
}

async function take(chosen) {
  const fault = (message) => setFault(byId("many-file"), byId("many-error"), message);
  fault("");
  if (chosen.size > LARGEST_FILE)
    return fault(`${chosen.name} is larger than ${count(LARGEST_FILE / 1024 / 1024)} MB. Split it, or use the API.`);
  const { text, encoding } = decode(await chosen.arrayBuffer());
  if (text.includes("\u0000")) return fault(`${chosen.name} is not a text file. Save it as CSV first.`);
  const delimited = DELIMITED.test(chosen.name) || chosen.type === "text/csv";
  const table = delimited ? parse(text) : lineTable(text);
  if (!table.length) return fault(`${chosen.name} contains no text.`);
  const header = delimited && guessHeader(table);
  file = { name: chosen.name, encoding, delimited, table, header, column: guessTextColumn(table, header) };
  byId("many-text").value = "";
  return changed();
}

/** Removes everything that was pasted or chosen. */
export function clear() {
  file = null;
  byId("many-text").value = "";
  byId("many-file").value = "";
  setFault(byId("many-file"), byId("many-error"), "");
  changed();
}

function wireDrop(drop) {
  const over = (is) => (event) => {
    event.preventDefault();
    drop.classList.toggle("is-over", is);
  };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    const [dropped] = event.dataTransfer.files;
    if (dropped) take(dropped);
  });
}

/** Wires text area, file field and drop area; `onChange` is called for every new source. */
export function wireSource(onChange) {
  listener = onChange;
  byId("many-text").addEventListener("input", () => {
    file = null;
    byId("many-file").value = "";
    changedSoon();
  });
  byId("many-file").addEventListener("change", (event) => {
    if (event.target.files[0]) take(event.target.files[0]);
  });
  wireDrop(byId("many-drop"));
}
