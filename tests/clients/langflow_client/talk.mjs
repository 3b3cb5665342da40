// Langflow's JavaScript client: URL KEY ECHO_FLOW CHAT_FLOW; prints what it got as JSON.
import { LangflowClient } from "@datastax/langflow-client";
import { LangflowError } from "@datastax/langflow-client/errors";
import { InputTypes, OutputTypes } from "@datastax/langflow-client/consts";

const [baseUrl, apiKey, echo, chat] = process.argv.slice(2);
const client = new LangflowClient({ baseUrl, apiKey });
const png = new File([Buffer.from("89504e470d0a1a0a00000000", "hex")], "dot.png", { type: "image/png" });
const notes = new File(["content"], "notes.txt", { type: "text/plain" });

async function failure(act) {
  try {
    await act();
    return null;
  } catch (error) {
    return `${error instanceof LangflowError ? "LangflowError" : error.name}: ${error.message}`;
  }
}

async function streamed(flow, input, options) {
  const events = [];
  for await (const event of await client.flow(flow).stream(input, options)) events.push(event);
  const end = events.at(-1);
  return {
    events: events.map((one) => one.event),
    tokens: events.filter((one) => one.event === "token").map((one) => one.data.chunk),
    session: end.data.result?.session_id,
  };
}

const plain = await client.flow(echo).run("Hello");
const options = { input_type: InputTypes.CHAT, output_type: OutputTypes.CHAT, session_id: "mine" };
const inSession = await client.flow(echo).run("Hello", options);
const tweaked = await client.flow(echo).tweak("ChatOutput-kt003", { sender_name: "Robo" }).run("Hello");
const byArgument = await client.flow(echo).run("Hello", { tweaks: { "Chat Output": { sender_name: "Else" } } });
const image = await client.flow(chat).uploadFile(png);
const seen = await client.flow(chat).tweak("ChatInput-kt011", { files: image.filePath }).run("What is it?");
const file = await client.files.upload(notes);
const stranger = new LangflowClient({ baseUrl, apiKey: "sk-nobody" });

console.log(JSON.stringify({
  plain: plain.chatOutputText(),
  session: inSession.sessionId,
  senders: [tweaked, byArgument].map((one) => one.outputs[0].outputs[0].results.message.sender_name),
  streamed: await streamed(chat, "Hi", { session_id: "streamed" }),
  streamedWithoutModel: await streamed(echo, "Hi"),
  image,
  seen: seen.chatOutputText(),
  file: [file.name, file.size],
  files: (await client.files.list()).map((one) => [one.name, one.path === file.path, one.created_at instanceof Date]),
  refusedTweak: await failure(() => client.flow(echo).tweak("ChatOutput-kt003", { code: "x" }).run("Hello")),
  missing: await failure(() => client.flow("no-such-flow").run("Hello")),
  missingStream: await failure(() => client.flow("no-such-flow").stream("Hello")),
  badKey: await failure(() => stranger.flow(echo).run("Hello")),
  provider: await failure(() => client.flow(chat).run("!401")),
  aborted: await failure(() => client.flow(echo).run("Hello", { signal: AbortSignal.abort() })),
  logs: await failure(() => client.logs.fetch()),
}));
