"""The page on which a browser tries the echo: it connects back to where it came from, sends and prints."""

from __future__ import annotations

__all__ = ["PAGE"]

PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>wsfactory echo</title>
<link rel="icon" href="data:,">
<style>
  :root {
    --ink: #1c2430; --dim: #5d6878; --paper: #f6f7f9; --card: #fff; --line: #dde1e7; --accent: #0b6e4f; --bad: #b3261e;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ink: #e7eaef; --dim: #98a2b1; --paper: #14181e; --card: #1c222a; --line: #303945;
      --accent: #4cc38a; --bad: #ff8a80;
    }
  }
  * { box-sizing: border-box; }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
  main {
    display: flex; flex-direction: column; gap: 1rem;
    max-width: 44rem; height: 100vh; height: 100dvh; margin: 0 auto; padding: 1.5rem 1rem;
  }
  h1 { margin: 0; font-size: 1.4rem; }
  header p { margin: .1rem 0 0; color: var(--dim); }
  code, #log, input { font-family: ui-monospace, monospace; font-size: .92rem; }
  #state::before { content: "\\25CF\\00A0"; color: var(--dim); }
  #state.open::before { color: var(--accent); }
  #state.closed::before { color: var(--bad); }
  #log, input, button { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
  #log { flex: 1; overflow-y: auto; margin: 0; padding: .75rem 1rem; list-style: none; }
  #log li { padding: .1rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
  #log .sent::before { content: "\\2192\\00A0"; color: var(--dim); }
  #log .got::before { content: "\\2190\\00A0"; color: var(--accent); }
  #log .note { color: var(--dim); }
  form { display: flex; gap: .5rem; }
  input { flex: 1; min-width: 0; padding: .6rem .8rem; color: inherit; }
  button { padding: .6rem 1rem; font: inherit; color: inherit; cursor: pointer; }
  button.main { color: var(--card); background: var(--accent); border-color: var(--accent); }
  :disabled { opacity: .45; cursor: default; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
</style>
</head>
<body>
<main>
  <header>
    <h1>wsfactory echo</h1>
    <p><span id="state">connecting to</span> <code id="url"></code></p>
  </header>
  <ol id="log" aria-live="polite"></ol>
  <form id="form">
    <input id="text" autocomplete="off" placeholder="Type a message, press Enter" aria-label="Message" autofocus>
    <button class="main" id="send" disabled>Send</button>
    <button type="button" id="toggle">Close</button>
  </form>
</main>
<script>
"use strict";
const at = id => document.getElementById(id);
const url = Object.assign(new URL(location.href), { protocol: location.protocol.replace("http", "ws"), hash: "" }).href;
let socket, sentAt = [];

function print(kind, text, aside = "") {
  const line = document.createElement("li"), note = document.createElement("span");
  line.className = kind;
  note.className = "note";
  note.textContent = aside;
  line.append(text, note);
  at("log").append(line);
  if (at("log").childElementCount > 500) at("log").firstElementChild.remove();
  line.scrollIntoView({ block: "end" });
}

function show(state, text) {
  at("state").className = state;
  at("state").textContent = text;
  at("send").disabled = state !== "open";
  at("toggle").textContent = state === "closed" ? "Connect" : "Close";
}

function connect() {
  show("", "connecting to");
  sentAt = [];
  socket = new WebSocket(url);
  socket.onopen = () => { show("open", "connected to"); send("Hello from your browser"); };
  socket.onmessage = event => {
    print("got", event.data, "  " + (performance.now() - sentAt.shift()).toFixed(1) + " ms");
  };
  socket.onclose = event => {
    show("closed", "disconnected from");
    print("note", "closed with code " + event.code + (event.reason ? ": " + event.reason : ""));
  };
}

function send(text) {
  print("sent", text);
  sentAt.push(performance.now());
  socket.send(text);
}

at("url").textContent = url;
at("toggle").onclick = () => socket.readyState > 1 ? connect() : socket.close(1000);
at("form").onsubmit = event => {
  event.preventDefault();
  if (socket.readyState !== 1) return;
  send(at("text").value);
  at("text").value = "";
};
connect();
</script>
</body>
</html>
"""
