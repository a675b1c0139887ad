// Refreshes what the server drew: counters and feed each second from a small document, the other parts of the page
// from the page itself. Everything works without it. Text enters the page as text only.
"use strict";

const EVERY = { running: 1000, queued: 1000, created: 2000, paused: 2000, rest: 10000, failed: 5000 };
const REDRAWN = ["head", "phases", "verdict", "actions", "empty", "figures", "charts", "candidates"];
const REDRAW_MS = 3000;
const ROWS = 200;

const feed = document.getElementById("feed");
const live = feed && !feed.hasAttribute("data-still") ? {
  url: feed.dataset.feed, since: Number(feed.dataset.since), rev: Number(feed.dataset.rev),
  status: feed.dataset.status, phase: feed.dataset.phase, beat: feed.dataset.beat,
  paused: false, dirty: false, drawn: Date.now(), skipped: 0,
} : null;

function say(text) {
  const line = document.getElementById("announce");
  if (line && line.textContent !== text) line.textContent = text;
}

function show(name, text) {
  for (const place of document.querySelectorAll(`[data-live="${name}"]`)) place.textContent = text;
}

function counted(number) {
  return Number(number).toLocaleString("en-US");
}

function row(trial) {
  const made = document.getElementById("trial").content.firstElementChild.cloneNode(true);
  made.dataset.trial = String(trial.id);
  made.classList.add("fresh");
  const score = made.querySelector(".score");
  const bar = score.querySelector("svg");
  score.textContent = trial.score === null ? trial.outcome.replace(/_/g, " ") : `${trial.score} `;
  score.classList.toggle("bad", trial.score === null);
  if (bar && trial.score !== null) {
    bar.querySelector(".bar").setAttribute("width", String(72 * Number(trial.score)));
    score.append(bar);
  }
  const [task, candidate] = made.querySelectorAll(".what a");
  task.textContent = trial.task;
  task.href = trial.href;
  candidate.textContent = `candidate ${trial.candidate}`;
  candidate.href = trial.candidate_href;
  made.querySelector(".what small").firstChild.textContent = `${trial.split} · `;
  made.querySelector(".question").textContent = trial.question;
  made.querySelector(".said small").textContent = trial.said;
  const trace = made.querySelector(".trace");
  const link = trace.querySelector("a");
  if (trial.trace) link.href = trial.trace; else link.remove();
  return made;
}

function add(trials, skipped) {
  const body = document.getElementById("trials");
  for (const trial of trials) body.prepend(row(trial));
  while (body.children.length > ROWS) body.lastElementChild.remove();
  const none = document.getElementById("no-trials");
  if (none && trials.length) none.remove();
  live.skipped += skipped;
  if (live.skipped) {
    const note = document.getElementById("skipped");
    note.hidden = false;
    note.textContent = `${counted(live.skipped)} trials came too fast to be listed here; the table of trials has them.`;
  }
}

async function drawn() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function redraw() {
  live.dirty = false;
  live.drawn = Date.now();
  const page = await drawn();
  for (const id of REDRAWN) {
    const now = document.getElementById(id), then = page.getElementById(id);
    if (now && then) {
      if (now.contains(document.activeElement) || now.querySelector("details[open]")) continue;
      now.replaceWith(document.adoptNode(then));
    } else if (now) {
      now.remove();
    } else if (then) {
      const next = REDRAWN.slice(REDRAWN.indexOf(id) + 1).map((later) => document.getElementById(later)).find(Boolean);
      next.before(document.adoptNode(then));
    }
  }
}

function apply(found) {
  show("heartbeat", found.heartbeat.text);
  for (const place of document.querySelectorAll('[data-live="heartbeat"]')) place.className = `heartbeat ${found.heartbeat.state}`;
  if (found.heartbeat.state !== live.beat && found.heartbeat.state !== "rest") say(found.heartbeat.text);
  live.beat = found.heartbeat.state;
  if (found.unchanged) return false;
  live.rev = found.rev;
  live.dirty = true;
  for (const name of ["metric_calls", "error_count", "trial_count"]) show(name, counted(found[name]));
  show("left", found.left ? ` · ${found.left}` : "");
  show("cost_usd", found.cost_usd ? `$${found.cost_usd.toFixed(4)}` : found.cost_usd === 0 ? "$0" : "unknown");
  for (const place of document.querySelectorAll('[data-live="calls"]')) place.value = found.metric_calls;
  if (found.trials.length) live.since = found.trials[found.trials.length - 1].id;
  add(found.trials, found.skipped);
  const moved = found.status !== live.status || found.phase !== live.phase;
  if (moved) say(found.status === "running" ? `Now: ${String(found.phase).replace(/_/g, " ")}` : `The run is ${found.status}.`);
  live.status = found.status;
  live.phase = found.phase;
  return moved;
}

async function look() {
  let wait = EVERY[live.status] ?? EVERY.rest;
  if (!document.hidden && !live.paused) {
    try {
      const join = live.url.includes("?") ? "&" : "?";
      const answer = await fetch(`${live.url}${join}since=${live.since}&rev=${live.rev}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const moved = apply(await answer.json());
      if (moved || (live.dirty && Date.now() - live.drawn > REDRAW_MS)) await redraw();
      if (live.dirty) wait = EVERY.running;
    } catch {
      say("The server does not answer; trying again.");
      live.beat = "";
      wait = EVERY.failed;
    }
  }
  setTimeout(look, wait);
}

async function refresh() {
  const list = document.querySelector("[data-refresh]");
  if (!list) return;
  const chosen = [...list.querySelectorAll("input")].some((one) => one.checked !== one.defaultChecked || one.value !== one.defaultValue);
  if (!document.hidden && !list.contains(document.activeElement) && !chosen) {
    try {
      const then = (await drawn()).getElementById(list.id);
      if (then) list.replaceWith(document.adoptNode(then));
    } catch {
      // the next look may find it
    }
  }
  setTimeout(refresh, Number(list.dataset.refresh));
}

function pause() {
  const button = document.getElementById("pause");
  if (!live || !button) return;
  live.paused = !live.paused;
  button.setAttribute("aria-pressed", String(live.paused));
  button.firstChild.textContent = live.paused ? "Paused " : "Pause ";
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")].filter((found) => found.offsetParent !== null);
  if (!rows.length) return;
  const at = rows.findIndex((found) => found.contains(document.activeElement));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  for (const found of rows) found.classList.toggle("at", found === next);
  (next.matches("[data-open]") ? next : next.querySelector("[data-open]") || next.querySelector("summary"))?.focus();
  next.scrollIntoView({ block: "nearest" });
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  p: pause,
  "[": () => document.querySelector('a[rel="prev"]')?.click(),
  "]": () => document.querySelector('a[rel="next"]')?.click(),
  d: () => document.getElementById("changed")?.scrollIntoView(),
  "?": () => document.getElementById("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const does = keys[event.key];
  if (does) {
    event.preventDefault();
    does();
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.id === "show-keys") keys["?"]();
  if (button.id === "pause") pause();
  if (button.dataset.copy) {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  }
});

for (const button of document.querySelectorAll("#show-keys, #pause, [data-copy]")) button.hidden = false;
setTimeout(refresh, 5000);
if (live) {
  if (!["running", "queued", "created", "paused"].includes(live.status)) document.getElementById("pause").hidden = true;
  setTimeout(look, EVERY.running);
}
