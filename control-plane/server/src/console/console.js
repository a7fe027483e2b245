// The console: lists and details out of the API, live by server-sent events.
// Everything that comes from outside is put into the page as text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
const state = {
  tab: "devices", open: null, source: null, device: "", role: "",
  // Pages of the list that are shown, and the number of the latest refresh: an older one's answer
  // comes too late to be shown.
  pages: 1, turn: 0,
  // A refresh that waits, one that is under way, and one that is wanted after it.
  due: null, busy: false, again: false,
};
// Between two tries to watch again.
const WATCH_AGAIN_MS = 5000;

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
    const row = make("tr", open ? "opens" : "", ...cells.map((cell, n) => {
      const data = make("td", cell === "" ? "empty" : "", cell);
      // In a narrow window a row is a card, and each of its cells says what it is.
      data.dataset.head = word(heads[n]);
      return data;
    }));
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
    open: () => { state.open = [execution.device, execution.id]; turnTo(); },
    active: state.open && state.open[0] === execution.device && state.open[1] === execution.id,
  };
}

// A published version; where it waits, what for, and a button for who may approve that.
function pluginRow(plugin) {
  const { manifest } = plugin;
  const asks = ["http", "tcp", "files", "files_write", "kv", "mqtt_publish", "secrets", "serial", "gpio",
    "i2c", "exec"].flatMap((kind) => (manifest.permissions[kind] || []).map((entry) => `${kind}:${entry}`));
  for (const kind of ["time", "random"]) if (manifest.permissions[kind]) asks.push(kind);
  const waits = plugin.unapproved && make("div", "gap", `${word("not_approved")}: ${plugin.unapproved.join(", ")}`);
  const warnings = (plugin.warnings || []).map((warning) => make("div", "gap", warning.message));
  const path = `/plugins/${encodeURIComponent(manifest.name)}/${encodeURIComponent(manifest.version)}/approve`;
  const button = plugin.unapproved && state.role === "admin" ? action("approve", path) : null;
  return { cells: [
    manifest.name, manifest.version,
    make("div", "", badge(plugin.state), plugin.yanked ? make("div", "gap", plugin.yanked) : null,
      plugin.deprecated ? make("div", "gap", `${word("deprecated")}: ${plugin.deprecated}`) : null),
    manifest.category || "", manifest.description,
    make("div", "", asks.join(", ") || "–", waits || null, ...warnings, button),
    time(plugin.published_at), plugin.published_by,
  ] };
}

