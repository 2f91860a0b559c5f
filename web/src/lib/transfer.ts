// Conversations to a file and back. A file is untrusted: it is taken apart field by field.
import * as db from "./db";
import { newId } from "./store.svelte";
import { noSampling, type Chat, type Message, type Sampling, type Status, type ToolCall } from "./types";

const format = "mlxd-chats-1";

export async function exportAll(): Promise<void> {
  const text = JSON.stringify({ format, chats: await db.allChats(), messages: await db.allMessages() }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `mlxd-chats-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** How many chats it had. They come beside those that there are, whatever their ids. */
export async function importFile(text: string): Promise<number> {
  const { chats, messages } = readExport(text);
  await db.save(chats, messages);
  return chats.length;
}

const text = (value: unknown) => (typeof value === "string" ? value : "");
const time = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : Date.now());
const count = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
const items = (value: unknown) => (Array.isArray(value) ? value : []).filter((item) => item !== null && typeof item === "object");

/** What an exported file holds, under new ids. Throws an Error whose message is for the user. */
export function readExport(file: string): { chats: Chat[]; messages: Message[] } {
  let parsed: any;
  try {
    parsed = JSON.parse(file);
  } catch {
    throw new Error("it is not JSON");
  }
  if (parsed?.format !== format) throw new Error("it was not exported by this page");
  const ids = new Map<string, string>();
  const renamed = (id: unknown) => {
    if (!ids.has(text(id))) ids.set(text(id), newId());
    return ids.get(text(id))!;
  };
  const chats = items(parsed.chats).map((chat): Chat => ({
    id: renamed(chat.id),
    title: text(chat.title),
    created: time(chat.created),
    updated: time(chat.updated),
    leaf: chat.leaf ? renamed(chat.leaf) : null,
    system: text(chat.system),
    model: text(chat.model),
    sampling: Object.fromEntries(
      Object.keys(noSampling).map((name) => [name, text(chat.sampling?.[name])]),
    ) as unknown as Sampling,
  }));
  const known = new Set(chats.map((chat) => chat.id));
  const roles = ["user", "assistant", "tool"];
  const states = ["done", "stopped", "broken", "length"];
  const messages = items(parsed.messages)
    .filter((message) => roles.includes(message.role) && known.has(renamed(message.chat)))
    .map((message): Message => ({
      id: renamed(message.id),
      chat: renamed(message.chat),
      parent: message.parent ? renamed(message.parent) : null,
      created: time(message.created),
      role: message.role,
      content: text(message.content),
      reasoning: text(message.reasoning) || undefined,
      calls: items(message.calls).map((call): ToolCall => ({ id: text(call.id), name: text(call.name), arguments: text(call.arguments) })),
      callId: text(message.callId) || undefined,
      status: (states.includes(message.status) ? message.status : "broken") as Status,
      error: text(message.error) || undefined,
      model: text(message.model) || undefined,
      tokens: count(message.tokens),
      promptTokens: count(message.promptTokens),
      cachedTokens: count(message.cachedTokens),
      seconds: count(message.seconds),
    }));
  return { chats, messages };
}
