"use strict";
const read = id => JSON.parse(document.getElementById(id).textContent);
const data = read("data"), figures = read("figures"), byId = id => document.getElementById(id);
const rows = new Map(data.rows.map(values => {
  const row = Object.fromEntries(values.map((value, i) => [data.columns[i], value]));
  return [row.trial, row];
}));
const candidates = data.choices.map(trial => rows.get(trial));  // the best of the search first
const LIMITS = {params: "max-params", bytes: "max-bytes", latency_ms: "max-latency-ms"};
const SHORT = {params: "params", bytes: "bytes", latency_ms: "ms"};  // names in the page's address
const dark = matchMedia("screen and (prefers-color-scheme: dark)");
const PRINT_WIDTH = 700;  // pixels of a printed page
let chosen = null, named = null;  // the shown trial; the one that was clicked, if any
let pending;  // the timer after which the address is written

// ---- numbers in words

const metric = data.metric, digits = (x, count) => String(Number(x.toPrecision(count)));
const percent = x => metric.share ? (100 * x).toFixed(1) + "%" : digits(metric.sign * x, 4);
const points = x => {
  const shown = metric.scale * x, size = metric.share ? Math.abs(shown).toFixed(1) : digits(Math.abs(shown), 3);
  return (Number(size) === 0 ? "" : shown < 0 ? "−" : "+") + size + (metric.units && " " + metric.units);
};
const count = x => x.toLocaleString("en");
const short = x => String(Number(x.toPrecision(4)));
const interval = ends => metric.share ? ends.map(end => (100 * end).toFixed(1)).join(" to ") :
  ends.map(end => metric.sign * end).sort((a, b) => a - b).map(end => digits(end, 4)).join(" to ");
const ofTest = x => percent(x) + (metric.accuracy ? " of" : " on") + " the test part";

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// ---- the budget

function budget() {
  const set = {};
  for (const [size, id] of Object.entries(LIMITS)) {
    const field = byId(id);
    if (field.hidden) continue;
    const value = field.valueAsNumber;
    if (Number.isFinite(value)) set[size] = value > 0 ? value : Number.MIN_VALUE;
  }
  return set;
}

function excess(row, set) {
  return Math.max(0, ...Object.entries(set).map(([size, limit]) => row[size] / limit));
}

const unit = () => byId("unit").value;

function range(size) {
  const values = candidates.map(row => row[size]);
  return [Math.min(...values), Math.max(...values)];
}

function toSlider(size, value) {
  const [low, high] = range(size);
  if (high <= low) return 1000;
  return Math.round(1000 * Math.log(Math.max(value, low) / low) / Math.log(high / low));
}

function fromSlider(size, place) {
  const [low, high] = range(size);
  if (place >= 1000 || high <= low) return null;
  const exact = low * (high / low) ** (place / 1000);
  const near = candidates.map(row => row[size]).find(v => Math.abs(toSlider(size, v) - place) <= 4);
  const value = near !== undefined ? near : exact;
  return size === "latency_ms" ? Number(value.toPrecision(6)) : Math.ceil(value);
}

function setUnit() {
  for (const size of ["params", "bytes"])
    for (const part of document.querySelectorAll(".of-" + size)) part.hidden = size !== unit();
  marks();
}

function marks() {
  for (const [id, size] of [["sizes", unit()], ["latencies", "latency_ms"]]) {
    const places = [...new Set(candidates.map(row => toSlider(size, row[size])))];
    byId(id).replaceChildren(...places.map(place => element("option", "", {value: place})));
  }
}

function moveSliders() {
  const set = budget();
  for (const [id, size] of [["size-slider", unit()], ["latency-slider", "latency_ms"]])
    byId(id).value = size in set ? toSlider(size, set[size]) : 1000;
}

// ---- the page's address

// browsers refuse an address that is written at each step of a slider: it follows the last one
function toAddress() {
  clearTimeout(pending);
  pending = setTimeout(writeAddress, 250);
}

function writeAddress() {
  const parts = Object.entries(LIMITS)
    .filter(([, id]) => !byId(id).hidden && byId(id).value !== "")
    .map(([size, id]) => SHORT[size] + "=" + byId(id).value);
  if (named !== null) parts.push("trial=" + named);
  try { history.replaceState(null, "", parts.length ? "#" + parts.join("&") : location.pathname + location.search); } catch { /* not every viewer allows it */ }
}

