// The keyboard: Ctrl+K palette and, unless switched off (body data-shortcuts="off"),
// / search, g then a letter to go, j k x c in tables, ? help.
const palette = document.querySelector("[data-palette]");
const help = document.querySelector("[data-help]");
const singleKeys = document.body.dataset.shortcuts !== "off";
let going = 0;

const typing = (target) => target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

function rows() {
  return [...document.querySelectorAll("[data-row]")];
}
function here() {
  return document.activeElement?.closest("[data-row]");
}
function move(step) {
  const all = rows();
  const at = all.indexOf(here());
  all[Math.max(0, Math.min(all.length - 1, at === -1 ? 0 : at + step))]?.querySelector("[data-row-link]")?.focus();
}

function openPalette() {
  if (!palette || palette.open) return;
  const list = palette.querySelector("ul");
  if (!list.children.length) {
    for (const link of document.querySelectorAll("[data-go]")) {
      const item = document.createElement("li");
      const copy = item.appendChild(document.createElement("a"));
      copy.href = link.href;
      copy.append(link.querySelector("svg").cloneNode(true), link.querySelector("[data-go-word]").textContent);
      list.append(item);
    }
  }
  palette.querySelector("input").value = "";
  filter("");
  palette.showModal();
}
function filter(text) {
  const wanted = text.trim().toLocaleLowerCase();
  for (const item of palette.querySelectorAll("li")) item.hidden = !item.textContent.toLocaleLowerCase().includes(wanted);
  choose(0);
}
function choose(index) {
  const shown = [...palette.querySelectorAll("li:not([hidden]) a")];
  shown.forEach((link, i) => link.setAttribute("aria-selected", i === index));
  shown[index]?.scrollIntoView({ block: "nearest" });
}
function paletteKey(event) {
  const shown = [...palette.querySelectorAll("li:not([hidden]) a")];
  const at = shown.findIndex((link) => link.ariaSelected === "true");
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose((at + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % (shown.length || 1));
  } else if (event.key === "Enter" && shown[at]) {
    event.preventDefault();
    shown[at].click();
  } // Enter without a match submits the search form
}
palette?.querySelector("input").addEventListener("input", (event) => filter(event.target.value));
palette?.querySelector("input").addEventListener("keydown", paletteKey);

const single = {
  "/": () => document.querySelector("[data-search]")?.focus(),
  "?": () => help?.showModal(),
  j: () => move(1),
  k: () => move(-1),
  x: () => here()?.querySelector("[data-select]")?.click(),
  c: () => here()?.querySelector("[data-row-menu]")?.click(),
  g: () => { going = Date.now(); },
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "k") { event.preventDefault(); openPalette(); return; }
  if (!singleKeys || event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
  const way = Date.now() - going < 1500 && document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
  going = 0;
  if (way) { event.preventDefault(); way.click(); return; }
  if (single[event.key]) { event.preventDefault(); single[event.key](); }
});
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-dialog]");
  if (opener) document.querySelector(opener.dataset.openDialog)?.showModal();
  if (event.target.closest("[data-close-dialog]")) event.target.closest("dialog")?.close();
});
