/** The answer for one text: decision, scale, every variant, and the words that influenced it. */
import { ApiError, explain } from "./api.js";
import { correction } from "./correction.js";
import { announce, byId, h, icon } from "./dom.js";
import { findExample } from "./examples.js";
import { count, percent } from "./format.js";
import { defaultModel, variantField } from "./info.js";
import { chip, labelBars, scale, track } from "./scale.js";
import {
  decisionsOf,
  isBinary,
  kindOf,
  meaning,
  modelName,
  plainName,
  scored,
  whyNotLabel,
} from "./task.js";
import { strongest, tinted, wordLists } from "./words.js";

let shown = null;
let chosen = null;

const summary = ({ result, model }) =>
  `Decision: ${plainName(result.decision, model)}. Probability of ${plainName(scored(result, model), model)} ${percent(result.score)}.`;

function verdict({ result, model }, text) {
  const kind = kindOf(result.decision, model);
  const aside = whyNotLabel(result, model);
  return h(
    "div",
    { class: `verdict is-${kind}` },
    h(
      "p",
      { class: "verdict-word", id: "decision", "data-decision": result.decision },
      icon(kind),
      plainName(result.decision, model),
    ),
    h(
      "p",
      { class: "verdict-score" },
      h("span", { class: "number", id: "score" }, percent(result.score)),
      ` probability of ${plainName(scored(result, model), model)}`,
    ),
    h("p", { class: "verdict-meaning" }, meaning(result.decision, model)),
    aside && h("p", { class: "quiet" }, aside),
    result.windows > 1 &&
      h(
        "p",
        { class: "quiet" },
        `A long text: read in ${count(result.windows)} overlapping parts, and decided by ${model.pooling === "mean" ? "their mean" : "the part with the highest score"}.`,
      ),
    result.truncated && h("p", { class: "notice" }, "Longer than the service accepts: the end of the text was ignored."),
    expectation(text, result, model),
  );
}

/** For a known example: the label that people gave it, and whether the model agrees. */
function expectation(text, result, model) {
  const example = findExample(text, model);
  if (!example) return null;
  const given = `People labelled this “${plainName(example.label, model)}” (${example.kind}).`;
  const agrees = result.decision === example.label;
  const outcome = agrees
    ? "The model agrees."
    : result.decision === "review"
      ? "The model leaves it to a person."
      : "The model gets it wrong.";
  return h("p", { class: "expectation", "data-agrees": String(agrees) }, h("strong", {}, outcome), " ", given);
}

function variantRow({ model, result, error }, drawn) {
  const input = h("input", {
    type: "radio",
    name: "variant",
    value: model.variant,
    checked: model === drawn,
    disabled: !result,
    onChange: () => select(model),
  });
  const answer = result
    ? [
        chip(result.decision, model),
        isBinary(model)
          ? track(result.score, model, kindOf(result.decision, model))
          : h("span", { class: "quiet" }, plainName(result.label, model)),
        h("span", { class: "number" }, percent(result.score)),
      ]
    : [h("span", { class: "row-error" }, error?.message ?? "no answer")];
  return h(
    "label",
    { class: "variant", "data-variant": model.variant },
    input,
    h("span", { class: "variant-name" }, modelName(model)),
    answer,
  );
}

function variantRows(readings, drawn) {
  if (readings.length < 2) return null;
  const answered = readings.filter(({ result }) => result);
  const same = new Set(answered.map(({ result }) => result.decision)).size === 1;
  return h(
    "fieldset",
    { class: "variants" },
    h("legend", {}, "Every variant on the same scale"),
    readings.map((reading) => variantRow(reading, drawn)),
    h("p", { class: "quiet" }, same ? "All variants agree." : "The variants do not agree."),
  );
}

