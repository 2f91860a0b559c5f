// What the page knows: the conversations, the one that is open, the answer that is being written,
// and whether the server can be asked. Conversations live in IndexedDB, which tabs share: each
// message is a record of its own, written by one tab, and the others are told that it changed.
import { SvelteMap } from "svelte/reactivity";
import * as api from "./api";
import * as db from "./db";
import { completionBody, SettingError } from "./request";
import { branch, newestLeaf } from "./tree";
import { noSampling, type Chat, type Message } from "./types";

const saveEvery = 400; // milliseconds, of an answer under way
const writerIsGone = 5000; // without a save

export function newId(): string {
  // Not randomUUID: it is missing where the page comes by plain HTTP from another machine.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
}

// Outlives a reload of the tab: what it was writing then was interrupted.
const tab = (sessionStorage["mlxd.tab"] ??= newId()) as string;

type ServerState = "asking" | "ready" | "loading" | "unreachable" | "key";

class Store {
  chats = $state<Chat[]>([]);
  chat = $state<Chat | null>(null);
  messages = new SvelteMap<string, Message>(); // of the open chat
  live = $state<Message | null>(null); // being written by this tab
  progress = $state(0); // of reading its prompt, 0 to 1
  server = $state<ServerState>("asking");
  problem = $state(""); // with the server, in a sentence
  keyProblem = $state("");
  models = $state<api.Model[]>([]);
  notice = $state(""); // for the user, until it is dismissed
  path = $derived(branch(this.messages, this.chat?.leaf ?? null));

  private abort: AbortController | null = null;
  private channel = new BroadcastChannel("mlxd");
  private again: ReturnType<typeof setTimeout> | undefined;

  async start() {
    this.channel.onmessage = (event) => void this.changedElsewhere(event.data.chat, event.data.removed);
    // Saves go out in time where the browser lets them; else the last one before it counts.
    addEventListener("pagehide", () => this.live && void this.saved([], [this.live]));
    const chats = this.reloadChats().catch((error: Error) => {
      this.notice = `The browser keeps no chats here: ${error.message}`;
    });
    await Promise.all([chats, this.connect()]);
  }

  /** Asks for the models, and again until there are some. */
  async connect() {
    clearTimeout(this.again);
    try {
      this.models = await api.listModels();
      this.server = "ready";
      this.problem = this.keyProblem = "";
      if (this.models.length > 0) return;
    } catch (error) {
      this.problem = (error as Error).message;
      const status = error instanceof api.Refused ? error.status : 0;
      if (status === 401) {
        this.keyProblem = api.key.get() ? "The server does not know this key." : "";
        this.server = "key";
        return;
      }
      this.server = status === 503 ? "loading" : "unreachable";
    }
    this.again = setTimeout(() => void this.connect(), 2000);
  }

  generators(): api.Model[] {
    return this.models.filter((model) => model.capabilities.includes("completion"));
  }

  /** The id to ask for: the chat's own choice while the server has it. */
  modelOf(chat: Chat): string {
    const models = this.generators();
    return (models.find((model) => model.id === chat.model) ?? models[0])?.id ?? "default";
  }

  async reloadChats() {
    this.chats = (await db.allChats()).sort((a, b) => b.updated - a.updated);
  }

  async open(id: string | null) {
    const chat = id === null ? null : (this.chats.find((known) => known.id === id) ?? null);
    this.chat = chat ? structuredClone($state.snapshot(chat)) : null;
    this.messages.clear();
    if (chat) await this.readMessages(chat.id);
  }

  private async readMessages(id: string) {
    const messages = await db.messagesOf(id);
    if (this.chat?.id !== id) return; // another was opened meanwhile
    let watched = false;
    for (const message of messages) {
      if (message.id === this.live?.id) continue;
      if (message.status === "writing") {
        if (message.writer === tab || Date.now() - (message.beat ?? 0) > writerIsGone) {
          message.status = "broken";
          message.error = "The page was closed before the answer was complete.";
          await db.save([], [message]);
        } else {
          watched = true;
        }
      }
      this.messages.set(message.id, message);
    }
    if (this.live?.chat === id) this.messages.set(this.live.id, this.live);
    if (watched) setTimeout(() => this.chat?.id === id && void this.readMessages(id), writerIsGone);
  }

  private async changedElsewhere(id: string, removed: boolean) {
    await this.reloadChats();
    if (this.chat?.id !== id) return;
    if (removed) {
      location.hash = "#/";
      return;
    }
    await this.readMessages(id);
    // Who shows the end of a branch goes on showing it.
    const leaf = this.chats.find((chat) => chat.id === id)?.leaf ?? null;
    if (this.live?.chat !== id && branch(this.messages, leaf).some((message) => message.id === this.chat?.leaf)) {
      this.chat!.leaf = leaf;
    }
  }

  /** A conversation that is saved with its first message. */
  newChat() {
    const model = this.chat?.model ?? "";
    const now = Date.now();
    this.messages.clear();
    this.chat = { id: newId(), title: "", created: now, updated: now, leaf: null, system: "", model, sampling: { ...noSampling } };
  }

