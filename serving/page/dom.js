/** Builds elements without markup in strings: a text can never become HTML. */

function setProperty(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "vars") {
    for (const [key, number] of Object.entries(value)) node.style.setProperty(key, String(number));
  } else if (name.startsWith("on")) {
    node.addEventListener(name.slice(2).toLowerCase(), value);
  } else {
    node.setAttribute(name, value === true ? "" : String(value));
  }
}

/** An element with attributes, listeners (`onClick`), custom properties (`vars`) and children. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) setProperty(node, name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One of the symbols in index.html; decoration only: the words next to it carry the meaning. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Announces a sentence to screen readers, even if it is the same as the last one. */
export function announce(sentence) {
  const live = byId("live");
  live.textContent = "";
  requestAnimationFrame(() => {
    live.textContent = sentence;
  });
}

/** Shows an error below a field and links it to the field; an empty message removes it. */
export function setFault(field, place, message) {
  place.textContent = message;
  place.hidden = !message;
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** A status line across the page, with a button if there is something to do. */
export function setBanner(message, action = null) {
  const banner = byId("banner");
  banner.hidden = !message;
  banner.replaceChildren(...(message ? [h("span", {}, message)] : []));
  if (message && action)
    banner.append(h("button", { type: "button", class: "plain", onClick: action.run }, action.name));
}
