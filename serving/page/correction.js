/** "This is wrong": a form that stores the right label. */
import { correct } from "./api.js";
import { announce, h, setFault } from "./dom.js";
import { plainName } from "./task.js";

const NOTE_LENGTH = 500;

function choice(label, model, chosen) {
  const input = h("input", {
    type: "radio",
    name: "correct-label",
    value: label,
    checked: label === chosen,
    required: true,
  });
  const plain = plainName(label, model);
  return h("label", { class: "choice" }, input, plain === label ? plain : [plain, " ", h("code", {}, label)]);
}

async function send(form, request, fault, done) {
  const data = new FormData(form);
  const button = form.querySelector("button[type=submit]");
  const comment = data.get("comment").trim();
  setFault(form, fault, "");
  button.disabled = true;
  try {
    await correct({ ...request, label: data.get("correct-label"), ...(comment ? { comment } : {}) });
    done();
  } catch (error) {
    setFault(form, fault, `Not stored: ${error.message}`);
    button.disabled = false;
  }
}

/**
 * A disclosure element with the form.
 * @param {string} text the text that was classified
 * @param {{label: string, decision: string}} result
 * @param {{labels: string[], variant: string}} model
 */
export function correction(text, result, model) {
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const other = model.labels.length === 2 ? model.labels.find((label) => label !== result.label) : null;
  const form = h(
    "form",
    { class: "correction-form" },
    h(
      "fieldset",
      {},
      h("legend", {}, "What should it be?"),
      h(
        "div",
        { class: "choice-row" },
        model.labels.map((label) => choice(label, model, other)),
      ),
    ),
    h("label", { class: "field", for: "correct-note" }, "Note ", h("span", { class: "quiet" }, "(optional)")),
    h("input", { type: "text", id: "correct-note", name: "comment", maxlength: NOTE_LENGTH, autocomplete: "off" }),
    fault,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, "Store correction"),
      h("span", { class: "quiet" }, "Stores the text and your answer in this service’s database."),
    ),
  );
  const box = h("details", { class: "correction" }, h("summary", {}, "This is wrong"), form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, { text, variant: model.variant }, fault, () => {
      box.replaceWith(
        h("p", { class: "stored", tabindex: "-1" }, "Stored. It becomes a training row once a person has accepted it."),
      );
      announce("Correction stored.");
    });
  });
  return box;
}
