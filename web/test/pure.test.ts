import { expect, test } from "vitest";
import { highlight } from "../src/lib/highlight";
import { renderBlocks } from "../src/lib/markdown";
import { linePath, niceMaximum, parseMetrics, Recorder, sum } from "../src/lib/metrics";
import { completionBody, SettingError } from "../src/lib/request";
import { EventParser } from "../src/lib/sse";
import { branch, newestLeaf, siblings } from "../src/lib/tree";
import { noSampling, type Chat, type Message } from "../src/lib/types";

const html = (source: string) => renderBlocks(source).join("");

function message(id: string, parent: string | null, more: Partial<Message> = {}): Message {
  return { id, parent, chat: "c", created: Number(id.replace(/\D/g, "")), role: "user", content: id, status: "done", ...more };
}

function chat(more: Partial<Chat> = {}): Chat {
  return { id: "c", title: "", created: 0, updated: 0, leaf: null, system: "", model: "", sampling: { ...noSampling }, ...more };
}

test("events are the same however their bytes are cut", () => {
  const stream = "id: 1\ndata: a\ndata: b\n\n: comment\r\n\r\nid: 2\r\ndata:{}\r\n\r\ndata: rest";
  const expected = [{ id: "1", data: "a\nb" }, { id: "2", data: "{}" }];
  for (let cut = 0; cut <= stream.length; ++cut) {
    const parser = new EventParser();
    expect([...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))]).toEqual(expected);
  }
});

test("a branch is the way from the first message to the leaf, and a circle ends", () => {
  const all = new Map([message("1", null), message("2", "1"), message("3", "1"), message("4", "3")].map((m) => [m.id, m]));
  expect(branch(all, "4").map((m) => m.id)).toEqual(["1", "3", "4"]);
  expect(siblings(all, all.get("3")!).map((m) => m.id)).toEqual(["2", "3"]);
  expect(newestLeaf(all, "1")).toBe("4");
  expect(newestLeaf(all, "2")).toBe("2");
  const circle = new Map([message("1", "2"), message("2", "1")].map((m) => [m.id, m]));
  expect(branch(circle, "1")).toHaveLength(2);
  expect(["1", "2"]).toContain(newestLeaf(circle, "1"));
});

test("what settings leave empty is not sent", () => {
  const body = completionBody(chat(), [message("1", null)], "m");
  expect(body).toEqual({
    model: "m", stream: true, stream_options: { include_usage: true }, return_progress: true,
    messages: [{ role: "user", content: "1" }],
  });
});

test("settings are sent as numbers and JSON, and mistakes in them are told", () => {
  const sampling = { ...noSampling, temperature: "0.5", seed: "7", schema: `{"type":"object"}`, tools: "[]" };
  const body = completionBody(chat({ system: "Be brief.", sampling }), [], "m");
  expect(body).toMatchObject({
    temperature: 0.5, seed: 7, tools: [], messages: [{ role: "system", content: "Be brief." }],
    response_format: { type: "json_schema", json_schema: { schema: { type: "object" } } },
  });
  const bad = (more: object) => () => completionBody(chat({ sampling: { ...noSampling, ...more } }), [], "m");
  expect(bad({ top_p: "high" })).toThrow("top_p is no number: high");
  expect(bad({ schema: "{" })).toThrow(SettingError);
});

