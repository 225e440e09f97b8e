/** One text: ask every variant, show the decision on its scale, and which words moved it. */
import { ApiError, classify, explain } from "./api.js";
import { correction } from "./correction.js";
import { announce, byId, h, icon, setFault } from "./dom.js";
import { EXAMPLES, findExample } from "./examples.js";
import { characters, count, percent, plural } from "./format.js";
import { defaultModel } from "./info.js";
import { chip, labelBars, scale, track } from "./scale.js";
import {
  decisionsOf,
  isBinary,
  isHateTask,
  kindOf,
  meaning,
  modelName,
  plainName,
  scored,
  whyNotLabel,
} from "./task.js";
import { strongest, tinted, wordLists } from "./words.js";

let service = null;
let pending = null;
let shown = null;

const sole = () => service.models.length === 1;
const variantOf = (model) => (sole() ? undefined : model.variant);

function setBusy(busy, words = "Classify") {
  const button = byId("one-submit");
  button.textContent = words;
  button.setAttribute("aria-disabled", String(busy));
  byId("answer").setAttribute("aria-busy", String(busy));
}

const onWait = ({ attempt, tries, seconds }) => {
  const words = `The service is busy. Trying again in ${Math.max(1, Math.round(seconds))} s (${attempt} of ${tries - 1}).`;
  byId("answer-body").replaceChildren(h("p", { class: "notice" }, words));
  announce(words);
};

/** Answers by variant in the order of /info; a variant that fails carries its error. */
async function askAll(text, signal) {
  const answers = await Promise.allSettled(
    service.models.map((model) => classify([text], variantOf(model), { signal, onWait })),
  );
  const readings = answers.map((answer, index) => ({
    model: service.models[index],
    result: answer.value?.results?.[0] ?? null,
    error: answer.reason ?? null,
  }));
  if (readings.every(({ result }) => !result))
    throw readings[0].error ?? new ApiError("server", "The service gave no result.");
  return readings;
}

/** A fault the user can mend in the text itself, before anything is sent. */
function faultIn(text) {
  if (!text.trim()) return "Type or paste a text first.";
  const most = service.limits?.characters;
  const length = characters(text);
  return most && length > most ? `${plural(length, "character")}; at most ${count(most)} can be read at once.` : "";
}

function showError(error) {
  if (error.kind === "cancelled") return;
  if (error.kind === "input") {
    setFault(byId("one-text"), byId("one-error"), error.message);
    byId("one-text").focus();
    showEmpty();
    announce(error.message);
    return;
  }
  const again = h("button", { type: "button", class: "plain", onClick: submit }, "Try again");
  byId("answer-body").replaceChildren(h("div", { class: "notice is-error" }, h("p", {}, error.message), again));
  announce(error.message);
}

async function submit() {
  if (!service) return;
  const field = byId("one-text");
  const text = field.value;
  const fault = faultIn(text);
  setFault(field, byId("one-error"), fault);
  if (fault) {
    field.focus();
    announce(fault);
    return;
  }
  pending?.abort();
  const mine = new AbortController();
  pending = mine;
  setBusy(true, "Classifying…");
  try {
    const readings = await askAll(text, mine.signal);
    if (pending === mine) show(text, readings, mine.signal);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showError(error);
  } finally {
    if (pending === mine) setBusy(false);
  }
}

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
      plainName(result.decision),
    ),
    h(
      "p",
      { class: "verdict-score" },
      h("span", { class: "number", id: "score" }, percent(result.score)),
      ` probability of ${scored(result, model)}`,
    ),
    h("p", { class: "verdict-meaning" }, meaning(result.decision, model)),
    aside && h("p", { class: "quiet" }, aside),
    result.windows > 1 &&
      h(
        "p",
        { class: "quiet" },
        `A long text: read in ${count(result.windows)} overlapping parts, and decided by ${model.pooling === "mean" ? "their mean" : "the strongest of them"}.`,
      ),
    result.truncated && h("p", { class: "notice" }, "Longer than the service reads: its end did not count."),
    expectation(text, result, model),
  );
}

/** For a known example: what people hold it to be, and whether the model agrees. */
function expectation(text, result, model) {
  const example = isHateTask(model) && findExample(text);
  if (!example) return null;
  const held = `People hold this to be ${plainName(example.label).toLowerCase()} (${example.kind}).`;
  const agrees = result.decision === example.label;
  const outcome = agrees
    ? "The model agrees."
    : result.decision === "review"
      ? "The model leaves it to a person."
      : "The model gets it wrong.";
  return h("p", { class: "expectation", "data-agrees": String(agrees) }, h("strong", {}, outcome), " ", held);
}

