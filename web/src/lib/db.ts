// Conversations in the browser's own database. Nothing of them is kept by the server.
import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { Chat, Message } from "./types";

interface Schema extends DBSchema {
  chats: { key: string; value: Chat };
  messages: { key: string; value: Message; indexes: { chat: string } };
}

let opened: Promise<IDBPDatabase<Schema>> | undefined;

function database() {
  opened ??= openDB<Schema>("mlxd", 1, {
    upgrade(db) {
      db.createObjectStore("chats", { keyPath: "id" });
      db.createObjectStore("messages", { keyPath: "id" }).createIndex("chat", "chat");
    },
  });
  return opened;
}

export async function allChats(): Promise<Chat[]> {
  return (await database()).getAll("chats");
}

export async function messagesOf(chat: string): Promise<Message[]> {
  return (await database()).getAllFromIndex("messages", "chat", chat);
}

export async function allMessages(): Promise<Message[]> {
  return (await database()).getAll("messages");
}

export async function save(chats: Chat[], messages: Message[]): Promise<void> {
  const transaction = (await database()).transaction(["chats", "messages"], "readwrite");
  for (const chat of chats) void transaction.objectStore("chats").put(chat);
  for (const message of messages) void transaction.objectStore("messages").put(message);
  await transaction.done;
}

export async function removeChat(id: string): Promise<void> {
  const transaction = (await database()).transaction(["chats", "messages"], "readwrite");
  void transaction.objectStore("chats").delete(id);
  for (const key of await transaction.objectStore("messages").index("chat").getAllKeys(id)) {
    void transaction.objectStore("messages").delete(key);
  }
  await transaction.done;
}
