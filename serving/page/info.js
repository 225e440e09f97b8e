/** The content of /info, in the form that the page uses. */

function checked(model) {
  const labels = model.labels ?? [];
  return { ...model, labels, positive: labels.includes(model.positive) ? model.positive : null };
}

/**
 * @param {object} answer body of /info
 * @returns {{models: object[], default: string, corrections: boolean, limits: {texts: number, characters?: number, bytes?: number}}}
 */
export function readInfo(answer) {
  const models = (answer.variants ?? answer.models ?? (answer.model ? [answer.model] : [])).map(checked);
  const limits = answer.limits ?? {};
  return {
    models,
    default: answer.default ?? answer.model?.variant ?? models[0]?.variant,
    corrections: answer.corrections === true,
    limits: {
      texts: limits.texts ?? 256,
      characters: limits.chars ?? limits.characters,
      bytes: limits.body_bytes ?? limits.bytes,
    },
  };
}

/** The model that answers by default. */
export const defaultModel = (info) => info.models.find(({ variant }) => variant === info.default) ?? info.models[0];

/** The `variant` of a request: none if there is only one. */
export const variantField = (info, model) => (info.models.length > 1 ? model.variant : undefined);
