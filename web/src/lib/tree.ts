// Conversations as trees: who follows whom, and which branch is shown.
import type { Message } from "./types";

/** From the first message to `leaf`. */
export function branch(messages: Map<string, Message>, leaf: string | null): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>(); // imported files may hold circles
  for (let id = leaf; id !== null && !seen.has(id); ) {
    const message = messages.get(id);
    if (!message) break;
    seen.add(id);
    path.push(message);
    id = message.parent;
  }
  return path.reverse();
}

/** The alternatives at a message's place, itself among them, oldest first. */
export function siblings(messages: Map<string, Message>, message: Message): Message[] {
  return [...messages.values()]
    .filter((other) => other.parent === message.parent)
    .sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
}

/** Where a branch through `id` ends: the newest answer of each message in turn. */
export function newestLeaf(messages: Map<string, Message>, id: string): string {
  const children = new Map<string, Message>();
  for (const message of messages.values()) {
    if (message.parent === null) continue;
    const newest = children.get(message.parent);
    if (!newest || newest.created <= message.created) children.set(message.parent, message);
  }
  const seen = new Set<string>();
  while (!seen.has(id)) {
    seen.add(id);
    const next = children.get(id);
    if (!next) break;
    id = next.id;
  }
  return id;
}
