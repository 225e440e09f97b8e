/** Draws probabilities: the scale with its threshold and review band, and bars for many labels. */
import { h, icon } from "./dom.js";
import { percent, share } from "./format.js";
import { isBinary, kindOf, plainName, reviewBand, threshold } from "./task.js";

/** Decision as symbol and word: never colour alone. */
export function chip(decision, model) {
  const kind = kindOf(decision, model);
  return h("span", { class: `chip is-${kind}`, "data-decision": decision }, icon(kind), plainName(decision, model));
}

function zones(model) {
  const band = reviewBand(model);
  const cut = threshold(model) ?? 0.5;
  const low = band?.low ?? cut;
  const high = band?.high ?? cut;
  return [
    h("span", { class: "zone is-negative", vars: { "--from": 0, "--to": low } }),
    band && h("span", { class: "zone is-review", vars: { "--from": low, "--to": high } }),
    h("span", { class: "zone is-positive", vars: { "--from": high, "--to": 1 } }),
    threshold(model) !== null && h("span", { class: "cut", vars: { "--at": cut } }),
  ];
}

function spoken(score, model) {
  const band = reviewBand(model);
  const parts = score === null ? [] : [`Probability of ${plainName(model.positive, model)} ${percent(score)}.`];
  if (threshold(model) !== null) parts.push(`Threshold ${share(threshold(model))}.`);
  if (band) parts.push(`Review from ${share(band.low)} to ${share(band.high)}.`);
  return parts.join(" ");
}

/** The bar alone, for rows; `score` null draws it without a needle. */
export function track(score, model, kind = "review") {
  const needle = score === null ? null : h("span", { class: `needle is-${kind}`, vars: { "--at": score } });
  return h("span", { class: "track", role: "img", "aria-label": spoken(score, model) }, zones(model), needle);
}

function key(model) {
  const band = reviewBand(model);
  return h(
    "figcaption",
    { class: "scale-key" },
    threshold(model) !== null && h("span", {}, h("i", { class: "key-cut" }), `threshold ${share(threshold(model))}`),
    band && h("span", {}, h("i", { class: "key-band" }), `review ${share(band.low)} to ${share(band.high)}`),
  );
}

/** The large scale with labels at its ends and a legend. */
export function scale(score, model, kind) {
  const negative = model.labels.find((label) => label !== model.positive);
  const ends = [plainName(negative, model), plainName(model.positive, model)];
  return h(
    "figure",
    { class: "scale" },
    h("div", { class: "scale-ends", "aria-hidden": "true" }, h("span", {}, ends[0]), h("span", {}, ends[1])),
    track(score, model, kind),
    h(
      "div",
      { class: "scale-ticks", "aria-hidden": "true" },
      ["0", "25", "50", "75", "100%"].map((tick) => h("span", {}, tick)),
    ),
    key(model),
  );
}

/** Probability of every label, most likely first; for many labels with the limit below which people decide. */
export function labelBars(probabilities, model) {
  const line = isBinary(model) ? null : reviewBand(model);
  const rows = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
  return h(
    "div",
    { class: "label-bars" },
    h(
      "dl",
      {},
      rows.map(([label, probability]) =>
        h(
          "div",
          { class: "label-bar" },
          h("dt", {}, plainName(label, model)),
          h(
            "dd",
            {},
            h(
              "span",
              { class: "meter", "aria-hidden": "true", vars: { "--at": probability } },
              line && h("span", { class: "cut", vars: { "--at": line.high } }),
            ),
            percent(probability),
          ),
        ),
      ),
    ),
    line &&
      h(
        "p",
        { class: "quiet scale-key" },
        h("span", {}, h("i", { class: "key-cut" }), `below ${percent(line.high)}: review`),
      ),
  );
}
