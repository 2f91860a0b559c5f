// The server, asked by relative addresses: the page may lie behind a prefix.
import { EventParser } from "./sse";

export interface Model {
  id: string;
  context_length: number;
  capabilities: string[];
}

export interface Delta {
  content?: string;
  reasoning?: string;
  calls?: { index: number; id?: string; name?: string; arguments?: string }[];
  finish?: string;
  progress?: number; // of reading the prompt, 0 to 1
  usage?: { prompt: number; completion: number; cached: number };
}

/** The server refused; `status` is HTTP's. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The server was not reached, or went away in the middle of an answer. */
export class Unreachable extends Error {}

const keyName = "mlxd.key";

export const key = {
  get: () => sessionStorage.getItem(keyName) ?? localStorage.getItem(keyName) ?? "",
  /** For this tab alone, or until it is forgotten. */
  set(value: string, remember: boolean) {
    key.forget();
    (remember ? localStorage : sessionStorage).setItem(keyName, value);
  },
  forget() {
    sessionStorage.removeItem(keyName);
    localStorage.removeItem(keyName);
  },
};

async function refusal(response: Response): Promise<Refused> {
  const text = await response.text().catch(() => "");
  try {
    const message = JSON.parse(text).error.message;
    if (typeof message === "string") return new Refused(response.status, message);
  } catch {
    // Not the server's own: a proxy's, say.
  }
  return new Refused(response.status, `The server answered ${response.status} ${response.statusText}`.trim());
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key.get()) headers.set("Authorization", `Bearer ${key.get()}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable("The server cannot be reached. Is mlxd still running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function listModels(): Promise<Model[]> {
  return (await (await ask("v1/models")).json()).data;
}

/** Of a model, for the server's administrator. */
export interface ModelState {
  id: string;
  state: "unloaded" | "loading" | "loaded" | "unloading" | "failed";
  bytes: number;
  /** While it is loading, 0 to 1. */
  progress?: number;
  failure?: string;
}

export async function modelStates(): Promise<ModelState[]> {
  return (await (await ask("v1/admin/models")).json()).models;
}

/** Returns when it is done. */
export async function changeModel(model: string, what: "load" | "unload"): Promise<void> {
  const body = JSON.stringify({ model });
  await ask(`v1/admin/models/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
}

export async function serverVersion(): Promise<string> {
  return (await (await ask("version")).json()).version;
}

export async function scrape(): Promise<string> {
  return (await ask("metrics")).text();
}

export function deltaOf(chunk: any): Delta {
  if (chunk.error) throw new Refused(chunk.error.status ?? 500, chunk.error.message ?? "The server failed.");
  const choice = chunk.choices?.[0];
  const delta: Delta = {};
  if (choice?.delta?.content) delta.content = choice.delta.content;
  const reasoning = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning;
  if (reasoning) delta.reasoning = reasoning;
  if (choice?.delta?.tool_calls) {
    delta.calls = choice.delta.tool_calls.map((call: any) => ({ index: call.index, id: call.id, ...call.function }));
  }
  if (chunk.prompt_progress) delta.progress = chunk.prompt_progress.processed / chunk.prompt_progress.total;
  if (choice?.finish_reason) delta.finish = choice.finish_reason;
  if (chunk.usage) {
    delta.usage = {
      prompt: chunk.usage.prompt_tokens,
      completion: chunk.usage.completion_tokens,
      cached: chunk.usage.prompt_tokens_details?.cached_tokens ?? 0,
    };
  }
  return delta;
}

/**
 * An answer's deltas, in order. Where the server keeps streams (--resume-seconds), a connection that
 * breaks is taken up where it broke. Throws Refused, Unreachable, or AbortError for `signal`.
 */
export async function* streamChat(body: object, signal: AbortSignal): AsyncGenerator<Delta> {
  let lastId = "";
  for (let attempt = 0; ; ++attempt) {
    try {
      const headers: Record<string, string> = { "Content-Type": "application/json" };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const init = { method: "POST", headers, body: JSON.stringify(body), signal };
      const reader = (await ask("v1/chat/completions", init)).body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Unreachable("The connection ended before the answer did.");
        for (const event of parser.push(value)) {
          if (event.data === "[DONE]") return;
          if (event.id) lastId = event.id;
          attempt = 0;
          yield deltaOf(JSON.parse(event.data));
        }
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
      if (!lastId || attempt >= 3) {
        throw new Unreachable("The connection to the server was lost; what had arrived is kept.");
      }
      await new Promise((resolve) => setTimeout(resolve, 300 * 2 ** attempt));
    }
  }
}