function fromAddress() {
  const set = new URLSearchParams(location.hash.slice(1));
  byId("unit").value = set.has("bytes") ? "bytes" : "params";
  setUnit();
  for (const [size, id] of Object.entries(LIMITS)) byId(id).value = set.get(SHORT[size]) ?? "";
  const trial = Number(set.get("trial") ?? NaN);
  named = rows.has(trial) && rows.get(trial).finished ? trial : null;
}

// ---- the card of the chosen chain

// the best of some candidates, as `Run.preferred` takes it
function preferred(fits) {
  if (!fits.length || !fits[0].confirmed) return fits[0];
  return fits.filter(row => row.confirmed).reduce((a, b) => b.confirmed.accuracy > a.confirmed.accuracy ? b : a);
}

function show() {
  const set = budget(), box = byId("pick");
  const best = named !== null ? rows.get(named) : preferred(candidates.filter(row => excess(row, set) <= 1));
  chosen = best ? best.trial : null;
  box.classList.toggle("none", !best);
  box.dataset.trial = best ? best.trial : "";
  box.replaceChildren(...(best ? card(best, set) : nothing(set)));
  for (const row of document.querySelectorAll("#trials tbody tr"))
    row.classList.toggle("chosen", best !== undefined && row.dataset.trial === String(chosen));
  ring();
  toAddress();
}

function nothing(set) {
  if (!candidates.length) return [element("p", "No student is trained to its end yet.")];
  const nearer = (a, b) => {
    const less = excess(a, set) - excess(b, set);
    return Number.isNaN(less) ? a.params - b.params : less;  // of a budget of nothing
  };
  const near = [...candidates].sort(nearer)[0];
  return [element("div", "Nothing fits.", {class: "name"}),
          element("p", "The nearest is " + near.label + " (trial " + near.trial + "): " + facts(near) + ".")];
}

const known = row => row.confirmed ? percent(row.confirmed.accuracy) + " on fresh seeds" : percent(row.accuracy);
const facts = row => percent(row.accuracy) + ", " + count(row.params) + " parameters, " + count(row.bytes) +
  " bytes, " + short(row.latency_ms) + " ms";

function card(row, set) {
  const about = element("div", "", {class: "two"}), left = element("div"), right = element("dl");
  left.append(models(row), element("p", row.recipe));
  for (const [name, text] of lines(row, set)) right.append(element("dt", name), element("dd", text));
  about.append(left, right);
  const parts = [element("div", row.label + "  (trial " + row.trial + ")", {class: "name"})];
  if (named !== null && excess(row, set) > 1)
    parts.push(element("p", "It was chosen by hand, and is not within the budget above."));
  return [...parts, about, command(row)];
}

function models(row) {
  const table = element("table"), head = element("tr"), body = element("tbody");
  for (const [name, kind] of [["model", ""], ["width", "n"], ["parameters", "n"], [metric.words, "n"]])
    head.append(element("th", name, {class: kind, scope: "col"}));
  for (const [role, width, params, accuracy] of row.models) {
    const line = element("tr");
    line.append(element("td", role), element("td", width, {class: "n"}), element("td", params ? count(params) : "unknown", {class: "n"}),
                element("td", accuracy === null ? "" : percent(accuracy), {class: "n"}));
    body.append(line);
  }
  const top = element("thead");
  top.append(head);
  table.append(element("caption", "Models of the chain", {class: "hidden"}), top, body);
  return table;
}

