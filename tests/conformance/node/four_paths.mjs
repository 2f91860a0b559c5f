// The four paths with the official Node client. Usage: node four_paths.mjs URL MODEL
import assert from "node:assert/strict";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const chat = {
  model, temperature: 0, max_tokens: 12,
  messages: [{ role: "user", content: "Name the capital of France." }],
};
const completion = { model, temperature: 0, max_tokens: 8, prompt: "The capital of France is" };

const answer = await client.chat.completions.create(chat);
assert.match(answer.choices[0].message.content, /Paris/);

let text = "";
for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(text, answer.choices[0].message.content);

const completed = await client.completions.create(completion);
assert.match(completed.choices[0].text, /Paris/);

text = "";
for await (const chunk of await client.completions.create({ ...completion, stream: true })) {
  text += chunk.choices[0]?.text ?? "";
}
assert.equal(text, completed.choices[0].text);

await assert.rejects(client.chat.completions.create({ ...chat, temperature: 9 }), (error) => {
  assert.equal(error.status, 400);
  assert.equal(error.param, "temperature");
  return true;
});
console.log("ok");
