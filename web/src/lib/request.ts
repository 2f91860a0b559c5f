// A chat completion's body, out of a conversation and what its settings say.
import type { Chat, Message } from "./types";

export class SettingError extends Error {}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SettingError(`${what} is not JSON: ${(error as Error).message}`);
  }
}

function wireMessage(message: Message): object {
  if (message.role === "tool") {
    return { role: "tool", tool_call_id: message.callId, content: message.content };
  }
  if (!message.calls?.length) return { role: message.role, content: message.content };
  return {
    role: message.role,
    content: message.content || null,
    tool_calls: message.calls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: call.arguments },
    })),
  };
}

/** Throws SettingError, whose message is for the user. */
export function completionBody(chat: Chat, path: Message[], model: string): object {
  const body: Record<string, unknown> = {
    model,
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
    messages: [
      ...(chat.system.trim() ? [{ role: "system", content: chat.system }] : []),
      ...path.map(wireMessage),
    ],
  };
  const { schema, tools, ...numbers } = chat.sampling;
  for (const [name, text] of Object.entries(numbers)) {
    if (text.trim() === "") continue;
    const value = Number(text);
    if (!Number.isFinite(value)) throw new SettingError(`${name} is no number: ${text}`);
    body[name] = value;
  }
  if (schema.trim()) {
    body.response_format = {
      type: "json_schema",
      json_schema: { name: "answer", schema: parse(schema, "The JSON schema") },
    };
  }
  if (tools.trim()) body.tools = parse(tools, "The list of tools");
  return body;
}
