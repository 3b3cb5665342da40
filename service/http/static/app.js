// What a script adds to the pages: copying, dropping files, a streaming chat, and where the focus goes.
"use strict";

function unhide() {
  // On a phone the places lie in one row that scrolls: the current one is to be seen, and the page stays where it is.
  const here = document.querySelector("nav [aria-current]");
  if (here) here.parentElement.scrollLeft += here.getBoundingClientRect().left - 24;
  for (const one of document.querySelectorAll("[data-copy], [data-drop-hint]")) one.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // Without TLS, browsers keep the clipboard closed: the text is selected, one keystroke from being copied.
    getSelection().selectAllChildren(source);
    button.textContent = "Press Ctrl+C";
  }
});

for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    const form = event.target.closest?.("[data-drop]");
    if (!form) return;
    event.preventDefault();
    form.classList.toggle("over", name === "dragover");
    if (name !== "drop" || !event.dataTransfer.files.length) return;
    form.querySelector("input[type=file]").files = event.dataTransfer.files;
    form.requestSubmit();
  });
}

document.addEventListener("focusin", (event) => {
  // Browsers leave a place of that row half outside when it gets the focus.
  if (event.target.matches("nav a")) event.target.scrollIntoView({ block: "nearest", inline: "nearest" });
});

document.addEventListener("change", (event) => {
  if (event.target.id === "picker") event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.target.id === "text" && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

function line(kind, sender, text) {
  const item = document.createElement("li");
  item.className = kind;
  const name = document.createElement("span");
  name.className = "sender";
  name.textContent = sender;
  const said = document.createElement("div");
  said.className = "said";
  said.textContent = text;
  item.append(name, said);
  document.getElementById("chat").append(item);
  item.scrollIntoView({ block: "nearest" });
  return item;
}

function fault({ text, variables }) {
  const item = line("fault", "This did not work", text);
  if (!variables) return;
  const link = document.createElement("a");
  link.href = variables;
  link.textContent = "Global Variables";
  item.querySelector(".said").append(" Add it under ", link, ".");
}

function showRan(components) {
  const table = document.createElement("table");
  table.createCaption().textContent = "What ran";
  const head = table.createTHead().insertRow();
  for (const name of ["Component", "Seconds"]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  head.lastChild.className = "number";
  const body = table.createTBody();
  for (const one of components) {
    const row = body.insertRow();
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = one.name;
    row.append(name);
    row.insertCell().textContent = one.seconds.toFixed(3);
    row.lastChild.className = "number";
  }
  document.getElementById("ran").replaceChildren(table);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const one of lines) if (one.trim()) yield JSON.parse(one);
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-chat]");
  if (!form) return;
  event.preventDefault();
  const text = form.elements.text;
  const button = form.querySelector("button");
  const body = new FormData(form);
  line("user", "User", text.value);
  const answers = new Map();
  const answer = (id, sender) => {
    if (!answers.has(id)) answers.set(id, line("machine", sender || "AI", ""));
    return answers.get(id).querySelector(".said");
  };
  text.value = "";
  button.disabled = true;
  form.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(form.dataset.chat, { method: "POST", body });
    if (!(response.headers.get("content-type") || "").includes("ndjson")) {
      throw new Error("The server did not answer as expected. Load the page again.");
    }
    for await (const { event: name, data } of events(response)) {
      if (name === "token") answer(data.id).textContent += data.chunk;
      if (name === "add_message" && data.sender !== "User") {
        // A message that is still being written comes with its first piece, and that piece once more as a token.
        const text = data.properties?.state === "partial" ? "" : data.text;
        answer(data.id, data.sender_name).textContent = text;
      }
      if (name === "ran") showRan(data);
      if (name === "error") fault(data);
    }
  } catch (error) {
    line("fault", "This did not work", error.message);
  }
  button.disabled = false;
  form.removeAttribute("aria-busy");
  text.focus();
});

document.addEventListener("htmx:afterSettle", () => {
  unhide();
  // The page's own parts were exchanged: whoever listens or types goes on at the top of what is new.
  if (!document.activeElement || document.activeElement === document.body) {
    document.getElementById("main")?.focus({ preventScroll: true });
  }
});

// An answer with a secret must not come back out of the browser's own memory.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

unhide();
