// Vercel's AI SDK by each of its ways to a server. Usage: node ai_sdk.mjs URL MODEL, of a scripted
// server (tests/conformance/clients/script.json).
import assert from "node:assert/strict";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [url, model] = process.argv.slice(2);
const providers = {
  "openai-compatible": createOpenAICompatible({ name: "mlxd", baseURL: `${url}/v1`,
    includeUsage: true, supportsStructuredOutputs: true }),
  anthropic: createAnthropic({ baseURL: `${url}/v1`, apiKey: "none" }),
  openai: createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" }),
};
const tools = {
  get_weather: tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `22 degrees and sunny in ${city}`,
  }),
};
const person = z.object({ name: z.string(), age: z.number().int() });

for (const [name, provider] of Object.entries(providers)) {
  const request = { model: provider(model), prompt: "What is the capital of France?" };
  const told = { maxRetries: 0 };

  const plain = await generateText({ ...request, ...told });
  assert.equal(plain.text, "The capital of France is Paris.", name);
  assert.equal(plain.finishReason, "stop");
  assert.ok(plain.usage.inputTokens > 10 && plain.usage.outputTokens > 5, name);

  const stream = streamText({ ...request, ...told });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  assert.equal(text, plain.text, name);
  assert.equal((await stream.usage).outputTokens, plain.usage.outputTokens, name);
  assert.equal((await stream.usage).inputTokens, plain.usage.inputTokens, name);

  const asked = { ...request, ...told, tools, stopWhen: stepCountIs(3), prompt: "What is the weather in Paris?" };
  const called = await generateText(asked);
  assert.deepEqual(called.steps.map((step) => step.finishReason), ["tool-calls", "stop"], name);
  assert.deepEqual(called.steps[0].toolCalls[0].input, { city: "Paris" }, name);
  assert.equal(called.text, "It is sunny in Paris: 22 °C.", name);

  const streamed = streamText(asked);
  const parts = [];
  for await (const part of streamed.fullStream) parts.push(part.type);
  assert.ok(parts.includes("tool-input-delta") && parts.includes("tool-result"), name);
  assert.equal(await streamed.text, called.text, name);

  const forced = await generateText({ ...asked, stopWhen: stepCountIs(1), toolChoice: "required" });
  assert.equal(forced.toolCalls[0].toolName, "get_weather", name);

  const held = await generateText({
    ...request, ...told, output: Output.object({ schema: person }), prompt: "Who is Jane? She is 54.",
  });
  assert.deepEqual(held.output, { name: "Jane", age: 54 }, name);

  await assert.rejects(generateText({ ...request, ...told, model: provider("nobody") }), (error) => {
    assert.ok(APICallError.isInstance(error), name);
    assert.equal(error.statusCode, 404, name);
    assert.match(error.message, /nobody/, name);
    return true;
  });
}
console.log("ok");