function lines(row, set) {
  const seeds = row.replicates.length > 1 ? "mean of " + row.replicates.length + " seeds" : "one seed";
  const found = [[metric.words[0].toUpperCase() + metric.words.slice(1) + " in the search", percent(row.accuracy) + " (95 % interval " + interval(row.interval) + "; " + seeds + ")"]];
  const spread = row.replicates.length > 1 ? row.replicates.map(percent).join(", ") : "";
  if (spread) found.push(["Replicates", spread]);
  const fresh = row.confirmed;
  if (fresh) {
    const test = fresh.test === null ? "" : "; " + ofTest(fresh.test);
    found.push(["Confirmed", percent(fresh.accuracy) + " (" + interval(fresh.interval) + "; mean of " + fresh.seeds + " fresh seeds" + test + ")"]);
  }
  const times = short(Number((data.teacher.params / row.params).toPrecision(3)));
  const factor = data.teacher.params ? "; " + times + " times fewer parameters than the teacher" : "";
  found.push(["Size", count(row.params) + " parameters, " + count(row.bytes) + " bytes" + factor]);
  found.push(["Latency", short(row.latency_ms) + " ms, 95th percentile " + short(row.latency_p95_ms) + " ms"]);
  const gains = [];
  if (row.over_direct !== null) gains.push(points(row.over_direct) + " over direct distillation, same recipe");
  if (row.over_labels !== null) gains.push(points(row.over_labels) + " over no teacher");
  if (gains.length) found.push(["Gain in the search", gains.join("; ")]);
  const smaller = rows.get(row.smaller);
  if (smaller)
    found.push(["Cannot be told apart from", smaller.label + " (trial " + smaller.trial + "): " + known(smaller) + ", " + count(smaller.params) + " parameters"]);
  else {
    const next = preferred(candidates.filter(other => other.models.at(-1)[1] !== row.models.at(-1)[1] && excess(other, set) <= 1));
    if (next) found.push(["Next best size", next.label + " (trial " + next.trial + "): " + known(next) + ", " + count(next.params) + " parameters"]);
  }
  return found;
}

function command(row) {
  const box = element("div", "", {class: "command"}), text = data.export.replace("TRIAL", row.trial);
  box.append(element("code", text), element("button", "Copy", {type: "button", class: "copy", "data-copy": text}));
  return box;
}

document.addEventListener("click", async event => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copy) {
    try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(button.previousElementSibling); button.textContent = "Selected"; }
    setTimeout(() => button.textContent = "Copy", 1500);
  } else if (button.classList.contains("choose")) choose(Number(button.dataset.trial));
  else if (button.dataset.column) sort(button);
});

function choose(trial) {
  if (!rows.get(trial)?.finished) return;
  named = trial;
  show();
}

// ---- the table of all trials

function sort(button) {
  const head = button.closest("th"), place = head.cellIndex, body = byId("trials").tBodies[0];
  const falling = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const number = head.classList.contains("n");
  const parsed = text => text === "" ? -Infinity : parseFloat(text.replaceAll(",", ""));
  const value = row => number ? parsed(row.cells[place].textContent) : row.cells[place].textContent;
  const order = [...body.rows].map(row => [value(row), row]);
  order.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (falling ? -1 : 1));
  body.append(...order.map(([, row]) => row));
}

function filter() {
  const text = byId("find").value.trim().toLowerCase(), state = byId("of-state").value, kind = byId("of-kind").value;
  let shown = 0;
  const all = byId("trials").tBodies[0].rows;
  for (const row of all) {
    const fits = (!state || row.dataset.state === state) && (!kind || row.dataset.kind === kind) &&
      (!text || row.textContent.toLowerCase().includes(text));
    row.hidden = !fits;
    shown += fits;
  }
  byId("count").textContent = shown === all.length ? "" : shown + " of " + all.length;
}

// ---- figures: drawn when they are seen

const drawn = new Set();

function themed(name, light) {
  if (!dark.matches || light) return structuredClone(figures[name]);
  let text = JSON.stringify(figures[name]);
  for (const [from, to] of Object.entries(data.dark)) text = text.replaceAll(from, to);
  return JSON.parse(text);
}

function draw(name, light = false) {
  const place = byId(name);
  if (!place || !figures[name] || !window.Plotly) return;
  const figure = themed(name, light);
  if (name === "front") withAxes(figure);
  if (light) Object.assign(figure.layout, {width: PRINT_WIDTH, autosize: false});
  else if (place.clientWidth < 500) narrow(figure.layout);
  Plotly.react(place, figure.data, figure.layout, {responsive: true, displayModeBar: false, doubleClick: false});
  if (!drawn.has(name) && (name === "front" || name === "assistants"))
    place.on("plotly_click", event => {
      const trial = event.points[0].customdata;
      if (typeof trial === "number") choose(trial);
    });
  drawn.add(name);
  if (name === "front") ring();
}

