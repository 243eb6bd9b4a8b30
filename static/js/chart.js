// Interactive curves: [data-chart] with data-src (JSON), data-library and data-library-css (uPlot).
// JSON: {"unit":"kW","times":[epoch seconds],"series":[{"name":"Drawn","style":"area|line|limit","values":[number|null]}]}
// Draws itself anew on "stale"; an answer with "after" holds only what is later than that. Says in words when there is nothing to draw or the data did not come.
const MOST_POINTS = 800; // beyond, the whole is asked for again, thinned by the server
const language = document.documentElement.lang || "en";
let library;

function loadLibrary({ library: src, libraryCss: css }) {
  library ??= new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: css }));
    document.head.append(Object.assign(document.createElement("script"), { src, onload: () => resolve(window.uPlot), onerror: reject }));
  });
  return library;
}

function colours(element) {
  const probe = element.appendChild(document.createElement("i"));
  const read = (token) => { probe.style.color = `var(--${token})`; return getComputedStyle(probe).color; };
  const all = { data: read("data"), area: read("charging-fill"), limit: read("bad"), ink: read("ink-2"), line: read("line") };
  probe.remove();
  return all;
}

function options(uPlot, element, data) {
  const colour = colours(element);
  const zone = element.dataset.zone || undefined;
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: zone });
  const date = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: zone });
  const withUnit = (value) => `${number.format(value)}\u00a0${data.unit}`;
  const axis = { stroke: colour.ink, font: "12px Inter, sans-serif", grid: { stroke: colour.line, width: 1 }, ticks: { show: false } };
  const seconds = new Intl.DateTimeFormat(language, { timeStyle: "medium", hour12: false, timeZone: zone });
  const times = (_chart, values, _axis, _space, step) => values.map((v) => (step >= 86_400 ? date : step < 60 ? seconds : clock).format(v * 1000));
  const tip = element.appendChild(Object.assign(document.createElement("div"), { className: "chart-tip", hidden: true }));
  const moveTip = (chart) => {
    const { idx, left } = chart.cursor;
    tip.hidden = idx == null || left < 0;
    if (tip.hidden) return;
    const parts = data.series.filter((s) => s.values[idx] != null).map((s) => `${s.name} ${withUnit(s.values[idx])}`);
    tip.textContent = [clock.format(data.times[idx] * 1000), ...parts].join("  ");
    const room = element.clientWidth - tip.offsetWidth;
    tip.style.translate = `${Math.max(0, Math.min(room, left + 60 - tip.offsetWidth / 2))}px 0`;
  };
  return {
    width: element.clientWidth, height: element.clientHeight || 240, padding: [26, 8, 0, 0],
    tzDate: (seconds) => (zone ? uPlot.tzDate(new Date(seconds * 1000), zone) : new Date(seconds * 1000)),
    cursor: { y: false, drag: { x: false } }, legend: { show: false }, hooks: { setCursor: [moveTip] },
    scales: { y: { range: (_chart, _low, high) => [0, (high || 1) * 1.08] } },
    axes: [{ ...axis, grid: { show: false }, values: times, size: 30, space: 84 }, { ...axis, size: 62, values: (_chart, values) => values.map(withUnit) }],
    series: [{}, ...data.series.map((s) => ({
      label: s.name, width: s.style === "limit" ? 1.5 : 2, stroke: s.style === "limit" ? colour.limit : colour.data,
      fill: s.style === "area" ? colour.area : undefined, dash: s.style === "limit" ? [6, 4] : undefined, points: { show: false },
    }))],
  };
}

function say(element, text) {
  element.chart?.destroy();
  element.chart = null;
  element.replaceChildren(Object.assign(document.createElement("p"), { className: "chart-note", textContent: text }));
}

function draw(element, uPlot, data) {
  element.chart?.destroy();
  element.replaceChildren();
  element.data = data;
  element.chart = new uPlot(options(uPlot, element, data), [data.times, ...data.series.map((s) => s.values)], element);
  const legend = element.closest("[data-chart-card]")?.querySelector("[data-chart-legend]");
  legend?.replaceChildren(...data.series.map((s) => Object.assign(document.createElement("span"), { className: `legend ${s.style}`, textContent: s.name })));
}

function joined(before, later) {
  const series = before.series.map((one, i) => ({ ...one, values: [...one.values, ...(later.series[i]?.values ?? later.times.map(() => null))] }));
  return { ...before, times: [...before.times, ...later.times], series };
}

async function load(element) {
  try {
    const known = element.chart && element.data.times.length < MOST_POINTS ? element.data : null;
    const later = known ? `${element.dataset.src.includes("?") ? "&" : "?"}after=${known.times.at(-1)}` : "";
    const [uPlot, answer] = await Promise.all([loadLibrary(element.dataset), fetch(element.dataset.src + later, { headers: { Accept: "application/json" } })]);
    if (!answer.ok) throw new Error(answer.status);
    let data = await answer.json();
    if (known && data.after) {
      if (!data.times.length) return;
      data = joined(known, data);
    }
    if (data.times.length) draw(element, uPlot, data); else say(element, element.dataset.empty);
  } catch {
    say(element, element.dataset.error);
  }
}

function start(root) {
  const found = [...(root.matches?.("[data-chart]") ? [root] : []), ...root.querySelectorAll("[data-chart]")];
  for (const element of found.filter((one) => !one.dataset.started)) {
    element.dataset.started = "1";
    element.addEventListener("stale", () => load(element));
    new ResizeObserver(() => element.chart?.setSize({ width: element.clientWidth, height: element.clientHeight || 240 })).observe(element);
    load(element);
  }
}

function recolour() {
  for (const element of document.querySelectorAll("[data-chart]")) if (element.chart) draw(element, window.uPlot, element.data);
}

start(document);
document.addEventListener("htmx:load", (event) => start(event.detail.elt));
document.addEventListener("theme", recolour);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
