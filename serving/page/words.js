/** Words of a text, tinted by how much each one changes the score, and lists of the strongest. */
import { h } from "./dom.js";
import { signed } from "./format.js";

const FULL_TINT = 0.25;
const NEGLIGIBLE = 0.01;
const LISTED = 5;

/** Words with positions in UTF-16 units; the service counts code points, and a mismatch is resolved by searching. */
export function locate(text, words) {
  const points = Array.from(text);
  const starts = [0];
  for (const point of points) starts.push(starts[starts.length - 1] + point.length);
  let from = 0;
  const located = [];
  for (const { word, start, end, weight } of words) {
    let at = starts[start] ?? -1;
    let stop = starts[end] ?? -1;
    if (at < from || text.slice(at, stop) !== word) {
      at = text.indexOf(word, from);
      stop = at + word.length;
    }
    if (at < from || !word) continue;
    located.push({ word, at, stop, weight });
    from = stop;
  }
  return located;
}

function mark(piece, tint) {
  if (Math.abs(piece.weight) < NEGLIGIBLE) return piece.word;
  const side = piece.weight > 0 ? "toward" : "away";
  return h(
    "span",
    { class: `word is-${side}`, title: signed(piece.weight), vars: { "--tint": tint(piece.weight) } },
    piece.word,
  );
}

/** The text with every weighted word tinted and underlined. */
export function tinted(text, words) {
  const located = locate(text, words);
  const largest = located.reduce((most, { weight }) => Math.max(most, Math.abs(weight)), FULL_TINT);
  const tint = (weight) => Math.max(0.12, Math.abs(weight) / largest).toFixed(3);
  const parts = [];
  let from = 0;
  for (const piece of located) {
    parts.push(text.slice(from, piece.at), mark(piece, tint));
    from = piece.stop;
  }
  return h("p", { class: "words", dir: "auto" }, parts, text.slice(from));
}

/** The strongest words in one direction, strongest first. */
export function strongest(words, direction) {
  return words
    .filter(({ weight }) => weight * direction >= NEGLIGIBLE)
    .sort((a, b) => direction * (b.weight - a.weight))
    .slice(0, LISTED);
}

function list(title, words, side) {
  if (!words.length) return h("div", {}, h("h4", {}, title), h("p", { class: "quiet" }, "no word"));
  return h(
    "div",
    {},
    h("h4", {}, title),
    h(
      "ol",
      { class: "word-list" },
      words.map(({ word, weight }) =>
        h("li", {}, h("bdi", { class: `word is-${side}` }, word), h("span", { class: "number" }, signed(weight))),
      ),
    ),
  );
}

/** The two lists that show in words what the tint shows. */
export function wordLists(words, label) {
  return h(
    "div",
    { class: "word-lists" },
    list(`Toward ${label}`, strongest(words, 1), "toward"),
    list(`Away from ${label}`, strongest(words, -1), "away"),
  );
}
