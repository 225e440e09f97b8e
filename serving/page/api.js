/** The service's API: JSON in, JSON out, one class of errors, and retries while the service is busy. */

const BUSY = new Set([429, 502, 503, 504]);
const TRIES = 6;
const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 10;
const LONGEST_ANSWER_S = 90;

/** kind: `input` (the request is invalid, see field), `busy`, `unreachable`, `server`, `cancelled`. */
export class ApiError extends Error {
  constructor(kind, message, { status = 0, field = null } = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.field = field;
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new ApiError("cancelled", "Cancelled."));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function waitSeconds(response, attempt) {
  const asked = Number.parseFloat(response.headers.get("retry-after") ?? "");
  const doubling = FIRST_WAIT_S * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
  return Math.min(Number.isFinite(asked) ? Math.max(asked, 0.1) : doubling, LONGEST_WAIT_S);
}

async function faultOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    /* not JSON: the status is enough */
  }
  const said = [body.error, body.message, body.detail].find((text) => typeof text === "string" && text);
  const kind = response.status < 500 && !BUSY.has(response.status) ? "input" : "server";
  const message = said ?? `The service answered ${response.status} ${response.statusText}`.trim() + ".";
  return new ApiError(kind, message, { status: response.status, field: body.field ?? null });
}

async function send(path, { body, signal }) {
  const timeout = AbortSignal.timeout(LONGEST_ANSWER_S * 1000);
  try {
    return await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      cache: "no-store",
    });
  } catch {
    if (signal?.aborted) throw new ApiError("cancelled", "Cancelled.");
    const late = `No answer within ${LONGEST_ANSWER_S} seconds.`;
    throw new ApiError("unreachable", timeout.aborted ? late : "The service cannot be reached.");
  }
}

async function decoded(response, signal) {
  try {
    return await response.json();
  } catch {
    if (signal?.aborted) throw new ApiError("cancelled", "Cancelled.");
    throw new ApiError("server", "The service's answer is incomplete. Try again.");
  }
}

/**
 * Sends a request, and retries while the service is busy.
 * @param {string} path relative to the page
 * @param {{body?: object, signal?: AbortSignal, onWait?: (wait: {attempt: number, tries: number, seconds: number}) => void}} options
 * @returns {Promise<any>} the decoded response
 * @throws {ApiError}
 */
export async function request(path, options = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await send(path, options);
    if (response.ok) return decoded(response, options.signal);
    if (!BUSY.has(response.status)) throw await faultOf(response);
    if (attempt === TRIES)
      throw new ApiError("busy", "The service is busy. Try again in a moment.", { status: response.status });
    const seconds = waitSeconds(response, attempt);
    options.onWait?.({ attempt, tries: TRIES, seconds });
    await pause(seconds, options.signal);
  }
}

const withVariant = (body, variant) => (variant ? { ...body, variant } : body);

export const getInfo = (options) => request("info", options);

export const classify = (texts, variant, options) =>
  request("classify", { ...options, body: withVariant({ texts }, variant) });

export const explain = (text, variant, options) =>
  request("explain", { ...options, body: withVariant({ text }, variant) });

export const correct = (correction, options) => request("corrections", { ...options, body: correction });
