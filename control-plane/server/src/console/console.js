// The console: lists and details out of the API, live by server-sent events.
// Everything that comes from outside is put into the page as text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
const state = { tab: "devices", open: null, source: null, due: null, device: "" };

class Problem extends Error {}

async function api(path, options = {}) {
  const headers = { "x-openclaw-csrf": "1", ...(options.headers || {}) };
  const response = await fetch(`/api/v1${path}`, { ...options, headers });
  if (response.status === 204) return null;
  const body = await response.json();
  if (response.ok) return body;
  if (response.status === 401 && !path.startsWith("/auth/login")) showLogin();
  throw new Problem(body.detail || body.title);
}

// An element with a class, text or children.
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const child of children) {
    if (child === null || child === undefined) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

function badge(text, kind) {
  return make("span", `badge ${kind || text}`, word(text) || text);
}

function time(text) {
  if (!text) return "–";
  const element = make("time", "", new Date(text).toLocaleString(language));
  element.dateTime = text;
  return element;
}

function json(value) {
  return make("pre", "", JSON.stringify(value, null, 2));
}

function table(heads, rows) {
  if (rows.length === 0) return make("p", "none", word("none"));
  const head = make("tr", "", ...heads.map((key) => make("th", "", word(key))));
  const body = rows.map(({ cells, open, active }) => {
    const row = make("tr", open ? "opens" : "", ...cells.map((cell) => make("td", "", cell)));
    if (active) row.classList.add("active");
    if (open) {
      row.tabIndex = 0;
      row.addEventListener("click", open);
      row.addEventListener("keydown", (event) => {
        if (event.key === "Enter") open();
      });
    }
    return row;
  });
  return make("table", "", make("thead", "", head), make("tbody", "", ...body));
}

// The result ledger of one device, an entry an epoch.
function ledger(device) {
  const entries = device.ledger.map((entry) => make(
    "div", entry.missing > 0 ? "ledger gap" : "ledger",
    `${word("complete_to")} ${entry.complete_to}, ${entry.missing} ${word("missing")}`,
    entry.repeated > 0 ? `, ${entry.repeated} ${word("repeated")}` : null,
    entry.dropped > 0 ? `, ${entry.dropped} ${word("dropped")}` : null,
  ));
  return entries.length > 0 ? make("div", "", ...entries) : "–";
}

function deviceRow(device) {
  const name = device.revoked ? "revoked" : device.online ? "online" : "offline";
  const labels = Object.entries(device.labels).map(([key, value]) => `${key}=${value}`);
  const refused = Object.entries(device.refused).map(([name, why]) => make(
    "div", "gap", `${word("refused")}: ${name} (${why.message})`,
  ));
  return {
    cells: [
      device.id, badge(name), ledger(device), time(device.last_seen_at), labels.join(", "),
      device.inventory ? `${device.inventory.agent_version} ${device.inventory.arch}` : "–",
      make("div", "", `${device.reported_revision} / ${device.desired_revision}`, ...refused),
    ],
    open: () => { state.device = device.id; choose("executions"); },
  };
}

function executionRow(execution) {
  return {
    cells: [
      execution.id, execution.device, `${execution.workflow} ${execution.version}`,
      badge(execution.status), execution.trigger, time(execution.accepted_at),
      time(execution.settled_at), execution.error ? execution.error.message : "",
    ],
    open: () => { state.open = [execution.device, execution.id]; refresh(); },
    active: state.open && state.open[0] === execution.device && state.open[1] === execution.id,
  };
}

const PAGES = {
  async devices() {
    const page = await api("/devices?limit=200");
    const heads = ["device", "status", "ledger", "last_seen", "labels", "agent", "desired"];
    return [table(heads, page.items.map(deviceRow))];
  },
  async workflows() {
    const page = await api("/workflows?limit=200");
    const heads = ["workflow", "revision", "version", "steps", "plugins", "triggers", "created", "by"];
    return [table(heads, page.items.map((w) => ({
      cells: [w.name, w.revision, w.version, w.steps, w.plugins.join(", "),
        w.triggers.join(", "), time(w.created_at), w.created_by],
    })))];
  },
  async deployments() {
    const page = await api("/deployments?limit=100");
    const heads = ["workflow", "revision", "target", "state", "created", "by"];
    return [table(heads, page.items.map((d) => {
      const labels = Object.entries(d.target.labels).map(([key, value]) => `${key}=${value}`);
      const states = d.devices.map((one) => make(
        "div", "", `${one.device} `, badge(one.state), one.refusal ? ` ${one.refusal.message}` : null,
      ));
      return { cells: [d.workflow, d.revision, [...d.target.devices, ...labels].join(", "),
        make("div", "", ...states), time(d.created_at), d.created_by] };
    }))];
  },
  async executions() {
    const filter = state.device ? `&device=${encodeURIComponent(state.device)}` : "";
    const page = await api(`/executions?limit=50${filter}`);
    const heads = ["run", "device", "workflow", "status", "trigger", "accepted", "settled", "error"];
    return [filterBox(), table(heads, page.items.map(executionRow))];
  },
};

function filterBox() {
  const input = make("input");
  input.value = state.device;
  input.addEventListener("change", () => { state.device = input.value.trim(); refresh(); });
  return make("label", "filter", `${word("filter")} `, input);
}

function action(key, path) {
  const button = make("button", "", word(key));
  button.type = "button";
  button.addEventListener("click", () => guard(async () => {
    button.disabled = true;
    await api(path, { method: "POST" });
    notice(word("asked"));
  }));
  return button;
}

function stepRow(step) {
  return { cells: [
    step.path, step.kind, badge(step.status), step.attempts,
    step.started_wall_ms ? time(new Date(step.started_wall_ms).toISOString()) : "–",
    step.settled_wall_ms ? time(new Date(step.settled_wall_ms).toISOString()) : "–",
    step.error ? step.error.message : step.output === null ? "" : json(step.output),
  ] };
}

async function detail() {
  const box = at("detail");
  box.hidden = !(state.open && state.tab === "executions");
  if (box.hidden) return;
  const path = `/executions/${state.open.map(encodeURIComponent).join("/")}`;
  const { device, result_seq: seq, run } = await api(path);
  const close = make("button", "", word("close"));
  close.type = "button";
  close.addEventListener("click", () => { state.open = null; refresh(); });
  const isSettled = ["completed", "failed", "cancelled"].includes(run.status);
  const heads = ["step", "kind", "status", "attempts", "started", "settled", "output"];
  box.replaceChildren(
    make("h2", "", `${run.workflow} · ${run.id} · ${device} `, badge(run.status)),
    make("p", "", action(isSettled ? "retry" : "cancel", `${path}/${isSettled ? "retry" : "cancel"}`),
      " ", close),
    make("p", "", `${word("result")}: ${seq === null ? "–" : seq} · ${word("resumed")}: ${run.resumed}`),
    run.error ? make("p", "gap", `${run.error.code}: ${run.error.message}`) : "",
    table(heads, run.steps.map(stepRow)),
    make("h3", "", word("inputs")), json(run.inputs),
    make("h3", "", word("outputs")), json(run.outputs),
  );
}

function notice(text) {
  const box = at("problem");
  box.textContent = text;
  box.hidden = !text;
}

// Runs one piece of work and shows what goes wrong in it.
async function guard(work) {
  try {
    notice("");
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    notice(error.message);
  }
}

function refresh() {
  return guard(async () => {
    at("list").replaceChildren(...await PAGES[state.tab]());
    await detail();
  });
}

// Many changes in a moment are one refresh.
function refreshSoon() {
  if (state.due) return;
  state.due = setTimeout(() => { state.due = null; refresh(); }, 400);
}

function choose(tab) {
  state.tab = tab;
  for (const button of at("tabs").children) {
    button.setAttribute("aria-current", String(button.dataset.tab === tab));
  }
  location.hash = tab;
  refresh();
}

function watch() {
  if (state.source) state.source.close();
  state.source = new EventSource("/api/v1/events");
  at("live").textContent = word("connecting");
  state.source.onopen = () => { at("live").textContent = word("live"); refreshSoon(); };
  state.source.onerror = () => { at("live").textContent = word("connecting"); };
  for (const name of ["device", "run", "request", "deployment", "workflow", "reset"]) {
    state.source.addEventListener(name, refreshSoon);
  }
}

function showLogin() {
  if (state.source) state.source.close();
  at("login").hidden = false;
  for (const id of ["main", "tabs", "logout"]) at(id).hidden = true;
  at("who").textContent = "";
  at("live").textContent = "";
}

async function start() {
  translate();
  let me;
  try {
    me = await api("/auth/me");
  } catch {
    return showLogin();
  }
  at("login").hidden = true;
  for (const id of ["main", "tabs", "logout"]) at(id).hidden = false;
  at("who").textContent = `${me.username} (${me.role})`;
  const tab = location.hash.slice(1);
  choose(PAGES[tab] ? tab : "devices");
  watch();
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = word(element.dataset.word);
  }
  at("language").textContent = word("other_language");
}

at("tabs").addEventListener("click", (event) => {
  if (event.target.dataset.tab) choose(event.target.dataset.tab);
});
at("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("openclaw.language", language);
  translate();
  if (!at("main").hidden) refresh();
});
at("logout").addEventListener("click", () => guard(async () => {
  await api("/auth/logout", { method: "POST" });
  showLogin();
}));
at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  guard(async () => {
    const body = JSON.stringify(Object.fromEntries(new FormData(at("login"))));
    const headers = { "content-type": "application/json" };
    await api("/auth/login", { method: "POST", headers, body });
    at("login").reset();
    await start();
  });
});
start();
