/** Sends many texts in chunks: two requests in flight, chunks that grow with the speed of the service. */
import { ApiError } from "./api.js";
import { characters, count, plural } from "./format.js";

const LANES = 2;
const FIRST_CHUNK = 16;
const QUICK_MS = 600;
const SLOW_MS = 2500;
const ROW_AT_FAULT = new Set([400, 413, 422]);
const encoder = new TextEncoder();

/** Why a text cannot be sent, or null. */
export function unreadable(text, limits) {
  if (!text.trim()) return "empty text";
  const most = limits?.characters;
  const length = most && text.length > most ? characters(text) : 0;
  return length > most ? `${plural(length, "character")}, at most ${count(most)}` : null;
}

const bytesOf = (text) => encoder.encode(JSON.stringify(text)).length + 1;

/** Takes up to `size` rows off the queue, within the service's limit on a body. */
function takeChunk(queue, size, limits) {
  const room = (limits?.bytes ?? 1_000_000) - 1024;
  const chunk = [queue.shift()];
  let bytes = bytesOf(chunk[0].text);
  while (queue.length && chunk.length < size) {
    bytes += bytesOf(queue[0].text);
    if (bytes > room) break;
    chunk.push(queue.shift());
  }
  return chunk;
}

/**
 * Classifies rows and writes each one's `answer` or `error` into it.
 *
 * A chunk that the service refuses as bad input is halved until only the invalid row is left. Rows that already have an
 * answer or an error are skipped, so that a stopped run can be resumed.
 *
 * @param {{text: string, answer?: object, error?: string}[]} rows
 * @param {{ask: (texts: string[], signal: AbortSignal) => Promise<object[]>, limits: object, signal: AbortSignal, onProgress: () => void}} options
 *   ask returns one answer for each text, in order
 * @throws {ApiError} unreachable, busy, server or cancelled; the rows done so far keep their answers
 */
export async function runBatch(rows, { ask, limits, signal, onProgress }) {
  const halt = new AbortController();
  const stop = AbortSignal.any([signal, halt.signal]);
  const queue = rows.filter((row) => !row.answer && !row.error);
  const parts = [];
  let size = Math.min(FIRST_CHUNK, limits?.texts ?? FIRST_CHUNK);

  const settle = (chunk, answers) => {
    if (answers.length !== chunk.length)
      throw new ApiError("server", `The service gave ${answers.length} results for ${chunk.length} texts.`);
    chunk.forEach((row, index) => {
      row.answer = answers[index];
    });
  };
  const refuse = (chunk, error) => {
    if (!ROW_AT_FAULT.has(error.status) || error.field === "variant") throw error;
    if (chunk.length === 1) chunk[0].error = error.message;
    else parts.push(chunk.slice(0, chunk.length >> 1), chunk.slice(chunk.length >> 1));
  };
  const pace = (milliseconds) => {
    if (milliseconds < QUICK_MS) size = Math.min(size * 2, limits?.texts ?? 256);
    else if (milliseconds > SLOW_MS) size = Math.max(size >> 1, 4);
  };
  const lane = async () => {
    while (parts.length || queue.length) {
      const chunk = parts.pop() ?? takeChunk(queue, size, limits);
      const began = performance.now();
      try {
        settle(
          chunk,
          await ask(
            chunk.map(({ text }) => text),
            stop,
          ),
        );
        pace(performance.now() - began);
      } catch (error) {
        refuse(chunk, error);
      }
      onProgress();
    }
  };
  const lanes = await Promise.allSettled(
    Array.from({ length: LANES }, () =>
      lane().catch((error) => {
        halt.abort();
        throw error;
      }),
    ),
  );
  const faults = lanes.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  if (signal.aborted) throw new ApiError("cancelled", "Cancelled.");
  if (faults.length) throw faults.find((fault) => fault.kind !== "cancelled") ?? faults[0];
}
