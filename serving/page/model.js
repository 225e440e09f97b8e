/** The model panel: where each variant comes from, its figures and its limits. */
import { byId, h } from "./dom.js";
import { count, percent, plural, share, when } from "./format.js";
import { chip } from "./scale.js";
import { decisionsOf, isBinary, modelName, reviewBand } from "./task.js";

const FIGURES = {
  f1_macro: "mean F1 of the labels (macro-F1)",
  average_precision: "how well scores rank the positive texts first (average precision)",
  accuracy: "share of texts decided correctly (accuracy)",
  ece: "how far scores are from observed frequencies (calibration error)",
  balanced_accuracy: "test sentences decided correctly, each kind weighted equally (balanced accuracy)",
  group_gap: "largest gap between groups of people",
  majority_accuracy: "always the most common label: accuracy",
  tfidf_f1_macro: "word counts with logistic regression: macro-F1",
  parameters: "parameters",
  trainable_parameters: "trainable parameters",
  train_seconds: "training, seconds",
  latency_p50_ms: "latency p50, ms",
  latency_p95_ms: "latency p95, ms",
  onnx_mb: "graph, MB",
};
const GROUPS = {
  test: "Test rows",
  validation: "Validation rows",
  behaviour: "Behaviour suite",
  floor: "Baselines",
  cost: "Cost",
};

const facts = (rows) =>
  h(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );

const code = (value) =>
  value
    ? h("code", { title: value }, String(value).length > 20 ? `${String(value).slice(0, 16)}…` : String(value))
    : null;

/** The teacher's layers from the bottom up to the highest that any variant keeps; kept layers are filled. */
function layers(model, highest) {
  if (!model.layer_map?.length) return null;
  const kept = new Set(model.layer_map);
  const bars = Array.from({ length: Math.max(highest, model.teacher_layers ?? 0) }, (_, index) =>
    h("span", { class: kept.has(index + 1) ? "layer is-kept" : "layer" }, String(index + 1)),
  );
  return h(
    "figure",
    { class: "layers" },
    h("div", { class: "stack", "aria-hidden": "true" }, bars),
    h("figcaption", {}, `Keeps ${plural(kept.size, "layer")} of its teacher: ${model.layer_map.join(", ")}`),
  );
}

function decisionFacts(model) {
  const band = reviewBand(model);
  const { temperature, bias, target } = model.decision ?? {};
  return [
    ["Threshold", isBinary(model) && model.decision?.threshold !== null ? share(model.decision.threshold) : null],
    [
      "Review band",
      band ? (isBinary(model) ? `${share(band.low)} to ${share(band.high)}` : `below ${percent(band.high)}`) : "none",
    ],
    ["Optimised for", FIGURES[target] ?? target],
    ["Temperature", temperature === undefined ? null : share(temperature)],
    ["Bias", bias?.some((value) => value) ? bias.map(share).join(", ") : null],
  ];
}

function runningFacts(model) {
  const running = model.runtime ?? {};
  const show = (value) =>
    Array.isArray(value)
      ? value.join(", ")
      : typeof value === "object" && value
        ? Object.entries(value)
            .map((pair) => pair.join(": "))
            .join(", ")
        : value;
  return [
    ["Graph", show(running.graph ?? model.graph)],
    ["Device", show(running.provider ?? model.provider)],
    ["Providers", show(running.providers)],
    ["Matrix products", show(running.matrix_products)],
    ["Tokens per window", model.max_length],
    ["Long texts", model.window_overlap ? `parts that overlap by ${model.window_overlap} tokens` : null],
  ];
}

export const syntheticBadge = () => h("span", { class: "badge", title: "Trained on made-up texts" }, "Synthetic data");

function syntheticNote(model) {
  if (!model.data?.synthetic) return null;
  return h(
    "p",
    { class: "notice is-warning" },
    syntheticBadge(),
    " This model was trained on made-up texts. Its figures say nothing about real ones: use it to try the service out, not to decide about people.",
  );
}

/** What a person must know before relying on an answer; empty if there are no warnings. */
export function warningsOf(model) {
  if (model.warnings?.length) return model.warnings;
  const measured = Object.keys(model.metrics ?? {}).some((name) => name.startsWith("test/"));
  return measured ? [] : ["This model was not evaluated on test rows."];
}