  async saveChat(messages: Message[] = []) {
    if (!this.chat) return;
    const chat = $state.snapshot(this.chat) as Chat;
    await this.saved([chat], messages);
    this.chats = [chat, ...this.chats.filter((other) => other.id !== chat.id)].sort((a, b) => b.updated - a.updated);
  }

  private async saved(chats: Chat[], messages: Message[]) {
    try {
      await db.save(chats, messages.map((message) => $state.snapshot(message) as Message));
    } catch (error) {
      this.notice = `The browser could not save the conversation: ${(error as Error).message}`;
    }
    this.channel.postMessage({ chat: chats[0]?.id ?? messages[0]?.chat, removed: false });
  }

  async remove(id: string) {
    if (this.live?.chat === id) this.stop();
    await db.removeChat(id);
    this.channel.postMessage({ chat: id, removed: true });
    await this.reloadChats();
    if (this.chat?.id === id) location.hash = "#/";
  }

  private add(message: Omit<Message, "id" | "chat" | "created">): Message {
    const whole: Message = $state({ ...message, id: newId(), chat: this.chat!.id, created: Date.now() });
    this.messages.set(whole.id, whole);
    return whole;
  }

  private async show(leaf: string, messages: Message[]) {
    this.chat!.leaf = leaf;
    this.chat!.updated = Date.now();
    await this.saveChat(messages);
  }

  /** A user's message behind the shown branch, or in the place of `edited` as a branch of its own. */
  async send(content: string, edited?: Message) {
    if (!this.chat) this.newChat();
    const parent = edited ? edited.parent : this.chat!.leaf;
    this.chat!.title ||= content.trim().split("\n")[0].slice(0, 80);
    const message = this.add({ parent, role: "user", content, status: "done" });
    await this.show(message.id, [message]);
    location.hash = `#/chat/${this.chat!.id}`;
    await this.answer(message.id);
  }

  /** The result of a call, given by the user; answered when each call has one. */
  async sendResult(callId: string, content: string) {
    const message = this.add({ parent: this.chat!.leaf, role: "tool", callId, content, status: "done" });
    await this.show(message.id, [message]);
    if (this.openCalls().length === 0) await this.answer(message.id);
  }

  /** Calls of the shown branch that have no result yet. */
  openCalls() {
    const asked = this.path.findLast((message) => message.role === "assistant")?.calls ?? [];
    return asked.filter((call) => !this.path.some((message) => message.callId === call.id));
  }

  async regenerate(message: Message) {
    if (message.parent !== null) await this.answer(message.parent);
  }

  async showBranch(message: Message) {
    await this.show(newestLeaf(this.messages, message.id), []);
  }

  stop() {
    this.abort?.abort();
  }

  private async answer(parent: string) {
    if (this.live || !this.chat) return;
    const chat = this.chat;
    const model = this.modelOf(chat);
    let body: object;
    try {
      body = completionBody(chat, branch(this.messages, parent), model);
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      this.notice = error.message;
      return;
    }
    const answer = this.add({ parent, role: "assistant", content: "", model, status: "writing", writer: tab, beat: Date.now() });
    // Before anything is waited for: whoever sees that an answer is live may stop it.
    this.abort = new AbortController();
    this.live = answer;
    await this.show(answer.id, [answer]);
    this.progress = 0;
    let begun = 0;
    let lastSave = Date.now();
    try {
      for await (const delta of api.streamChat(body, this.abort.signal)) {
        if (!begun && (delta.content || delta.reasoning || delta.calls)) begun = performance.now();
        if (delta.progress) this.progress = delta.progress;
        apply(answer, delta);
        if (begun) answer.seconds = (performance.now() - begun) / 1000;
        if (Date.now() - lastSave > saveEvery) {
          lastSave = answer.beat = Date.now();
          await this.saved([], [answer]);
        }
      }
      if (answer.status === "writing") answer.status = "done";
    } catch (error) {
      if (this.abort.signal.aborted) {
        answer.status = "stopped";
      } else {
        answer.status = "broken";
        answer.error = (error as Error).message;
        if (error instanceof api.Unreachable || (error instanceof api.Refused && error.status === 401)) void this.connect();
      }
    }
    this.live = this.abort = null;
    await this.saved([], [answer]);
  }
}

function apply(message: Message, delta: api.Delta) {
  if (delta.content) message.content += delta.content;
  if (delta.reasoning) message.reasoning = (message.reasoning ?? "") + delta.reasoning;
  for (const part of delta.calls ?? []) {
    message.calls ??= [];
    const call = (message.calls[part.index] ??= { id: part.id ?? newId(), name: "", arguments: "" });
    if (part.name) call.name += part.name;
    if (part.arguments) call.arguments += part.arguments;
  }
  if (delta.finish === "length") message.status = "length";
  if (delta.usage) {
    message.tokens = delta.usage.completion;
    message.promptTokens = delta.usage.prompt;
    message.cachedTokens = delta.usage.cached;
  }
}

export const store = new Store();
