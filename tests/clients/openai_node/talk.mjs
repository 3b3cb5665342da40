// Talks to a server with OpenAI's SDK for Node and prints what came of it as JSON.
// Called with the base URL, a key, and a model that answers with an agent.
import OpenAI from "openai";

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello" }];

const plain = await client.responses.create({ model, input: "Hello" });
const kinds = [];
let text = "";
for await (const event of await client.responses.create({ model, input: "Hello", stream: true })) {
  kinds.push(event.type);
  if (event.type === "response.output_text.delta") text += event.delta;
}
const helper = await client.responses.stream({ model, input: "Hello" }).finalResponse();
const chat = await client.chat.completions.create({ model, messages });
let chatted = "";
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
  chatted += chunk.choices[0]?.delta?.content ?? "";
}
const models = [];
for await (const one of client.models.list()) models.push(one.id);
const failure = await client.responses.create({ model: "never", input: "Hello" }).catch((error) => error);

console.log(JSON.stringify({
  plain: [plain.output_text, plain.usage.total_tokens],
  stream: [kinds[0], text, kinds.at(-1)],
  helper: helper.output_text,
  chat: chat.choices[0].message.content,
  chatted,
  models,
  failure: [failure.constructor.name, failure.status, failure.code],
}));
