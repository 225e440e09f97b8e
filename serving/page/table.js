/** The table of a batch: filter by decision, search, sort by score, fifty rows per page. */
import { h, icon } from "./dom.js";
import { count, percent, plural } from "./format.js";
import { chip, track } from "./scale.js";
import { decisionsOf, isBinary, kindOf, plainName } from "./task.js";

const PAGE_ROWS = 50;
const TEXT_SHOWN = 400;
const COMPARERS = {
  row: (a, b) => a.number - b.number,
  score: (a, b) => (a.first?.score ?? -1) - (b.first?.score ?? -1),
};

/** Rows that pass the filter and the search, in order. */
export function select(rows, { filter, query, sort, descending }) {
  const needle = query.trim().toLowerCase();
  const kept = rows.filter(
    (row) =>
      (filter === "all" || groupOf(row) === filter || (filter === "disagree" && disagrees(row))) &&
      (!needle || row.text.toLowerCase().includes(needle)),
  );
  kept.sort((a, b) => COMPARERS[sort](a, b) * (descending ? -1 : 1) || a.number - b.number);
  return kept;
}

export const groupOf = (row) => row.first?.decision ?? (row.error ? "failed" : "waiting");

/** Whether the variants differ in their decisions about a row. */
export const disagrees = (row) =>
  Boolean(row.answer) && new Set(Object.values(row.answer).map(({ decision }) => decision)).size > 1;

function tally(rows) {
  const counts = new Map();
  for (const row of rows) counts.set(groupOf(row), (counts.get(groupOf(row)) ?? 0) + 1);
  return counts;
}

export class ResultTable {
  /**
   * @param {HTMLElement} place
   * @param {{models: object[], onOpen: (row: object) => void, onShow: (shown: object[]) => void}} options
   */
  constructor(place, { models, onOpen, onShow }) {
    this.models = models;
    this.onOpen = onOpen;
    this.onShow = onShow;
    this.rows = [];
    this.view = { filter: "all", query: "", sort: "row", descending: false, page: 0 };
    this.filters = h("div", { class: "filters" });
    this.table = h("div", { class: "table-place" });
    this.pager = h("div", { class: "pager" });
    const search = h("input", {
      type: "search",
      id: "many-search",
      placeholder: "Search the texts",
      autocomplete: "off",
      onInput: (event) => this.change({ query: event.target.value }),
    });
    place.replaceChildren(
      h(
        "div",
        { class: "table-tools" },
        this.filters,
        h("p", { class: "search" }, h("label", { class: "unseen", for: "many-search" }, "Search the texts"), search),
      ),
      this.table,
      this.pager,
    );
  }

  /** Rows with `number`, `text`, and `answer` or `error`. */
  update(rows) {
    this.rows = rows;
    this.draw();
  }

  change(view) {
    this.view = { ...this.view, page: 0, ...view };
    this.draw();
  }

