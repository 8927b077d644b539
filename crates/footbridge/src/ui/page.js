// The page of a running bridge: asks /state every two seconds and shows it. Everything that comes from the bridge is put in
// as text, never as markup; the one picture, a walk's, is this program's own and has no text that is not escaped.
"use strict";

const EVERY = 2000, KEPT = 150, SHOWN = 500;
const at = (id) => document.getElementById(id);
const drops = new Map();
let state = null, before = null, rates = new Map();

const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const row = (cells) => {
  const made = element("tr");
  for (const [text, isNumber] of cells) made.append(element("td", text, isNumber ? { class: "n" } : {}));
  return made;
};
const number = (value) => value.toLocaleString("en");
const key = (flow) => `${flow.table} ${flow.priority} ${flow.match}`;

async function ask(path) {
  const answer = await fetch(path);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

async function look() {
  try {
    before = state;
    state = { ...(await ask("/state")), when: performance.now() };
    show();
    at("status").className = "";
  } catch (error) {
    at("status").textContent = error.message;
    at("status").className = "bad";
  }
}

function show() {
  const { status } = state;
  at("bridge").textContent = status.bridge;
  at("status").textContent =
    `${status.datapath} datapath, process ${status.pid}: ${number(status.flows)} flows, ${status.ports} ports`;
  const seconds = before ? (state.when - before.when) / 1000 : 0;
  const earlier = new Map((before?.flows ?? []).map((flow) => [key(flow), flow.packets]));
  rates = new Map(state.flows.map((flow) => {
    const passed = flow.packets - (earlier.get(key(flow)) ?? flow.packets);
    return [key(flow), seconds > 0 && passed > 0 ? passed / seconds : 0];
  }));
  showTables();
  showFlows();
  showPorts();
  showDrops();
  at("connection-rows").replaceChildren(...state.connections.connections.map((connection) =>
    row([[connection.text], [connection.zone, 1], ["0x" + connection.mark.toString(16), 1], [connection.expires_in, 1]])));
}

const label = (table) => (table.name ? `${table.table} ${table.name}` : `${table.table}`);

// A list of choices is made anew only when it is another one, so that what is chosen stays so.
function choices(select, wanted) {
  const fixed = select.options[0];
  if (JSON.stringify(wanted) === select.dataset.of) return;
  const chosen = select.value;
  select.dataset.of = JSON.stringify(wanted);
  select.replaceChildren(fixed, ...wanted.map(([value, text]) => element("option", text, { value })));
  select.value = chosen;
}

function showTables() {
  choices(at("table"), state.tables.map((table) => [table.table, label(table)]));
  choices(at("walk-port"), state.ports.ports.map((port) => [port.name, port.name]));
  const focused = document.activeElement?.dataset?.table;
  at("tables").replaceChildren(...state.tables.map((table) => {
    const flows = state.flows.filter((flow) => flow.table === table.table);
    const packets = flows.reduce((sum, flow) => sum + flow.packets, 0);
    const rate = flows.reduce((sum, flow) => sum + rates.get(key(flow)), 0);
    const button = element("button", undefined, { type: "button", "data-table": table.table });
    button.className = rate > 0 ? "busy" : "";
    button.append(element("b", label(table)),
      element("small", `${number(flows.length)} flows · ${number(packets)} packets · ${rate.toFixed(1)}/s`));
    button.addEventListener("click", () => {
      at("table").value = table.table;
      showFlows();
      at("flows").scrollIntoView();
    });
    return button;
  }));
  if (focused !== undefined) at("tables").querySelector(`[data-table="${focused}"]`)?.focus();
}

function showFlows() {
  if (!state) return;
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean), table = at("table").value;
  const found = state.flows.filter((flow) => (table === "" || String(flow.table) === table) &&
    words.every((word) => flow.text.toLowerCase().includes(word)));
  at("found").textContent = found.length > SHOWN ? `the first ${SHOWN} of ${number(found.length)}` : `${number(found.length)} flows`;
  at("flow-rows").replaceChildren(...found.slice(0, SHOWN).map((flow) => row([[flow.table], [flow.priority], [flow.match || "everything"],
    [flow.actions], [number(flow.packets), 1], [rates.get(key(flow)).toFixed(1), 1]])));
}

function showPorts() {
  at("port-rows").replaceChildren(...state.ports.ports.map((port) => row([[port.number, 1], [port.name], [port.kind], [port.link],
    [port.device ?? "–"], [number(port.rx.packets), 1], [number(port.tx.packets), 1],
    [number(Object.values(port.drops).reduce((sum, count) => sum + count, 0)), 1]])));
}

function showDrops() {
  const now = new Map();
  for (const port of state.ports.ports) {
    for (const [reason, count] of Object.entries(port.drops)) now.set(reason, (now.get(reason) ?? 0) + count);
  }
  for (const [reason, count] of now) drops.set(reason, [...(drops.get(reason) ?? []), count].slice(-KEPT));
  const rows = [...now].filter(([, count]) => count > 0).map(([reason, count]) => {
    const steps = drops.get(reason).map((value, index, all) => Math.max(0, value - (all[index - 1] ?? value)));
    const most = Math.max(1, ...steps);
    const points = steps.map((step, index) => `${(index * 100) / KEPT},${20 - (18 * step) / most}`).join(" ");
    const made = element("div", undefined, { class: "drop" });
    made.append(element("code", reason), element("span", `${number(count)} packets`));
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${reason}: ${steps.at(-1)} in the last ${EVERY / 1000} seconds`);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", points);
    svg.append(line);
    made.append(svg, element("span", `${steps.at(-1)} in the last ${EVERY / 1000} s`));
    return made;
  });
  at("drop-rows").replaceChildren(...(rows.length ? rows : [element("p", "none yet")]));
}

async function walk() {
  const fields = new URLSearchParams(new FormData(at("walk-form")));
  try {
    const walked = await ask(`/walk?${fields}`);
    const picture = new DOMParser().parseFromString(walked.svg, "image/svg+xml").documentElement;
    at("walk-out").replaceChildren(picture, element("pre", walked.text));
  } catch (error) {
    at("walk-out").replaceChildren(element("p", error.message, { class: "error" }));
  }
}

at("walk-form").addEventListener("submit", (event) => { event.preventDefault(); walk(); });
at("search-form").addEventListener("submit", (event) => event.preventDefault());
at("search").addEventListener("input", showFlows);
at("table").addEventListener("change", showFlows);
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = { "/": "search", w: "packet" }[event.key];
  if (target) { event.preventDefault(); at(target).focus(); }
});

// A page's address may hold a packet to walk and words to search for: #packet=…&search=…
const given = new URLSearchParams(location.hash.slice(1));
if (given.get("search")) at("search").value = given.get("search");
look().then(() => {
  if (given.get("packet")) { at("packet").value = given.get("packet"); walk(); }
});
setInterval(look, EVERY);
