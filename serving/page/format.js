/** Numbers, dates and names as people read them. */

const whole = new Intl.NumberFormat("en");

export const count = (number) => whole.format(number);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** A probability in percent, never a rounded 0 or 100. */
export function percent(probability) {
  if (probability > 0.999 && probability < 1) return ">99.9%";
  if (probability < 0.001 && probability > 0) return "<0.1%";
  return `${(probability * 100).toFixed(1)}%`;
}

/** A number between 0 and 1 with two digits. */
export const share = (number) => number.toFixed(2);

export const signed = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(2)}`;

/** Seconds left, coarse on purpose. */
export function duration(seconds) {
  if (seconds < 1.5) return "about a second";
  if (seconds < 90) return `about ${Math.round(seconds)} seconds`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} minutes`;
  return `about ${(seconds / 3600).toFixed(1)} hours`;
}

export function when(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return String(iso);
  return date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }) + " UTC";
}

/** Characters as the service counts them: code points, not UTF-16 units. */
export function characters(text) {
  let number = 0;
  for (const _ of text) number += 1;
  return number;
}
