// The Responses API with the official Node client. Usage: node responses.mjs URL MODEL
import assert from "node:assert/strict";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const request = {
  model, temperature: 0, max_output_tokens: 12, input: "Name the capital of France.",
};

const answer = await client.responses.create(request);
assert.match(answer.output_text, /Paris/);

let text = "";
const types = [];
for await (const event of await client.responses.create({ ...request, stream: true })) {
  assert.equal(event.sequence_number, types.length);
  types.push(event.type);
  if (event.type === "response.output_text.delta") text += event.delta;
}
assert.equal(text, answer.output_text);
assert.equal(types[0], "response.created");

const stream = client.responses.stream(request);
const final = await stream.finalResponse();
assert.equal(final.output_text, answer.output_text);

const next = await client.responses.create({
  ...request, input: "And of Italy?", previous_response_id: answer.id,
});
assert.ok(next.usage.input_tokens > answer.usage.input_tokens);

await assert.rejects(client.responses.create({ ...request, background: true }), (error) => {
  assert.equal(error.status, 400);
  assert.equal(error.param, "background");
  return true;
});
console.log("ok");