function variantRow({ model, result, error }, chosen) {
  const input = h("input", {
    type: "radio",
    name: "variant",
    value: model.variant,
    checked: model === chosen,
    disabled: !result,
    onChange: () => select(model),
  });
  const answer = result
    ? [
        chip(result.decision, model),
        isBinary(model)
          ? track(result.score, model, kindOf(result.decision, model))
          : h("span", { class: "quiet" }, result.label),
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

function variantRows(readings, chosen) {
  if (readings.length < 2) return null;
  const answered = readings.filter(({ result }) => result);
  const same = new Set(answered.map(({ result }) => result.decision)).size === 1;
  return h(
    "fieldset",
    { class: "variants" },
    h("legend", {}, "Every variant on the same scale"),
    readings.map((reading) => variantRow(reading, chosen)),
    h("p", { class: "quiet" }, same ? "All variants agree." : "The variants do not agree."),
  );
}

function reasons(text, model) {
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
      h("h3", { id: "words-title" }, "Which words moved it"),
      body,
    ),
  };
}

async function fillReasons(body, text, { model, result }, signal) {
  const label = plainName(scored(result, model));
  try {
    const { words } = await explain(text, variantOf(model), { signal });
    body.replaceChildren(
      tinted(text, words),
      h(
        "p",
        { class: "quiet" },
        `The number is how far the probability falls when the word is left out. `,
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

const summary = ({ result, model }) =>
  `Decision: ${plainName(result.decision)}. Probability of ${scored(result, model)} ${percent(result.score)}.`;

function show(text, readings, signal) {
  const chosen =
    readings.find(({ model, result }) => result && model.variant === (shown?.chosen ?? service.default)) ??
    readings.find(({ result }) => result);
  shown = { text, readings, signal, chosen: chosen.model.variant };
  byId("answer-body").replaceChildren(
    h("div", { id: "reading" }),
    variantRows(readings, chosen.model) ?? "",
    h("div", { id: "details" }),
  );
  fill(chosen);
  announce(summary(chosen));
  bringIntoView();
}

/** Scrolls to the answer when its beginning is not on the screen. */
function bringIntoView() {
  const { top } = byId("answer").getBoundingClientRect();
  if (top >= 0 && top < window.innerHeight * 0.75) return;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("answer").scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

function fill(reading) {
  const { text, signal } = shown;
  const { model, result } = reading;
  byId("reading").replaceChildren(
    verdict(reading, text),
    isBinary(model) ? scale(result.score, model, kindOf(result.decision, model)) : "",
  );
  const { body, section } = reasons(text, model);
  byId("details").classList.toggle("many-labels", !isBinary(model));
  byId("details").replaceChildren(
    section,
    h(
      "section",
      { class: "block", "aria-labelledby": "labels-title" },
      h("h3", { id: "labels-title" }, "Probability of each label"),
      labelBars(result.probabilities, model),
    ),
    service.corrections ? correction(text, result, model) : "",
  );
  fillReasons(body, text, reading, signal);
}

function select(model) {
  shown.chosen = model.variant;
  const reading = shown.readings.find((one) => one.model === model);
  fill(reading);
  announce(`${modelName(model)}. ${summary(reading)}`);
}

/** Before anything was asked: the empty scale, and what each decision means. */
function showEmpty() {
  const model = defaultModel(service);
  shown = null;
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

function exampleButton(row) {
  const pick = () => {
    read(row.text);
    byId("one-text").focus({ preventScroll: true });
  };
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "example", onClick: pick },
      h("span", { class: "example-text" }, row.text),
      h("span", { class: "quiet" }, row.kind),
    ),
  );
}

function showExamples() {
  if (!service.models.every(isHateTask)) return;
  byId("examples-list").replaceChildren(
    ...EXAMPLES.flatMap(({ title, rows }) => [h("h3", {}, title), h("ul", {}, rows.map(exampleButton))]),
  );
  byId("examples").hidden = false;
}

function showQuestion() {
  const model = service.models[0];
  if (!isHateTask(model)) {
    byId("question").textContent = isBinary(model)
      ? `Is this text “${model.positive}”?`
      : "Which label fits this text?";
    return;
  }
  byId("question").textContent = "Does this text attack a group of people?";
  byId("definition").textContent =
    "Hate speech here means an attack on people for what they are: origin, religion, gender, orientation, disability. Abuse of one person is something else.";
  byId("definition").hidden = false;
}

const showCount = () => {
  const most = service?.limits?.characters;
  byId("one-count").textContent =
    plural(characters(byId("one-text").value), "character") + (most ? ` of at most ${count(most)}` : "");
};

function clear() {
  pending?.abort();
  byId("one-text").value = "";
  setFault(byId("one-text"), byId("one-error"), "");
  showCount();
  if (service) {
    showEmpty();
    setBusy(false);
  }
  byId("one-text").focus();
}

/** Puts a text into the field and classifies it. */
export function read(text) {
  byId("one-text").value = text;
  showCount();
  submit();
}

/** Wires the form; it waits for `openSingle` before it can ask. */
export function wireSingle() {
  const field = byId("one-text");
  byId("one-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  byId("one-clear").addEventListener("click", clear);
  field.addEventListener("input", () => {
    setFault(field, byId("one-error"), "");
    showCount();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  });
}

/** Starts the panel with what /info said. */
export function openSingle(info) {
  service = info;
  showQuestion();
  showExamples();
  showEmpty();
  showCount();
}
