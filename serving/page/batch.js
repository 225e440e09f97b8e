/** Many texts: classifies them with progress, summarises the results, and offers them as CSV. */
import { ApiError, classify } from "./api.js";
import { runBatch, unreadable } from "./batch-run.js";
import { write } from "./csv.js";
import { announce, byId, h } from "./dom.js";
import { count, duration, plural } from "./format.js";
import { variantField } from "./info.js";
import { openReview } from "./review.js";
import { clear, current, wireSource } from "./source.js";
import { ResultTable, groupOf } from "./table.js";
import { decisionsOf, isBinary, kindOf, modelName, plainName, reviewBand, threshold } from "./task.js";

const REDRAW_MS = 400;
const BINS = 25;
const ALL = "";

let service = null;
let batch = null;
let openText = () => {};

const asked = () => {
  const chosen = byId("many-variant")?.value;
  return chosen ? service.models.filter(({ variant }) => variant === chosen) : service.models;
};

/** Classifies a chunk with each chosen variant: for each text, an object of results by variant. */
async function ask(texts, signal, onWait) {
  const { models } = batch;
  const answers = await Promise.all(
    models.map((model) => classify(texts, variantField(service, model), { signal, onWait })),
  );
  return texts.map((_, index) =>
    Object.fromEntries(models.map((model, place) => [model.variant, answers[place].results[index]])),
  );
}

const settled = () => batch.rows.filter((row) => row.answer || row.error).length;

function drawProgress(note = "") {
  const done = settled();
  const total = batch.rows.length;
  byId("many-bar").max = total;
  byId("many-bar").value = done;
  byId("many-count").textContent = `${count(done)} of ${plural(total, "text")}`;
  const rate = (done - batch.doneBefore) / ((performance.now() - batch.began) / 1000);
  const left =
    batch.running && rate > 0 && done < total
      ? `${duration((total - done) / rate)} left, ${count(Math.round(rate))} per second`
      : "";
  byId("many-eta").textContent = note || left;
}

function drawResults() {
  for (const row of batch.rows) row.first ??= row.answer?.[batch.models[0].variant] ?? null;
  byId("many-result").hidden = false;
  drawSummary();
  batch.table.update(batch.rows);
  batch.drawn = performance.now();
}

function progressed() {
  drawProgress();
  if (performance.now() - batch.drawn > REDRAW_MS) drawResults();
}

function outcome(error) {
  if (!error) return `Done: ${plural(settled(), "text")}.`;
  return error.kind === "cancelled" ? `Stopped at ${count(settled())}.` : `Stopped: ${error.message}`;
}

function finish(error) {
  batch.running = false;
  drawResults();
  drawProgress(outcome(error));
  byId("many-cancel").hidden = true;
  byId("many-resume").hidden = settled() === batch.rows.length;
  byId("many-eta").classList.toggle("is-error", Boolean(error) && error.kind !== "cancelled");
  byId("many-submit").disabled = false;
  announce(error ? outcome(error) : `${outcome()} ${tallyWords()}`);
}

async function run() {
  batch.control = new AbortController();
  Object.assign(batch, { running: true, began: performance.now(), drawn: 0, doneBefore: settled() });
  byId("many-progress").hidden = false;
  byId("many-cancel").hidden = false;
  byId("many-resume").hidden = true;
  byId("many-submit").disabled = true;
  byId("many-eta").classList.remove("is-error");
  drawProgress();
  const mine = batch;
  const onWait = ({ seconds }) =>
    drawProgress(`The service is busy; trying again in ${Math.max(1, Math.round(seconds))} s`);
  const options = {
    ask: (texts, signal) => ask(texts, signal, onWait),
    limits: service.limits,
    signal: batch.control.signal,
    onProgress: () => mine === batch && progressed(),
  };
  try {
    await runBatch(batch.rows, options);
    if (mine === batch) finish(null);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (mine === batch) finish(error);
  }
}

function start() {
  const source = current();
  if (!source || !service) return;
  batch?.control?.abort();
  const models = asked();
  const rows = source.rows.map((row, index) => ({
    ...row,
    number: index + 1,
    error: unreadable(row.text, service.limits),
    answer: null,
    first: null,
  }));
  const table = new ResultTable(byId("many-table"), {
    models,
    onOpen: (row) => openText(row.text),
    onShow: drawDownload,
  });
  batch = { ...source, rows, models, table, running: false };
  byId("many-review").hidden = true;
  run();
  byId("many-progress").scrollIntoView({ block: "start" });
}

function counts() {
  const numbers = new Map();
  for (const row of batch.rows) numbers.set(groupOf(row), (numbers.get(groupOf(row)) ?? 0) + 1);
  return numbers;
}

const tallyWords = () => {
  const numbers = counts();
  return (
    decisionsOf(batch.models[0])
      .map((name) => `${plainName(name, batch.models[0])} ${count(numbers.get(name) ?? 0)}`)
      .join(", ") + "."
  );
};