  draw() {
    const shown = select(this.rows, this.view);
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_ROWS));
    this.view.page = Math.min(this.view.page, pages - 1);
    const focused = document.activeElement?.dataset?.keep;
    this.drawFilters();
    this.drawTable(shown.slice(this.view.page * PAGE_ROWS, (this.view.page + 1) * PAGE_ROWS));
    this.drawPager(shown.length, pages);
    if (focused) document.querySelector(`[data-keep="${CSS.escape(focused)}"]`)?.focus();
    this.onShow(shown);
  }

  drawFilters() {
    const counts = tally(this.rows);
    const groups = decisionsOf(this.models[0]).map((name) => [name, plainName(name, this.models[0]), counts.get(name) ?? 0]);
    const apart = this.models.length > 1 ? this.rows.filter(disagrees).length : 0;
    if (this.models.length > 1) groups.push(["disagree", "Variants differ", apart]);
    for (const [name, title] of [
      ["failed", "Failed"],
      ["waiting", "Waiting"],
    ])
      if (counts.get(name)) groups.push([name, title, counts.get(name)]);
    if (!["all", ...groups.map(([name]) => name)].includes(this.view.filter)) this.view.filter = "all";
    this.filters.replaceChildren(
      h(
        "fieldset",
        { class: "segments" },
        h("legend", { class: "unseen" }, "Show"),
        [["all", "All", this.rows.length], ...groups].map((group) => this.segment(...group)),
      ),
    );
  }

  segment(name, title, number) {
    const input = h("input", {
      type: "radio",
      name: "many-filter",
      value: name,
      checked: this.view.filter === name,
      "data-keep": `filter-${name}`,
      onChange: () => this.change({ filter: name }),
    });
    return h(
      "label",
      { class: "segment" },
      input,
      h("span", {}, title, " ", h("span", { class: "number" }, count(number))),
    );
  }

  sortable(key, title) {
    const active = this.view.sort === key;
    const arrow = active ? (this.view.descending ? "↓" : "↑") : "↕";
    const flip = () => this.change({ sort: key, descending: active ? !this.view.descending : key === "score" });
    return h(
      "th",
      {
        scope: "col",
        class: `col-${key}`,
        "aria-sort": active ? (this.view.descending ? "descending" : "ascending") : "none",
      },
      h(
        "button",
        { type: "button", class: "sort", "data-keep": `sort-${key}`, onClick: flip },
        title,
        h("span", { "aria-hidden": "true" }, arrow),
      ),
    );
  }

  drawTable(rows) {
    const decisions =
      this.models.length > 1
        ? this.models.map(({ variant }) => h("th", { scope: "col" }, variant))
        : h("th", { scope: "col" }, "Decision");
    const head = h(
      "tr",
      {},
      this.sortable("row", "Row"),
      h("th", { scope: "col" }, "Text"),
      decisions,
      this.sortable("score", "Score"),
      h("th", { scope: "col" }, h("span", { class: "unseen" }, "Details")),
    );
    this.table.replaceChildren(
      h(
        "table",
        { class: "results" },
        h("caption", { class: "unseen" }, "Texts with their decisions"),
        h("thead", {}, head),
        h(
          "tbody",
          {},
          rows.map((row) => this.row(row)),
        ),
      ),
    );
    if (!rows.length) this.table.append(h("p", { class: "quiet nothing" }, "No text matches."));
  }

  decisionCells(row) {
    if (row.error)
      return h(
        "td",
        { class: "col-decision", colspan: this.models.length },
        h("span", { class: "chip is-failed" }, icon("failed"), "Failed"),
        h("span", { class: "quiet why" }, row.error),
      );
    if (!row.answer) return h("td", { class: "col-decision quiet", colspan: this.models.length }, "waiting");
    return this.models.map((model) =>
      h("td", { class: "col-decision" }, chip(row.answer[model.variant].decision, model)),
    );
  }

  scoreCell(row) {
    const [model] = this.models;
    if (!row.first) return h("td", { class: "col-score" }, "");
    const bar = isBinary(model) ? track(row.first.score, model, kindOf(row.first.decision, model)) : null;
    return h("td", { class: "col-score" }, bar, h("span", { class: "number" }, percent(row.first.score)));
  }

  row(row) {
    const long = row.text.length > TEXT_SHOWN;
    return h(
      "tr",
      {},
      h("td", { class: "col-row number" }, count(row.number)),
      h("td", { class: "col-text", dir: "auto" }, long ? `${row.text.slice(0, TEXT_SHOWN)}…` : row.text),
      this.decisionCells(row),
      this.scoreCell(row),
      h(
        "td",
        { class: "col-open" },
        h(
          "button",
          {
            type: "button",
            class: "icon-button",
            "aria-label": `Details of row ${row.number}`,
            title: "Details",
            onClick: () => this.onOpen(row),
          },
          icon("open"),
        ),
      ),
    );
  }

  drawPager(number, pages) {
    const { page } = this.view;
    const step = (title, to, keep) =>
      h(
        "button",
        {
          type: "button",
          class: "plain",
          "data-keep": keep,
          disabled: to < 0 || to >= pages,
          onClick: () => this.change({ page: to }),
        },
        title,
      );
    const first = number ? page * PAGE_ROWS + 1 : 0;
    const range = `${count(first)} to ${count(Math.min(number, (page + 1) * PAGE_ROWS))} of ${plural(number, "text")}`;
    this.pager.replaceChildren(
      h("p", { class: "quiet", role: "status" }, range),
      pages > 1
        ? h("div", { class: "actions" }, step("Previous", page - 1, "page-back"), step("Next", page + 1, "page-on"))
        : "",
    );
  }
}
