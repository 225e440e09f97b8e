/** Reads and writes CSV (RFC 4180, as spreadsheets use it), and guesses which column holds the text. */

const DELIMITERS = [",", ";", "\t", "|"];
const TEXT_NAMES = [
  "text",
  "texts",
  "comment",
  "comment_text",
  "content",
  "message",
  "body",
  "post",
  "tweet",
  "sentence",
  "review",
  "test_case",
];
const SAMPLE_ROWS = 200;
// Spreadsheets skip invisible characters (white space, controls, joiners, soft hyphens, marks without a letter, fillers)
// before they look for the start of a formula. The same rule is in classifier/cells.py.
const FORMULA_START =
  /^[\p{C}\p{Z}\p{M}\u115f\u1160\u3164\uffa0\u2800]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/u;
const PLAIN_NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A file's text and its encoding: UTF-16 if it has the byte order mark, UTF-8 if it is valid, else Windows-1252. */
export function decode(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes[0] === 0xff && bytes[1] === 0xfe)
    return { text: new TextDecoder("utf-16le").decode(bytes), encoding: "UTF-16" };
  if (bytes[0] === 0xfe && bytes[1] === 0xff)
    return { text: new TextDecoder("utf-16be").decode(bytes), encoding: "UTF-16" };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), encoding: "UTF-8" };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), encoding: "Windows-1252" };
  }
}

/** The delimiter that occurs most often in the first line, outside quotes. */
export function guessDelimiter(text) {
  const counts = new Map(DELIMITERS.map((delimiter) => [delimiter, 0]));
  let quoted = false;
  for (const char of text.slice(0, 20000)) {
    if (char === '"') quoted = !quoted;
    else if (!quoted && (char === "\n" || char === "\r")) break;
    else if (!quoted && counts.has(char)) counts.set(char, counts.get(char) + 1);
  }
  const [best, number] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
  return number > 0 ? best : ",";
}

/** End of a quoted field that opens at `start`, and its value; an unclosed quote extends to the end of the file. */
function readQuoted(text, start) {
  let value = "";
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return { value: value + text.slice(from), end: text.length };
    value += text.slice(from, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    from = quote + 2;
  }
}

/**
 * Rows of a CSV. Quoted fields may hold delimiters, doubled quotes and line breaks; blank lines are dropped.
 * @param {string} text
 * @param {string} [delimiter] guessed if not given
 * @returns {string[][]}
 */
export function parse(text, delimiter = guessDelimiter(text)) {
  const breaks = new RegExp(`[${delimiter === "\t" ? "\\t" : `\\${delimiter}`}\\r\\n]`, "g");
  const rows = [];
  let row = [];
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (at < text.length) {
    let value = "";
    if (text[at] === '"') ({ value, end: at } = readQuoted(text, at));
    breaks.lastIndex = at;
    const stop = breaks.exec(text)?.index ?? text.length;
    row.push(value + text.slice(at, stop));
    const ended = stop >= text.length || text[stop] !== delimiter;
    at = stop + (text[stop] === "\r" && text[stop + 1] === "\n" ? 2 : 1);
    if (ended || (at >= text.length && row.push(""))) {
      if (row.length > 1 || row[0] !== "") rows.push(row);
      row = [];
    }
  }
  return rows;
}

const named = (cell) => TEXT_NAMES.indexOf(cell.trim().toLowerCase());

/** Whether the first row names the columns: a well-known name, or short distinct words above longer cells. */
export function guessHeader(rows) {
  if (rows.length < 2) return false;
  if (rows[0].some((cell) => named(cell) >= 0)) return true;
  const first = rows[0].map((cell) => cell.trim());
  const nameLike =
    first.every((cell) => /^[\p{L}_][\p{L}\p{N}_ .-]{0,30}$/u.test(cell)) && new Set(first).size === first.length;
  return nameLike && rows[0].length > 1 && !rows.slice(1, SAMPLE_ROWS).some((row) => row.join() === rows[0].join());
}

/** Column with the text: by its name, else the one with the longest cells. */
export function guessTextColumn(rows, header) {
  if (header) {
    const ranks = rows[0].map(named);
    const known = ranks.filter((rank) => rank >= 0);
    if (known.length) return ranks.indexOf(Math.min(...known));
  }
  const lengths = [];
  for (const row of rows.slice(header ? 1 : 0, SAMPLE_ROWS)) {
    row.forEach((cell, column) => {
      lengths[column] = (lengths[column] ?? 0) + cell.length;
    });
  }
  return Math.max(0, lengths.indexOf(Math.max(...lengths)));
}

/** A cell that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay numbers. */
export function disarm(value) {
  const text = String(value ?? "");
  return FORMULA_START.test(text) && !PLAIN_NUMBER.test(text) ? `'${text}` : text;
}

function cell(value) {
  const text = disarm(value);
  return /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** CSV of rows, with a byte order mark so that spreadsheets read it as UTF-8. */
export const write = (rows) => "\ufeff" + rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