/** Scores of the first variant in equal bins, each bar in the colour of its decision zone. */
function histogram() {
  const [model] = batch.models;
  if (!isBinary(model)) return null;
  const bins = Array(BINS).fill(0);
  for (const { first } of batch.rows) if (first) bins[Math.min(BINS - 1, Math.floor(first.score * BINS))] += 1;
  const most = Math.max(1, ...bins);
  const band = reviewBand(model);
  const zone = (score) =>
    band && score >= band.low && score < band.high
      ? "review"
      : score >= (threshold(model) ?? 0.5)
        ? "positive"
        : "negative";
  const bars = bins.map((number, index) =>
    h("span", { class: `bin is-${zone((index + 0.5) / BINS)}`, vars: { "--height": Math.sqrt(number / most) } }),
  );
  return h(
    "figure",
    { class: "histogram" },
    h(
      "div",
      { class: "bins", role: "img", "aria-label": `Distribution of the scores from 0 to 100%.  ${tallyWords()}` },
      bars,
    ),
    h(
      "div",
      { class: "scale-ticks", "aria-hidden": "true" },
      ["0", "25", "50", "75", "100%"].map((tick) => h("span", {}, tick)),
    ),
    h("figcaption", { class: "quiet" }, `Scores (probability of ${model.positive}); heights on a square-root scale`),
  );
}

function drawSummary() {
  const numbers = counts();
  const [model] = batch.models;
  const done = settled() - (numbers.get("failed") ?? 0);
  const items = decisionsOf(model).map((name) => {
    const number = numbers.get(name) ?? 0;
    const part = done ? `${((number / done) * 100).toFixed(1)}%` : "";
    return h(
      "div",
      { class: `sum is-${kindOf(name, model)}`, "data-decision": name },
      h("dt", {}, plainName(name, model)),
      h("dd", {}, h("span", { class: "sum-number" }, count(number)), h("span", { class: "quiet" }, part)),
    );
  });
  const by =
    batch.models.length > 1 ? h("p", { class: "quiet" }, `Counts and scores are those of ${modelName(model)}.`) : null;
  byId("many-summary").replaceChildren(
    h("div", { class: "summary" }, h("dl", { class: "sums" }, items), histogram() ?? ""),
    by ?? "",
    h("p", { class: "actions", id: "many-downloads" }),
  );
}

/** Columns that the page adds; all begin with `evenodd_`, so that they do not hide any column of the file. */
function resultColumns(model, many) {
  const prefix = many ? `evenodd_${model.variant}_` : "evenodd_";
  const names = [
    "decision",
    "label",
    "score",
    ...model.labels.map((label) => `p_${label}`),
    "truncated",
    "variant",
    "version",
  ];
  const cells = (row) => {
    const result = row.answer?.[model.variant];
    if (!result) return names.map(() => "");
    return [
      result.decision,
      result.label,
      result.score,
      ...model.labels.map((label) => result.probabilities[label]),
      result.truncated ?? false,
      model.variant,
      model.version ?? "",
    ];
  };
  return { header: names.map((name) => prefix + name), cells };
}

function download(rows, suffix) {
  const groups = batch.models.map((model) => resultColumns(model, batch.models.length > 1));
  const header = [...batch.header, ...groups.flatMap((group) => group.header), "evenodd_error"];
  const lines = rows.map((row) => [...row.cells, ...groups.flatMap((group) => group.cells(row)), row.error ?? ""]);
  const url = URL.createObjectURL(new Blob([write([header, ...lines])], { type: "text/csv;charset=utf-8" }));
  h("a", { href: url, download: `${batch.name}-${suffix}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  announce(`Downloading ${plural(rows.length, "row")}.`);
}

function drawDownload(shown) {
  const place = byId("many-downloads");
  if (!place) return;
  const { filter } = batch.table.view;
  const button = (title, rows, suffix, id) =>
    h("button", { type: "button", id, class: "plain", "data-keep": id, onClick: () => download(rows, suffix) }, title);
  place.replaceChildren(
    button(`Download all ${count(batch.rows.length)} as CSV`, batch.rows, "decided", "download-all"),
    shown.length && shown.length < batch.rows.length
      ? button(
          `Download the ${count(shown.length)} shown`,
          shown,
          filter === "all" ? "found" : filter,
          "download-shown",
        )
      : "",
    batch.running || !batch.rows.some((row) => row.first)
      ? ""
      : h(
          "button",
          { type: "button", id: "review-open", class: "primary", "data-keep": "review-open", onClick: review },
          "Review uncertain texts",
        ),
  );
}

/** The review queue of this batch; its decisions are kept with the rows. */
function review() {
  const { rows, header, column, name } = batch;
  openReview({ rows, header, column, name, model: batch.models[0] });
}

function startOver() {
  batch?.control?.abort();
  batch = null;
  clear();
  byId("many-progress").hidden = true;
  byId("many-result").hidden = true;
  byId("many-review").hidden = true;
  byId("many-text").focus();
}

/** Wires the panel; `onOpen` shows one text in the other panel. */
export function wireBatch(onOpen) {
  openText = onOpen;
  wireSource(() => {});
  byId("many-form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  byId("many-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    }
  });
  byId("many-clear").addEventListener("click", startOver);
  byId("many-cancel").addEventListener("click", () => batch.control.abort());
  byId("many-resume").addEventListener("click", run);
  window.addEventListener("beforeunload", (event) => {
    if (batch?.running) event.preventDefault();
  });
}

/** Starts the panel with the content of /info. */
export function openBatch(info) {
  service = info;
  if (info.models.length < 2 || byId("many-variant")) return;
  const options = info.models.map((model) =>
    h("option", { value: model.variant, selected: model.variant === info.default }, modelName(model)),
  );
  const select = h(
    "select",
    { id: "many-variant" },
    options,
    h("option", { value: ALL }, "every variant, side by side"),
  );
  byId("many-form")
    .querySelector(".actions")
    .prepend(h("label", { class: "field", for: "many-variant" }, "Decided by"), select);
}
