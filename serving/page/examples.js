/** Texts to start from, with what people hold them to be, as the model's bundle gives them. */

/** Groups of examples of a model, each with a title and rows. */
export const examplesOf = (model) => model.page?.examples ?? [];

/** The example with exactly this text, or undefined. */
export const findExample = (text, model) =>
  examplesOf(model)
    .flatMap(({ rows }) => rows)
    .find((row) => row.text === text);
