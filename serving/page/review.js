/** The review queue: a person decides texts, most uncertain first, with one key each, and exports them as training rows. */
import { write } from "./csv.js";
import { announce, byId, h } from "./dom.js";
import { count, percent, plural } from "./format.js";
import { chip } from "./scale.js";
import { decisionsOf, isBinary, plainName, threshold } from "./task.js";

const PAGE = 10;

/** How certain the model is of an answer: the distance to the threshold, or the probability of the most likely label. */
export const certainty = (result, model) =>
  isBinary(model) ? Math.abs(result.score - (threshold(model) ?? 0.5)) : Math.max(...Object.values(result.probabilities));

/** Rows with an answer, most uncertain first. */
export const inDoubt = (rows, model) =>
  rows
    .filter((row) => row.first)
    .sort((a, b) => certainty(a.first, model) - certainty(b.first, model) || a.number - b.number);

/** Labels in the order of their keys, from 1. */
export const keysOf = (model) => decisionsOf(model).filter((name) => name !== "review");

/** Decided rows as a CSV that `data=FILE` reads. */
export const trainingRows = (rows) =>
  write([["text", "label"], ...rows.filter(({ decided }) => decided).map(({ text, decided }) => [text, decided])]);

export class ReviewQueue {
  /**
   * @param {HTMLElement} place
   * @param {{rows: object[], header: string[], column: number, model: object, name: string}} batch
   */
  constructor(place, batch) {
    Object.assign(this, batch, { place, at: 0, history: [] });
    this.queue = inDoubt(batch.rows, batch.model);
    this.labels = keysOf(batch.model);
    this.head = h("div", { class: "queue-head" });
    this.list = h("ol", { class: "queue", tabindex: 0, "aria-label": "Texts, most uncertain first" });
    place.replaceChildren(this.head, this.list);
    place.onkeydown = (event) => this.pressed(event);
    this.draw();
  }

  get current() {
    return this.queue[this.at];
  }

  get chosen() {
    const selected = this.queue.filter((row) => row.selected);
    return selected.length ? selected : [this.current].filter(Boolean);
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const label = this.labels[Number(event.key) - 1];
    const move = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (label !== undefined) this.decide(label);
    else if (move) this.go(this.at + move);
    else if (event.key === "x") this.select(this.current);
    else if (event.key === "u") this.undo();
    else return;
    event.preventDefault();
  }

  go(at) {
    this.at = Math.max(0, Math.min(this.queue.length - 1, at));
    this.draw();
  }

  select(row) {
    if (!row) return;
    row.selected = !row.selected;
    this.draw();
  }

  decide(label) {
    const rows = this.chosen;
    if (!rows.length) return;
    this.history.push(rows.map((row) => [row, row.decided]));
    for (const row of rows) Object.assign(row, { decided: label, selected: false });
    if (rows.length === 1 && rows[0] === this.current) this.at = this.next();
    announce(`${plural(rows.length, "text")}: ${plainName(label, this.model)}.`);
    this.draw();
  }

  /** The next undecided place; the next place if there is none. */
  next() {
    const open = this.queue.findIndex((row, place) => place > this.at && !row.decided);
    return open < 0 ? Math.min(this.at + 1, this.queue.length - 1) : open;
  }

  undo() {
    const last = this.history.pop();
    if (!last) return;
    for (const [row, before] of last) row.decided = before;
    this.at = this.queue.indexOf(last[0][0]);
    this.draw();
  }

  draw() {
    const inside = this.place.contains(document.activeElement);
    const keep = document.activeElement?.dataset?.keep;
    this.drawHead();
    const from = Math.floor(this.at / PAGE) * PAGE;
    this.list.replaceChildren(...this.queue.slice(from, from + PAGE).map((row, place) => this.item(row, from + place)));
    this.list.start = from + 1;
    if (!inside) return;
    (this.place.querySelector(keep ? `[data-keep="${CSS.escape(keep)}"]` : null) ?? this.list).focus({ preventScroll: true });
    this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  drawHead() {
    const decided = this.queue.filter((row) => row.decided).length;
    const selected = this.queue.filter((row) => row.selected).length;
    const button = (title, keep, onClick, more = {}) =>
      h("button", { type: "button", class: "plain", "data-keep": keep, onClick, ...more }, title);
    this.head.replaceChildren(
      h("h2", { id: "many-review-title" }, "Review queue"),
      h(
        "p",
        { class: "quiet", role: "status" },
        `${count(decided)} of ${plural(this.queue.length, "text")} decided, most uncertain first. `,
        h("span", { class: "keys" }, h("kbd", {}, "1"), "–", h("kbd", {}, String(this.labels.length)), " decide, ", h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " move, ", h("kbd", {}, "x"), " select, ", h("kbd", {}, "u"), " undo"),
      ),
      h(
        "div",
        { class: "actions queue-actions" },
        this.labels.map((label, place) =>
          button(
            [h("kbd", {}, String(place + 1)), " ", plainName(label, this.model), selected ? ` (${count(selected)})` : ""],
            `decide-${label}`,
            () => this.decide(label),
            { "data-label": label },
          ),
        ),
        button("Undo", "undo", () => this.undo(), { disabled: !this.history.length }),
        button(`Download ${plural(decided, "decision")} as training rows`, "export", () => this.export(), { id: "review-export", disabled: !decided }),
      ),
    );
  }

  item(row, place) {
    const current = place === this.at;
    return h(
      "li",
      { class: "queue-item", "aria-current": current ? "true" : null, onClick: () => place !== this.at && this.go(place) },
      h("input", {
        type: "checkbox",
        class: "queue-check",
        checked: Boolean(row.selected),
        "data-keep": `select-${row.number}`,
        "aria-label": `Select row ${row.number}`,
        onClick: (event) => event.stopPropagation(),
        onChange: () => this.select(row),
      }),
      h(
        "div",
        { class: "queue-text" },
        h("p", { dir: "auto" }, current ? row.text : row.text.slice(0, 160) + (row.text.length > 160 ? "…" : "")),
        current ? this.others(row) : "",
      ),
      h(
        "div",
        { class: "queue-said" },
        chip(row.first.decision, this.model),
        h("span", { class: "number quiet" }, percent(row.first.score)),
        row.decided ? h("span", { class: "decided" }, "You: ", h("strong", {}, plainName(row.decided, this.model))) : "",
      ),
    );
  }

  /** The row's other columns. */
  others(row) {
    const cells = (row.cells ?? []).map((cell, place) => [this.header[place] || `column ${place + 1}`, cell]);
    const beside = cells.filter(([, cell], place) => place !== this.column && cell);
    if (!beside.length) return "";
    return h("dl", { class: "facts" }, beside.map(([name, cell]) => h("div", {}, h("dt", {}, name), h("dd", { dir: "auto" }, cell))));
  }

  export() {
    const url = URL.createObjectURL(new Blob([trainingRows(this.queue)], { type: "text/csv;charset=utf-8" }));
    h("a", { href: url, download: `${this.name}-rows.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    announce("Downloading the decisions.");
  }
}

/** Shows the queue of a batch, and handles its keys. */
export function openReview(batch) {
  const place = byId("many-review");
  place.hidden = false;
  new ReviewQueue(place, batch);
  place.querySelector(".queue").focus({ preventScroll: true });
  place.scrollIntoView({ block: "start" });
}
