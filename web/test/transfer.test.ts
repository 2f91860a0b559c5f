import { expect, test, vi } from "vitest";

vi.mock("../src/lib/store.svelte", () => {
  let made = 0;
  return { newId: () => `new${++made}` };
});
const { readExport } = await import("../src/lib/transfer");

const file = (chats: unknown, messages: unknown) => JSON.stringify({ format: "mlxd-chats-1", chats, messages });

test("what was exported comes back, under new ids that hang together", () => {
  const { chats, messages } = readExport(
    file([{ id: "c", title: "T", leaf: "b" }], [
      { id: "a", chat: "c", parent: null, role: "user", content: "Hi", status: "done" },
      { id: "b", chat: "c", parent: "a", role: "assistant", content: "Hello", status: "writing" },
    ]),
  );
  expect(chats).toHaveLength(1);
  expect(chats[0]).toMatchObject({ title: "T", leaf: messages[1].id, sampling: { temperature: "" } });
  expect(messages[1]).toMatchObject({ chat: chats[0].id, parent: messages[0].id, content: "Hello", status: "broken" });
  expect(messages[0].id).not.toBe("a");
});

test("a file that is none of ours is refused with a reason", () => {
  expect(() => readExport("nonsense")).toThrow("it is not JSON");
  expect(() => readExport(`{"a": 1}`)).toThrow("it was not exported by this page");
  expect(() => readExport("null")).toThrow("it was not exported by this page");
});

test("fields of another type, roles and chats that there are not, are left out", () => {
  const { chats, messages } = readExport(
    file([{ id: "c", title: 5, sampling: { temperature: {}, seed: "3", evil: "x" } }, null, "x"], [
      { id: "a", chat: "c", role: "system", content: "x" },
      { id: "b", chat: "elsewhere", role: "user", content: "x" },
      { id: "d", chat: "c", role: "user", content: { toString: 1 }, calls: [{ name: 4 }, 7] },
    ]),
  );
  expect(chats).toHaveLength(1);
  expect(chats[0].title).toBe("");
  expect(chats[0].sampling).toMatchObject({ temperature: "", seed: "3" });
  expect(chats[0].sampling).not.toHaveProperty("evil");
  expect(messages.map((message) => message.content)).toEqual([""]);
});
