// What people say to runs, and runs to people: approvals with their forms, what steps wait for, what
// runs have logged, why one stays with its definition.
"use strict";

// What waits for an answer and is shown, by where and what: what somebody has begun to fill in
// outlives a refresh.
const asks = new Map();

// One field of an approval's form: by its schema a box, a choice, a number, a text, or else JSON.
function field(name, schema) {
  const label = make("label", "", schema.title || name);
  let input;
  if (Array.isArray(schema.enum)) {
    input = make("select", "", ...schema.enum.map((value, n) => {
      const option = make("option", "", typeof value === "string" ? value : JSON.stringify(value));
      option.value = String(n);
      return option;
    }));
    if (schema.optional || schema.default !== undefined) {
      const none = make("option", "", "–");
      none.value = "";
      input.prepend(none);
      none.selected = true;
    }
  } else {
    input = make("input");
    if (schema.type === "boolean") input.type = "checkbox";
    if (schema.type === "number" || schema.type === "integer") {
      input.type = "number";
      input.step = schema.type === "integer" ? "1" : "any";
    }
  }
  if (schema.default !== undefined && !Array.isArray(schema.enum)) {
    if (input.type === "checkbox") input.checked = schema.default === true;
    else if (typeof schema.default === "string") input.value = schema.default;
    else input.value = JSON.stringify(schema.default);
  }
  if (schema.description) input.title = schema.description;
  label.append(input);
  const read = () => {
    if (input.type === "checkbox") return input.checked;
    if (input.value === "") return undefined;
    if (Array.isArray(schema.enum)) return schema.enum[Number(input.value)];
    if (input.type === "number") return Number(input.value);
    if (schema.type === "string") return input.value;
    try {
      return JSON.parse(input.value);
    } catch {
      return input.value;
    }
  };
  return { label, read };
}

// The place of an open approval: its question, its form, and a button for each choice.
function ask(device, run, step, { prompt, choices, form }) {
  const slot = make("div", "ask-slot");
  slot.ask = JSON.stringify([language, device, run, step, prompt, choices, form]);
  if (asks.has(slot.ask)) return slot;
  const box = make("div", "ask", make("p", "", prompt));
  const fields = Object.entries(form || {}).map(([name, schema]) => {
    const { label, read } = field(name, schema && typeof schema === "object" ? schema : {});
    box.append(label);
    return [name, read];
  });
  const buttons = choices.map((choice) => {
    const button = make("button", "", ["approve", "reject"].includes(choice) ? word(choice) : choice);
    button.type = "button";
    button.addEventListener("click", () => guard(async () => {
      for (const one of buttons) one.disabled = true;
      try {
        const filled = fields.map(([name, read]) => [name, read()]);
        const body = { step, choice,
          form: Object.fromEntries(filled.filter(([, value]) => value !== undefined)) };
        const path = `/executions/${encodeURIComponent(device)}/${encodeURIComponent(run)}/decisions`;
        await api(path, { method: "POST", headers: { "content-type": "application/json" },
          body: JSON.stringify(body) });
      } finally {
        for (const one of buttons) one.disabled = false;
      }
      notice(word("asked"));
    }));
    return button;
  });
  box.append(make("p", "", ...buttons.flatMap((button) => [button, " "])));
  // Whoever fills it in does not mean the row around it.
  for (const name of ["click", "keydown"]) {
    box.addEventListener(name, (event) => event.stopPropagation());
  }
  asks.set(slot.ask, box);
  return slot;
}

// Puts what waits for an answer where it belongs in a page that is new, and forgets the rest.
function placeAsks() {
  for (const slot of document.querySelectorAll(".ask-slot")) {
    if (asks.has(slot.ask)) slot.replaceWith(asks.get(slot.ask));
  }
  for (const [key, box] of asks) if (!box.isConnected) asks.delete(key);
}

// What a step waits for.
function waiting(device, run, step) {
  const { reason, details } = step.waiting;
  const key = `wait_${reason}`;
  const head = `${word("waits_for")} ${WORDS.en[key] ? word(key) : reason}`;
  if (reason === "approval" && details && Array.isArray(details.choices)) {
    return make("div", "", head, ask(device, run, step.path, details));
  }
  const more = details && details.run ? ` ${details.run}` : "";
  return make("div", "", head + more);
}

// Open approvals of all devices, above the first page; nothing where there are none.
async function approvals() {
  const { items, next_cursor: more } = await api("/approvals?limit=20");
  if (items.length === 0) return null;
  const rows = items.map((one) => ({
    cells: [one.device, one.workflow, one.step, time(one.asked_at),
      one.roles.length > 0 ? one.roles.join(", ") : "operator",
      ask(one.device, one.run, one.step, one)],
    open: () => { state.open = [one.device, one.run]; choose("executions"); },
  }));
  const heads = ["device", "workflow", "step", "asked_at", "for_whom", "question"];
  return make("section", "approvals", make("h2", "", word("approvals")), table(heads, rows),
    more ? make("p", "none", word("more_approvals")) : null);
}

// What a run has logged, and whether what it had done was undone; the first of it where it is much.
async function logs(path) {
  const { items, next_cursor: more } =
    await api(`${path}/events?name=logged,compensated&limit=200`);
  if (items.length === 0) return [];
  const rows = items.map(({ at: when, name, data }) => ({ cells: [
    time(when), data.step || "–",
    name === "logged" ? badge(data.level)
      : badge(data.complete ? "undone" : "not_undone", data.complete ? "succeeded" : "failed"),
    name === "logged" ? data.message : "",
    name === "logged" && Object.keys(data.fields || {}).length > 0 ? json(data.fields) : "",
  ] }));
  const heads = ["at", "step", "level", "message", "fields"];
  return [make("h3", "", word("log")), table(heads, rows),
    more ? make("p", "none", word("more_log")) : ""];
}

// Why a run goes on with an older definition than the one in force. That is no fault.
function stayed({ version, stayed: { version: newer, reason } }) {
  const why = reason.split("`").map((part, n) => (n % 2 === 1 ? make("code", "", part) : part));
  return make("p", "remark", say("stayed", newer, version), ...why, ".");
}