test("calls and their results go back to the model as they came", () => {
  const calls = [{ id: "x", name: "f", arguments: "{}" }];
  const path = [message("1", null, { role: "assistant", content: "", calls }), message("2", "1", { role: "tool", callId: "x" })];
  expect(completionBody(chat(), path, "m")).toMatchObject({
    messages: [
      { role: "assistant", content: null, tool_calls: [{ id: "x", type: "function", function: { name: "f", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "x", content: "2" },
    ],
  });
});

test("Markdown has code, tables, lists and formulas", () => {
  expect(html("```py\ndef f(): pass\n```")).toContain(`<span class="k">def</span>`);
  expect(html("|a|b|\n|--|-:|\n|1|2|")).toContain(`<td align="right">2</td>`);
  expect(html("1. one\n2. two")).toContain("<li>two</li>");
  expect(html("so $a+b$ and \\(c\\)")).toMatch(/class="tex".*a\+b.*class="tex".*c/);
  expect(html("$$\nx^2\n$$")).toContain(`data-display="true"`);
});

test("sums of money are no formulas", () => {
  expect(html("It costs $5 or $10 a month, $ 3 at least.")).not.toContain("tex");
});

test.each([
  `<script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `[x](javascript:alert(1))`, `![x](https://evil.example/a.png)`,
  `[x](data:text/html,<script>)`, `<a href="https://x" onclick="alert(1)">`, `<svg onload=alert(1)>`, `<style>*{}</style>`,
  "```\"><img src=x onerror=alert(1)>\n```", "$<img src=x onerror=alert(1)>$", `<iframe src="https://evil.example">`,
  `[a]\n\n[a]: javascript:alert(1)`, `<b style="position:fixed">`, `<form action="https://evil.example"><input>`,
])("what a model writes cannot act: %s", (source) => {
  const place = document.createElement("div");
  place.innerHTML = html(source);
  expect(place.querySelector("script, img, svg, style, iframe, form, input, [style]")).toBeNull();
  for (const element of place.querySelectorAll("*")) {
    for (const { name } of element.attributes) expect(name).not.toMatch(/^on/);
    expect(element.getAttribute("href") ?? "https:").toMatch(/^https?:/);
  }
});

test("blocks before the last stay the same while a text grows", () => {
  const source = "First *one*.\n\n```js\nlet a = 1;\n```\n\nLast | one";
  const blocks = renderBlocks(source);
  expect(renderBlocks(source + " goes on").slice(0, -1)).toEqual(blocks.slice(0, -1));
});

test("highlighting changes no character", () => {
  const place = document.createElement("div");
  for (const language of ["python", "js", "sql", "text", "nonesuch"]) {
    const code = `a = "x" # c\nb = 'y\\'' // d -- e\nif (1 < 2.5e3) return None; /* f & <g> */ """h`;
    place.innerHTML = highlight(code, language);
    expect(place.textContent).toBe(code);
  }
});

test("metrics become rates and shares", () => {
  const at = (generated: number, prompt: number, cached: number) =>
    parseMetrics(
      `# HELP x y\nmlxd_generated_tokens_total{model="a\\"b"} ${generated}\nmlxd_prompt_tokens_total{model="a\\"b"} ${prompt}\n` +
        `mlxd_cached_prompt_tokens_total{model="a\\"b"} ${cached}\nmlxd_kv_blocks_used{model="a\\"b"} 5\nmlxd_kv_blocks_total{model="a\\"b"} 20\n`,
    );
  expect(sum(at(3, 0, 0), "mlxd_generated_tokens_total", { model: `a"b` })).toBe(3);
  const recorder = new Recorder();
  expect(recorder.add(at(0, 0, 0), 10, "")).toBeNull();
  expect(recorder.add(at(100, 30, 10), 12, "")).toMatchObject({ generated: 50, prompt: 15, kvUsed: 0.25, hits: 0.25 });
  expect(recorder.add(at(100, 30, 10), 13, "")).toMatchObject({ generated: 0, hits: 0.25 }); // of the last prompts
  expect(recorder.add(at(1, 0, 0), 14, "")).toBeNull(); // started again
});

test("a chart's line ends at the right edge and begins where it is known", () => {
  expect(linePath([0, 5, 10], 3, 10, 100, 50)).toBe("M0.0 50.0L50.0 25.0L100.0 0.0");
  expect(linePath([NaN, 10, 0], 4, 10, 90, 10)).toBe("M60.0 0.0L90.0 10.0");
  expect(linePath([NaN], 4, 10, 90, 10)).toBe("");
  expect([0, 0.3, 1, 1.1, 42, 99].map(niceMaximum)).toEqual([1, 0.5, 1, 2, 50, 100]);
});