function reasons(text) {
  const body = h(
    "div",
    { class: "reasons-body", "aria-busy": "true" },
    h("p", { class: "words is-waiting", dir: "auto" }, text),
  );
  return {
    body,
    section: h(
      "section",
      { class: "block", "aria-labelledby": "words-title" },
      h("h3", { id: "words-title" }, "Which words influenced it"),
      body,
    ),
  };
}

async function fillReasons(body, text, { model, result }, signal) {
  const label = plainName(scored(result, model), model);
  try {
    const { words } = await explain(text, variantField(shown.service, model), { signal });
    if (!body.isConnected) return;
    body.replaceChildren(
      tinted(text, words),
      h(
        "p",
        { class: "quiet" },
        `The number is how much the probability falls without the word. `,
        h("span", { class: "word is-toward", vars: { "--tint": 0.7 } }, "Solid line"),
        ` toward ${label}, `,
        h("span", { class: "word is-away", vars: { "--tint": 0.7 } }, "dotted line"),
        " away from it.",
      ),
      wordLists(words, label),
    );
    const top = strongest(words, 1)
      .slice(0, 3)
      .map(({ word }) => word);
    if (top.length) announce(`${summary({ model, result })} Strongest words: ${top.join(", ")}.`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.kind !== "cancelled")
      body.replaceChildren(
        h("p", { class: "words", dir: "auto" }, text),
        h("p", { class: "notice" }, `No explanation: ${error.message}`),
      );
  }
  body.removeAttribute("aria-busy");
}

function fill(reading) {
  const { text, signal } = shown;
  const { model, result } = reading;
  byId("reading").replaceChildren(
    verdict(reading, text),
    isBinary(model) ? scale(result.score, model, kindOf(result.decision, model)) : "",
  );
  const { body, section } = reasons(text);
  byId("details").classList.toggle("many-labels", !isBinary(model));
  byId("details").replaceChildren(
    section,
    h(
      "section",
      { class: "block", "aria-labelledby": "labels-title" },
      h("h3", { id: "labels-title" }, "Probability of each label"),
      labelBars(result.probabilities, model),
    ),
    shown.service.corrections ? correction(text, result, model) : "",
  );
  fillReasons(body, text, reading, signal);
}

function select(model) {
  chosen = model.variant;
  const reading = shown.readings.find((one) => one.model === model);
  fill(reading);
  announce(`${modelName(model)}. ${summary(reading)}`);
}

/** Scrolls to the answer if its beginning is not on the screen. */
export function bringIntoView() {
  const { top } = byId("answer").getBoundingClientRect();
  if (top >= 0 && top < window.innerHeight * 0.75) return;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("answer").scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

/**
 * Draws the answer of every variant, the default one's in full.
 * @param {{text: string, readings: {model: object, result: object | null, error: Error | null}[], signal: AbortSignal, service: object}} answer
 */
export function showAnswer(answer) {
  const wanted = chosen ?? answer.service.default;
  const answered = answer.readings.filter(({ result }) => result);
  const reading = answered.find(({ model }) => model.variant === wanted) ?? answered[0];
  shown = answer;
  byId("answer-body").replaceChildren(
    h("div", { id: "reading" }),
    variantRows(answer.readings, reading.model) ?? "",
    h("div", { id: "details" }),
  );
  fill(reading);
  announce(summary(reading));
  bringIntoView();
}

/** Before the first request: the empty scale, and what each decision means. */
export function showEmpty(service) {
  const model = defaultModel(service);
  byId("answer-body").replaceChildren(
    h(
      "div",
      { class: "empty" },
      h("p", { class: "empty-title" }, "How a text is decided"),
      isBinary(model) ? scale(null, model, "review") : "",
      h(
        "dl",
        { class: "meanings" },
        decisionsOf(model)
          .slice(0, 8)
          .map((decision) =>
            h(
              "div",
              {},
              h("dt", {}, chip(decision, model)),
              isBinary(model) || decision === "review" ? h("dd", {}, meaning(decision, model)) : "",
            ),
          ),
      ),
    ),
  );
}
