/** What a model's answers mean, in words. */
import { percent, share } from "./format.js";

export const isBinary = (model) => model.task !== "multiclass" && Boolean(model.positive) && model.labels.length === 2;

/** The display name of a label or decision. */
export const plainName = (decision, model) =>
  decision === "review" ? "Review" : (model?.page?.labels?.[decision]?.name ?? decision);

/** The question that the page asks about a text. */
export const questionOf = (model) =>
  model.page?.question ??
  (isBinary(model) ? `Is this text “${plainName(model.positive, model)}”?` : "Which label fits this text?");

/** `positive`, `negative`, `review` or, for more than two labels, `label`: what decides colour and symbol. */
export function kindOf(decision, model) {
  if (decision === "review") return "review";
  if (!isBinary(model)) return "label";
  return decision === model.positive ? "positive" : "negative";
}

/** The review band, or null when it is empty. */
export function reviewBand(model) {
  const [low, high] = model.decision?.review ?? [0, 0];
  return high > (isBinary(model) ? low : 0) ? { low, high } : null;
}

export const threshold = (model) => model.decision?.threshold ?? null;

function meaningOfReview(model) {
  const band = reviewBand(model);
  if (!band) return "Too close to call. A person should decide.";
  if (!isBinary(model)) return `No label reaches ${percent(band.high)}. A person should decide.`;
  return `Too close to call: between ${percent(band.low)} and ${percent(band.high)} a person should decide.`;
}

/** What a decision means here, one or two sentences. */
export function meaning(decision, model) {
  if (decision === "review") return meaningOfReview(model);
  return (
    model.page?.labels?.[decision]?.meaning ??
    `Of ${model.labels.length} labels, the model gives this text “${plainName(decision, model)}”.`
  );
}

/** Why the decision is not the most likely label; null if it is. */
export function whyNotLabel(result, model) {
  if (result.decision === result.label || result.decision === "review" || threshold(model) === null) return null;
  return `The more likely label is “${result.label}”, but the threshold for “${model.positive}” is ${share(threshold(model))}.`;
}

/** The possible decisions of a model, in display order. */
export function decisionsOf(model) {
  const labels = isBinary(model)
    ? [model.positive, ...model.labels.filter((label) => label !== model.positive)]
    : [...model.labels];
  if (!reviewBand(model)) return labels;
  return isBinary(model) ? [labels[0], "review", labels[1]] : [...labels, "review"];
}

/** The label whose probability is the score. */
export const scored = (result, model) => (isBinary(model) ? model.positive : result.label);

export const modelName = (model) => [model.variant, model.version ? `v${model.version}` : ""].filter(Boolean).join(" ");
