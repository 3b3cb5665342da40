// The official TypeScript client: TRANSPORT URL [KEY]; prints what it saw as JSON. With --cancel it calls the tool
// "chat", goes away when the first progress has come, and says what it can still do then.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { LATEST_PROTOCOL_VERSION } from "@modelcontextprotocol/sdk/types.js";

const [transport, url, key] = process.argv.slice(2).filter((argument) => argument !== "--cancel");
const headers = key ? { "x-api-key": key } : {};
const Transport = transport === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
const client = new Client({ name: "walk", version: "1.0.0" });
const seen = (result) => [Boolean(result.isError), ...result.content.map((item) => item.text)];

async function walk() {
  const progress = [];
  const onprogress = (note) => progress.push(note.progress);
  const { tools } = await client.listTools();
  const found = {
    known: LATEST_PROTOCOL_VERSION,
    server: client.getServerVersion().name,
    tools: Object.fromEntries(tools.map((tool) => [tool.name, Object.keys(tool.inputSchema.properties).sort()])),
    echo: seen(await client.callTool({ name: "echo", arguments: { input_value: "Hello" } })),
    unknown: seen(await client.callTool({ name: "nothing", arguments: {} })),
    prompts: (await client.listPrompts()).prompts.length,
    resources: (await client.listResources()).resources.map((one) => one.name),
  };
  if ("chat" in found.tools) {
    const call = { name: "chat", arguments: { input_value: "Hi" } };
    found.chat = seen(await client.callTool(call, undefined, { onprogress }));
    found.failed = seen(await client.callTool({ name: "chat", arguments: { input_value: "!401" } }));
    found.progress = progress;
  }
  return found;
}

async function cancel() {
  const controller = new AbortController();
  const options = { signal: controller.signal, onprogress: () => controller.abort() };
  let left = false;
  try {
    await client.callTool({ name: "chat", arguments: { input_value: "Hi" } }, undefined, options);
  } catch {
    left = true;
  }
  return { left, afterwards: (await client.listTools()).tools.length };
}

await client.connect(new Transport(new URL(url), { requestInit: { headers } }));
console.log(JSON.stringify(process.argv.includes("--cancel") ? await cancel() : await walk()));
await client.close();
