/** Example texts with the labels that people gave them, from the model's bundle. */

/** Groups of examples of a model, each with a title and rows. */
export const examplesOf = (model) => model.page?.examples ?? [];

/** The example with exactly this text, or undefined. */
export const findExample = (text, model) =>
  examplesOf(model)
    .flatMap(({ rows }) => rows)
    .find((row) => row.text === text);