// The pages of a list that are shown, as one, and whether there are more.
async function load(path) {
  const items = [];
  let cursor = null;
  for (let n = 0; n < state.pages; n += 1) {
    const after = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = await api(path + after);
    items.push(...page.items);
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  return { items, more: Boolean(cursor) };
}

const PAGES = {
  async devices() {
    const { items, more } = await load("/devices?limit=200");
    const heads = ["device", "status", "ledger", "last_seen", "labels", "agent", "desired"];
    const devices = table(heads, items.map(deviceRow));
    const open = await approvals();
    return { list: open ? make("div", "", open, make("h2", "", word("devices")), devices) : devices, more };
  },
  async workflows() {
    const { items, more } = await load("/workflows?limit=200");
    const heads = ["workflow", "revision", "version", "steps", "plugins", "triggers", "created", "by"];
    return { list: table(heads, items.map((w) => ({
      cells: [w.name, w.revision, w.version, w.steps, w.plugins.join(", "),
        w.triggers.join(", "), time(w.created_at), w.created_by],
    }))), more };
  },
  async plugins() {
    const { items, more } = await load("/plugins?limit=200");
    const heads = ["plugin", "version", "state", "category", "description", "may_touch", "created", "by"];
    return { list: table(heads, items.map(pluginRow)), more };
  },
  async deployments() {
    const { items, more } = await load("/deployments?limit=100");
    const heads = ["workflow", "revision", "target", "state", "created", "by"];
    return { list: table(heads, items.map((d) => {
      const labels = Object.entries(d.target.labels).map(([key, value]) => `${key}=${value}`);
      const states = d.devices.map((one) => make(
        "div", "", `${one.device} `, badge(one.state), one.refusal ? ` ${one.refusal.message}` : null,
      ));
      return { cells: [d.workflow, d.revision, [...d.target.devices, ...labels].join(", "),
        make("div", "", ...states), time(d.created_at), d.created_by] };
    })), more };
  },
  async executions() {
    const filter = state.device ? `&device=${encodeURIComponent(state.device)}` : "";
    const { items, more } = await load(`/executions?limit=50${filter}`);
    const heads = ["run", "device", "workflow", "status", "trigger", "accepted", "settled", "error"];
    return { list: table(heads, items.map(executionRow)), more };
  },
};

function action(key, path) {
  const button = make("button", "", word(key));
  button.type = "button";
  button.addEventListener("click", () => guard(async () => {
    button.disabled = true;
    try {
      await api(path, { method: "POST" });
    } finally {
      button.disabled = false;
    }
    if (state.tab === "plugins") await refresh();
    notice(word("asked"));
  }));
  return button;
}

function stepRow(device, run, step) {
  return { cells: [
    step.path, step.kind, badge(step.status), step.attempts,
    step.started_wall_ms ? time(new Date(step.started_wall_ms).toISOString()) : "–",
    step.settled_wall_ms ? time(new Date(step.settled_wall_ms).toISOString()) : "–",
    step.waiting ? waiting(device, run, step)
      : step.error ? step.error.message : step.output === null ? "" : json(step.output),
  ] };
}

// What is in the box below the list; `null` where nothing is open.
async function detail() {
  if (!state.open || state.tab !== "executions") return null;
  const path = `/executions/${state.open.map(encodeURIComponent).join("/")}`;
  const { device, result_seq: seq, run } = await api(path);
  const close = make("button", "", word("close"));
  close.type = "button";
  close.addEventListener("click", () => { state.open = null; turnTo(); });
  const isSettled = ["completed", "failed", "cancelled"].includes(run.status);
  const heads = ["step", "kind", "status", "attempts", "started", "settled", "output"];
  return [
    make("h2", "", `${run.workflow} ${run.version} · ${run.id} · ${device} `, badge(run.status)),
    make("div", "tools", action(isSettled ? "retry" : "cancel", `${path}/${isSettled ? "retry" : "cancel"}`),
      recordTools(device, run), close),
    make("p", "", `${word("result")}: ${seq === null ? "–" : seq} · ${word("resumed")}: ${run.resumed}`),
    run.stayed ? stayed(run) : "",
    run.error ? make("p", "gap", `${run.error.code}: ${run.error.message}`) : "",
    table(heads, run.steps.map((step) => stepRow(device, run.id, step))),
    ...await logs(path),
    make("h3", "", word("inputs")), json(run.inputs),
    make("h3", "", word("outputs")), json(run.outputs),
  ];
}

// Shows a text until the next one, or until somebody does something. A refresh's own problem goes
// when a refresh succeeds; nothing else does.
function notice(text, isOfRefresh = false) {
  const box = at("problem");
  box.textContent = text;
  box.hidden = !text;
  box.dataset.refresh = String(isOfRefresh);
}

// Runs one piece of a person's work and shows what goes wrong in it.
async function guard(work) {
  try {
    notice("");
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    notice(error.message);
  }
}

// Asks for everything that is shown, and shows it, unless something newer was asked for meanwhile.
async function refresh() {
  state.turn += 1;
  const turn = state.turn;
  state.busy = true;
  try {
    const { list, more } = await PAGES[state.tab]();
    const opened = await detail();
    if (turn !== state.turn) return;
    const focus = document.activeElement;
    at("list").replaceChildren(list);
    at("more").hidden = !more;
    at("detail").hidden = !opened;
    at("detail").replaceChildren(...opened || []);
    placeAsks();
    // A form that is being filled in was taken out for a moment and is there again.
    if (focus && focus.isConnected && focus !== document.activeElement) focus.focus();
    if (at("problem").dataset.refresh === "true") notice("");
  } catch (error) {
    if (turn !== state.turn) return;
    if (!(error instanceof Problem)) console.error(error);
    notice(error.message, true);
  } finally {
    if (turn === state.turn) {
      state.busy = false;
      if (state.again) {
        state.again = false;
        refreshSoon();
      }
    }
  }
}

// What a person asked to see: earlier notices have been read.
function turnTo() {
  notice("");
  refresh();
}

// Many changes in a moment are one refresh, and one that is under way is not overtaken: under
// steady change nothing would ever be shown.
function refreshSoon() {
  if (state.due) return;
  state.due = setTimeout(() => {
    state.due = null;
    if (at("main").hidden) return;
    if (state.busy) state.again = true;
    else refresh();
  }, 400);
}

function choose(tab) {
  state.tab = tab;
  state.pages = 1;
  at("filter").hidden = tab !== "executions";
  at("filter").querySelector("input").value = state.device;
  for (const button of at("tabs").children) {
    button.setAttribute("aria-current", String(button.dataset.tab === tab));
  }
  location.hash = tab;
  turnTo();
}

function watch() {
  if (state.source) state.source.close();
  const source = new EventSource("/api/v1/events");
  state.source = source;
  at("live").textContent = word("connecting");
  source.onopen = () => { at("live").textContent = word("live"); refreshSoon(); };
  source.onerror = () => {
    if (state.source !== source) return;
    at("live").textContent = word("connecting");
    // A browser comes back by itself, but not from an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) watchAgain(source);
  };
  for (const name of ["device", "run", "request", "deployment", "workflow", "reset"]) {
    source.addEventListener(name, refreshSoon);
  }
}

// Whoever is logged in no more is sent to the login by this call; all others try again later.
async function watchAgain(closed) {
  try {
    await api("/auth/me");
  } catch (error) {
    if (state.source === closed) notice(error.message, true);
  }
  if (state.source === closed) {
    setTimeout(() => { if (state.source === closed) watch(); }, WATCH_AGAIN_MS);
  }
}

function showLogin() {
  if (state.source) state.source.close();
  state.source = null;
  state.turn += 1;
  state.busy = false;
  state.again = false;
  at("login").hidden = false;
  for (const id of ["main", "tabs", "logout"]) at(id).hidden = true;
  at("who").textContent = "";
  at("live").textContent = "";
  for (const id of ["list", "detail"]) at(id).replaceChildren();
  asks.clear();
  Object.assign(tools, { key: "", element: null });
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
  state.role = me.role;
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
at("more").addEventListener("click", () => { state.pages += 1; turnTo(); });
at("filter").addEventListener("change", (event) => {
  state.device = event.target.value.trim();
  state.pages = 1;
  turnTo();
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