function warningNote(model) {
  const warnings = warningsOf(model);
  if (!warnings.length) return null;
  return h(
    "div",
    { class: "notice is-warning" },
    h("p", {}, h("strong", {}, "This version is not fit to decide on its own.")),
    h("ul", {}, warnings.map((warning) => h("li", {}, warning))),
  );
}

function panel(model, highest, isDefault) {
  const digests = Object.entries(model.digests ?? {}).map(([name, digest]) => [name, code(digest?.sha256 ?? digest)]);
  return h(
    "article",
    { class: "model-card", "data-variant": model.variant, "aria-label": modelName(model) },
    h(
      "h2",
      {},
      model.name ? `${model.name} · ` : "",
      modelName(model),
      isDefault && h("span", { class: "quiet default" }, "answers by default"),
    ),
    syntheticNote(model),
    warningNote(model),
    layers(model, highest),
    h("h3", {}, "Where it comes from"),
    facts([
      ["Teacher", model.teacher],
      ["Training data", model.data?.name],
      ["Data digest", code(model.data?.digest)],
      ["Run", code(model.run_id)],
      ["Made", model.created && when(model.created)],
    ]),
    h("h3", {}, "How it decides"),
    h(
      "p",
      { class: "chips" },
      decisionsOf(model).map((decision) => chip(decision, model)),
    ),
    facts(decisionFacts(model)),
    h("h3", {}, "How it runs"),
    facts(runningFacts(model)),
    h(
      "p",
      { class: "card-link" },
      h("a", { href: `card?variant=${encodeURIComponent(model.variant)}` }, "Model card"),
      " with training, figures and intended use",
    ),
    digests.length > 0 && h("details", {}, h("summary", {}, "Digests of its files (SHA-256)"), facts(digests)),
    limits(model),
  );
}

function limits(model) {
  if (!model.limits?.length) return null;
  return [
    h("h3", {}, "Its limits"),
    h(
      "ul",
      { class: "limits" },
      model.limits.map((line) => h("li", {}, line)),
    ),
  ];
}

function figure(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? count(Math.round(value)) : value.toFixed(3);
}

function figureRows(models, group, names) {
  const title = GROUPS[group] ?? group;
  return h(
    "tbody",
    {},
    h("tr", {}, h("th", { scope: "rowgroup", colspan: models.length + 1 }, title)),
    names.map((name) =>
      h(
        "tr",
        {},
        h(
          "th",
          { scope: "row" },
          FIGURES[name.slice(group.length + 1)] ?? name.slice(group.length + 1).replaceAll("_", " "),
        ),
        models.map((model) => h("td", { class: "number" }, figure(model.metrics?.[name]))),
      ),
    ),
  );
}

/** Every figure of every variant, one column per variant. */
function figures(models) {
  const names = [...new Set(models.flatMap((model) => Object.keys(model.metrics ?? {})))];
  if (!names.length) return h("p", { class: "quiet" }, "The bundle holds no figures.");
  const order = Object.keys(GROUPS);
  const rank = (group) => (order.indexOf(group) + order.length + 1) % (order.length + 1);
  const groups = [...new Set(names.map((name) => name.split("/")[0]))].sort((a, b) => rank(a) - rank(b));
  const head = h(
    "tr",
    {},
    h("td", {}),
    models.map((model) => h("th", { scope: "col" }, modelName(model))),
  );
  return h(
    "div",
    { class: "figures-place", role: "region", "aria-label": "Table of figures", tabindex: "0" },
    h(
      "table",
      { class: "figures" },
      h("caption", { class: "unseen" }, "Figures by variant"),
      h("thead", {}, head),
      groups.map((group) =>
        figureRows(
          models,
          group,
          names.filter((name) => name.split("/")[0] === group),
        ),
      ),
    ),
  );
}

/** Draws the panel from the content of /info. */
export function openModel(info) {
  const highest = Math.max(0, ...info.models.flatMap((model) => model.layer_map ?? []));
  byId("model-body").classList.toggle("is-single", info.models.length === 1);
  byId("model-body").replaceChildren(
    h(
      "div",
      { class: "model-cards" },
      info.models.map((model) => panel(model, highest, info.models.length > 1 && model.variant === info.default)),
    ),
    h(
      "section",
      { "aria-labelledby": "figures-title" },
      h("h2", { id: "figures-title" }, "Figures"),
      figures(info.models),
      h("p", { class: "quiet" }, "Small differences are often due to chance: the model card shows which ones were tested."),
    ),
  );
}