function narrow(layout) {  // a phone
  layout.margin = {...layout.margin, l: 44, r: layout.margin.r > 40 ? 92 : 22};
  layout.font = {...layout.font, size: 11};
  for (const note of layout.annotations ?? []) note.font = {...note.font, size: 11};
}

function withAxes(figure) {
  const x = byId("axis-x").value, y = byId("axis-y").value;
  Object.assign(figure.layout.xaxis, data.axes[x]);
  Object.assign(figure.layout.yaxis, data.axes[y]);
  for (const trace of figure.data) {
    if (trace.name === "teacher") {
      const [from, to] = data.axes[x].range, edge = 1e-4 * (to - from);  // as in front_figure.py
      const ends = [from + edge, to - edge].map(end => data.axes[x].type === "log" ? 10 ** end : end);
      Object.assign(trace, {x: ends, y: trace.meta.map(a => height(a, y)), textposition: y === "error" ? "top right" : "bottom right"});
    } else if (trace.meta) {
      const own = trace.meta.trials.map(trial => rows.get(trial));
      const at = trace.meta.fresh ? own.map(row => row.confirmed.accuracy) : own.map(row => row.accuracy);
      trace.x = own.map(row => row[x]);
      trace.y = at.map(a => height(a, y));
      if (trace.error_y) {
        const ends = own.map(row => row.interval.map(a => height(a, y)).sort((a, b) => a - b));
        trace.error_y.array = ends.map((e, i) => e[1] - trace.y[i]);
        trace.error_y.arrayminus = ends.map((e, i) => trace.y[i] - e[0]);
      }
    }
  }
}

const height = (accuracy, y) => !metric.share ? metric.sign * accuracy : y === "accuracy" ? accuracy : Math.max(1 - accuracy, 0.5 / data.samples);

function ring() {
  if (!drawn.has("front")) return;
  const plot = byId("front"), row = rows.get(chosen), x = byId("axis-x").value, y = byId("axis-y").value;
  Plotly.restyle(plot, {x: [row ? [row[x]] : []], y: [row ? [height(row.accuracy, y)] : []]}, [plot.data.length - 1]);
}

async function loadPlotly() {
  const packed = atob(byId("plotly").textContent), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const text = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const script = document.createElement("script");
  script.textContent = await text;
  document.head.append(script);
}

function inside(details) {
  return [...details.querySelectorAll(".figure")].map(place => place.id);
}

function onPrint() {
  for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; part.dataset.forPrint = "yes"; }
  for (const name of Object.keys(figures)) draw(name, true);
}

function afterPrint() {
  for (const part of document.querySelectorAll("[data-for-print]")) { part.open = false; delete part.dataset.forPrint; }
  for (const name of drawn) draw(name);
}

// ---- begin

for (const kind of ["input", "change"])
  byId("budget").addEventListener(kind, event => {
    named = null;
    const id = event.target.id;
    if (id === "unit") setUnit();
    const size = id === "size-slider" ? unit() : id === "latency-slider" ? "latency_ms" : null;
    if (size) byId(LIMITS[size]).value = fromSlider(size, event.target.valueAsNumber) ?? "";
    else moveSliders();
    show();
  });
for (const id of ["axis-x", "axis-y"]) byId(id).addEventListener("change", () => draw("front"));
if (byId("trials"))
  for (const id of ["find", "of-state", "of-kind"])
    for (const kind of ["input", "change"]) byId(id).addEventListener(kind, filter);
addEventListener("hashchange", () => { fromAddress(); moveSliders(); show(); });
addEventListener("beforeprint", onPrint);
addEventListener("afterprint", afterPrint);
dark.addEventListener("change", () => { for (const name of drawn) draw(name); });
fromAddress();
moveSliders();
show();
document.body.dataset.usableAt = performance.now();
loadPlotly().then(() => {
  for (const name of ["assistants", "front"]) draw(name);
  for (const part of document.querySelectorAll("details"))
    part.addEventListener("toggle", () => { if (part.open && !part.dataset.forPrint) inside(part).forEach(name => draw(name)); });
  document.body.dataset.readyAt = performance.now();
  document.body.dataset.ready = "yes";
}).catch(error => {
  for (const place of document.querySelectorAll(".figure"))
    place.replaceChildren(element("p", "This browser cannot draw the figures: " + error, {class: "nodraw"}));
  document.body.dataset.ready = "no figures";
});
