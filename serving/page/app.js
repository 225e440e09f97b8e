/** Starts the page: views, the service's description of itself, and retries if it does not answer. */
import { ApiError, getInfo } from "./api.js";
import { openBatch, wireBatch } from "./batch.js";
import { byId, h, setBanner } from "./dom.js";
import { defaultModel, readInfo } from "./info.js";
import { openModel, syntheticBadge, warningsOf } from "./model.js";
import { openSingle, read, wireSingle } from "./single.js";
import { modelName } from "./task.js";

const VIEWS = ["one", "many", "model"];
const FIRST_RETRY_S = 2;
const LONGEST_RETRY_S = 30;

function showView(view, { focus = false } = {}) {
  for (const name of VIEWS) {
    const chosen = name === view;
    byId(`panel-${name}`).hidden = !chosen;
    byId(`tab-${name}`).setAttribute("aria-selected", String(chosen));
    byId(`tab-${name}`).tabIndex = chosen ? 0 : -1;
  }
  if (focus) byId(`tab-${view}`).focus();
  if (location.hash !== `#${view}`) history.replaceState(null, "", `#${view}`);
}

function moveTab(event, view) {
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  const at = VIEWS.indexOf(view);
  let to = steps[event.key] ? (at + steps[event.key] + VIEWS.length) % VIEWS.length : -1;
  if (event.key === "Home") to = 0;
  if (event.key === "End") to = VIEWS.length - 1;
  if (to < 0) return;
  event.preventDefault();
  showView(VIEWS[to], { focus: true });
}

function wireViews() {
  for (const view of VIEWS) {
    byId(`tab-${view}`).addEventListener("click", () => showView(view));
    byId(`tab-${view}`).addEventListener("keydown", (event) => moveTab(event, view));
  }
  const fromAddress = () => {
    if (VIEWS.includes(location.hash.slice(1))) showView(location.hash.slice(1));
  };
  window.addEventListener("hashchange", fromAddress);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  fromAddress();
}

function showServing(info) {
  const model = defaultModel(info);
  const more = info.models.length - 1;
  document.title = [model.name, "evenodd"].filter(Boolean).join(" · ");
  byId("serving").replaceChildren(
    h("span", {}, [model.name, modelName(model)].filter(Boolean).join(" · ") + (more ? ` and ${more} more` : "")),
    info.models.some(({ data }) => data?.synthetic) ? syntheticBadge() : "",
  );
}

function showWarning(info) {
  const [first, ...more] = warningsOf(defaultModel(info));
  if (!first) return setBanner("");
  const rest = more.length ? ` And ${more.length} more.` : "";
  return setBanner(`Not fit to decide on its own: ${first}${rest}`, { name: "What that means", run: () => showView("model", { focus: true }) });
}

function start(info) {
  showWarning(info);
  showServing(info);
  openSingle(info);
  openBatch(info);
  openModel(info);
}

async function load(attempt = 1) {
  try {
    const info = readInfo(await getInfo());
    if (!info.models.length) throw new ApiError("server", "The service names no model.");
    start(info);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const seconds = Math.min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (attempt - 1));
    byId("serving").textContent = "Not connected";
    const timer = setTimeout(() => load(attempt + 1), seconds * 1000);
    setBanner(`${error.message} Trying again in ${seconds} s.`, {
      name: "Try now",
      run: () => {
        clearTimeout(timer);
        load(attempt);
      },
    });
  }
}

wireViews();
wireSingle();
wireBatch((text) => {
  showView("one");
  read(text);
  byId("one-text").focus();
});
load();
