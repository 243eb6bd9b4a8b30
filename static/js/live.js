// Live pages: one socket to /live/?topic=<body data-live-topic>.
// {"t":"text","slots":{key:text}} replaces the text of [data-live="key"], the width of [data-live-width="key"];
// {"t":"stale","names":[name]} sends "stale" to [data-fragment="name"], which fetches itself anew
// (htmx: hx-trigger="stale"; charts listen themselves). Without a socket for 10 s: every 15 s all fragments.
// [data-seconds] is a running clock: so many seconds had passed when the page was made.
// Inside [data-freeze] nothing moves while the pointer, the focus or a ticked box is there, or while a
// [data-hold] button in it is pressed.
const topic = document.body.dataset.liveTopic;
const POLL_AFTER = 10_000, POLL_EVERY = 15_000, RETRY_MOST = 15_000;

let socket = null, tries = 0, downSince = 0, wasOpen = false, pausedByUser = false, shut = false, updated = 0, poll = 0, retry = 0;
const due = new Map();
const held = new Set();

function show(state) {
  const sign = document.querySelector("[data-live-state]"); // may have been fetched anew
  if (!sign) return;
  sign.hidden = false;
  sign.setAttribute("aria-pressed", pausedByUser);
  sign.dataset.liveState = state;
  const ago = Math.round((Date.now() - updated) / 1000);
  const words = sign.querySelector("[data-live-words]");
  words.textContent = state === "live" && updated
    ? sign.dataset.wordUpdated.replace("%s", ago)
    : sign.dataset[{ live: "wordLive", reconnecting: "wordReconnecting", paused: "wordPaused" }[state]];
}

function frozen(element) {
  const frame = element.closest("[data-freeze]");
  return frame && ("held" in frame.dataset || frame.matches(":hover") || frame.contains(document.activeElement) || frame.querySelector("input:checked"));
}

function showHeld() {
  for (const button of document.querySelectorAll("[data-release]")) button.hidden = held.size === 0;
}

function refresh(element) {
  if (frozen(element)) held.add(element);
  else { held.delete(element); element.dispatchEvent(new CustomEvent("stale")); }
  showHeld();
}

function release() {
  for (const element of [...held]) { held.delete(element); if (element.isConnected) element.dispatchEvent(new CustomEvent("stale")); }
  showHeld();
}

function stale(name) {
  if (due.has(name)) return;
  due.set(name, setTimeout(() => {
    due.delete(name);
    document.querySelectorAll(`[data-fragment="${CSS.escape(name)}"]`).forEach(refresh);
  }, 200 + Math.random() * 800));
}

function receive(event) {
  const message = JSON.parse(event.data);
  updated = Date.now();
  if (message.t === "stale") message.names.forEach(stale);
  if (message.t !== "text") return;
  for (const [key, text] of Object.entries(message.slots)) {
    for (const slot of document.querySelectorAll(`[data-live="${CSS.escape(key)}"]`)) {
      if (slot.textContent !== text) slot.textContent = text;
    }
    for (const bar of document.querySelectorAll(`[data-live-width="${CSS.escape(key)}"]`)) bar.setAttribute("width", text);
  }
}

function refreshAll() {
  document.querySelectorAll("[data-fragment]").forEach(refresh);
}

function refetchBody() {
  const main = document.getElementById("main");
  const busy = main.contains(document.activeElement) || main.querySelector("input:checked, :popover-open, dialog[open]");
  if (busy || !window.htmx) refreshAll();
  else window.htmx.ajax("GET", location.href, { target: "#main", select: "#main", swap: "outerHTML" });
}

function connect() {
  clearTimeout(retry);
  if (socket || pausedByUser || shut || document.hidden) return;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const mine = socket = new WebSocket(`${scheme}//${location.host}/live/?topic=${encodeURIComponent(topic)}`);
  mine.onmessage = receive;
  mine.onopen = () => {
    tries = 0; downSince = 0; updated = Date.now();
    clearInterval(poll); poll = 0;
    show("live");
    if (wasOpen) refetchBody();
    wasOpen = true;
  };
  mine.onclose = ({ code }) => {
    if (socket !== mine) return;
    socket = null;
    if (code === 4001 || code === 4004) { shut = true; show("paused"); return; } // logged out, or not ours to see
    downSince ||= Date.now();
    show("reconnecting");
    if (document.hidden || pausedByUser) return;
    retry = setTimeout(connect, Math.min(RETRY_MOST, 1000 * 2 ** tries++) * (0.5 + Math.random() / 2));
  };
}

function disconnect(state) {
  clearTimeout(retry); clearInterval(poll); poll = 0; downSince = 0;
  const old = socket; socket = null; old?.close();
  show(state);
}

const clocks = new WeakMap();
function runClocks() {
  for (const clock of document.querySelectorAll("[data-seconds]")) {
    if (!clocks.has(clock)) clocks.set(clock, Date.now() - clock.dataset.seconds * 1000);
    const seconds = Math.max(0, Math.floor((Date.now() - clocks.get(clock)) / 1000));
    const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    const two = (number) => String(number).padStart(2, "0");
    clock.textContent = hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${two(minutes)}:${two(rest)}`;
  }
}

function tick() {
  runClocks();
  show(pausedByUser || document.hidden || shut ? "paused" : socket?.readyState === WebSocket.OPEN ? "live" : "reconnecting");
  if (document.hidden || pausedByUser) return;
  if (downSince && !poll && Date.now() - downSince > POLL_AFTER) { refreshAll(); poll = setInterval(refreshAll, POLL_EVERY); }
  for (const element of held) if (!element.isConnected) held.delete(element); else if (!frozen(element)) refresh(element);
}

if (topic) {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-live-state]")) {
      pausedByUser = !pausedByUser;
      if (pausedByUser) disconnect("paused"); else { show("reconnecting"); connect(); }
    }
    if (event.target.closest("[data-release]")) release();
    const hold = event.target.closest("[data-hold]");
    if (hold) hold.setAttribute("aria-pressed", hold.closest("[data-freeze]").toggleAttribute("data-held"));
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect("paused"); else if (!pausedByUser) connect(); });
  setInterval(tick, 1000);
  connect();
}
