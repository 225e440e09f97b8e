/** One text: the form, the examples, and the requests to every variant. */
import { bringIntoView, showAnswer, showEmpty } from "./answer.js";
import { ApiError, classify } from "./api.js";
import { announce, byId, h, setFault } from "./dom.js";
import { examplesOf } from "./examples.js";
import { characters, count, plural } from "./format.js";
import { defaultModel, variantField } from "./info.js";
import { questionOf } from "./task.js";

let service = null;
let pending = null;

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
    service.models.map((model) => classify([text], variantField(service, model), { signal, onWait })),
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

/** An error that the user can correct in the text, before anything is sent. */
function faultIn(text) {
  if (!text.trim()) return "Type or paste a text first.";
  const most = service.limits?.characters;
  const length = characters(text);
  return most && length > most ? `${plural(length, "character")}; the limit is ${count(most)}.` : "";
}

function showError(error) {
  if (error.kind === "cancelled") return;
  if (error.kind === "input") {
    setFault(byId("one-text"), byId("one-error"), error.message);
    byId("one-text").focus();
    showEmpty(service);
    announce(error.message);
    return;
  }
  const again = h("button", { type: "button", class: "plain", onClick: submit }, "Try again");
  byId("answer-body").replaceChildren(h("div", { class: "notice is-error" }, h("p", {}, error.message), again));
  bringIntoView();
  announce(error.message);
}

async function submit() {
  if (!service) return;
  const field = byId("one-text");
  const text = field.value;
  const fault = faultIn(text);
  setFault(field, byId("one-error"), fault);
  if (fault) {
    pending?.abort();
    showEmpty(service);
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
    if (pending === mine) showAnswer({ text, readings, signal: mine.signal, service });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showError(error);
  } finally {
    if (pending === mine) setBusy(false);
  }
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
  const examples = examplesOf(defaultModel(service));
  byId("examples").hidden = examples.length === 0;
  byId("examples-list").replaceChildren(
    ...examples.flatMap(({ title, rows }) => [h("h3", {}, title), h("ul", {}, rows.map(exampleButton))]),
  );
}

function showQuestion() {
  const model = defaultModel(service);
  byId("question").textContent = questionOf(model);
  byId("definition").textContent = model.page?.definition ?? "";
  byId("definition").hidden = !model.page?.definition;
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
    showEmpty(service);
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

/** Wires the form; it cannot send requests before `openSingle`. */
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

/** Starts the panel with the content of /info. */
export function openSingle(info) {
  service = info;
  showQuestion();
  showExamples();
  showEmpty(service);
  showCount();
}
