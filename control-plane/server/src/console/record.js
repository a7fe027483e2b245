// Recordings: one of the run that is shown, and a wish that the next runs are kept whole.
"use strict";

// How often and how long a device's word is waited for, and how many runs are recorded at most.
const LOOK_MS = 500;
const WAIT_MS = 60000;
const RUNS_MAX = 100;

// The tools of the run that is shown: what is filled in and what is under way outlive a refresh.
const tools = { key: "", element: null };

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// Waits for the word of the device; whether it has come in time. A refusal is a problem.
async function answered(device, request, until) {
  for (;;) {
    const { answered: is, refusal } = await api(`/requests/${encodeURIComponent(request)}`);
    if (refusal) throw new Problem(`${device}: ${refusal.message} [${refusal.code}]`);
    if (is || Date.now() >= until) return is;
    await pause(LOOK_MS);
  }
}

// A recording comes in parts after the device's word; `null` where it has not come in time.
async function fetched(path, request, until) {
  for (;;) {
    const response = await fetch(`/api/v1${path}?request=${encodeURIComponent(request)}`);
    if (response.ok) return response.blob();
    if (response.status !== 404) {
      const body = await response.json();
      throw new Problem(body.detail || body.title);
    }
    if (Date.now() >= until) return null;
    await pause(LOOK_MS);
  }
}

async function download(device, run, path) {
  const until = Date.now() + WAIT_MS;
  const { requests } = await api(path, { method: "POST" });
  notice(say("recording_asked", device));
  const is = await answered(device, requests[0].id, until);
  const blob = is ? await fetched(path, requests[0].id, until) : null;
  if (!blob) return notice(say("recording_later", device));
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${run}.ocr`;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), WAIT_MS);
  notice(say("recording_here", run));
}

async function recordNext(device, workflow, next) {
  const { requests } = await api(`/devices/${encodeURIComponent(device)}/recordings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ workflow, next }),
  });
  notice(word("asked"));
  const is = await answered(device, requests[0].id, Date.now() + WAIT_MS);
  const done = next === 0 ? "records_none" : "records_next";
  notice(say(is ? done : "answers_later", device, next, workflow));
}

// A button that works on until its work is done.
function worker(button, work) {
  return (event) => {
    if (event) event.preventDefault();
    guard(async () => {
      button.disabled = true;
      try {
        await work();
      } finally {
        button.disabled = false;
      }
    });
  };
}

// The tools of a run: its recording as a file, and the next runs of its workflow on its device.
function recordTools(device, run) {
  const key = JSON.stringify([language, device, run.id]);
  if (tools.key === key) return tools.element;
  const get = make("button", "", word("download_recording"));
  get.type = "button";
  get.title = word("download_hint");
  const path = `/executions/${encodeURIComponent(device)}/${encodeURIComponent(run.id)}/recording`;
  get.addEventListener("click", worker(get, () => download(device, run.id, path)));

  const count = make("input");
  Object.assign(count, { type: "number", min: "0", max: String(RUNS_MAX), step: "1", value: "10" });
  count.required = true;
  const send = make("button", "", word("record"));
  send.type = "submit";
  const label = make("label", "", word("record_next"), count, say("record_runs", run.workflow));
  const form = make("form", "record", label, send);
  form.title = word("record_hint");
  form.addEventListener("submit",
    worker(send, () => recordNext(device, run.workflow, Number(count.value))));
  Object.assign(tools, { key, element: make("div", "tools", get, form) });
  return tools.element;
}
