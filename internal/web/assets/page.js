// The page without this script shows all the same. With it, the page follows what changes, and
// those who may act can act. Whatever comes from the ledger gets into the page as text, or as HTML
// that the server has made.
"use strict";

// Live: every ten seconds (a minute, where the platform is asked too) the page is asked for again,
// and what differs takes its place, node by node. So focus, scroll, what is being typed, and what
// is folded open stay.

const every = document.body.dataset.every * 1000;
const dialog = document.querySelector("dialog");
const told = document.querySelector(".told");
const loaded = performance.now();
const began = Date.parse(document.body.dataset.now);

const now = () => new Date(began + performance.now() - loaded); // on the ledger's clock

// What has a name is followed under it, wherever it stands among its like.
const nameOf = (node) => node.id || (node.dataset && node.dataset.key) || (node.getAttribute && node.getAttribute("aria-labelledby")) || "";

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && nameOf(a) === nameOf(b);
}

function follow(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.isEqualNode(to)) return;
  if (from.nodeName === "FORM") return; // somebody may be filling it in
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.nodeName === "DETAILS" && name === "open") continue;
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    let here = at;
    const name = nameOf(next);
    if (name) while (here && !same(here, next)) here = here.nextSibling;
    if (here && same(here, next)) {
      while (at !== here) { // what stood before it is gone
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      at = here.nextSibling;
      follow(here, next);
    } else {
      from.insertBefore(document.importNode(next, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

let asking = null;

async function refresh() {
  if (asking) asking.abort();
  asking = new AbortController();
  try {
    const answer = await fetch(location.href, { signal: asking.signal, headers: { Accept: "text/html" } });
    if (!answer.ok) {
      if (!document.querySelector(".problem")) tell("The server does not show this now (HTTP " + answer.status + "): what is shown is not new.", true);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement;
    for (const part of ["main", "footer"]) follow(document.querySelector(part), page.querySelector(part));
    if (!focused.isConnected) refocus(focused);
  } catch (e) {
    if (e.name !== "AbortError") tell("The server cannot be reached: what is shown is not new.", true);
    return;
  }
  if (told.hasAttribute("data-lost")) tell("");
}

// refocus finds what stands now for what had the focus.
function refocus(was) {
  for (const name of ["id", "aria-label", "href"]) {
    const value = was.getAttribute(name);
    const now = value && document.querySelector("main [" + name + "=" + CSS.escape(value) + "]");
    if (now) return now.focus({ preventScroll: true });
  }
  document.querySelector("main").focus({ preventScroll: true });
}

// tell says something at the foot of the page, for a while.
function tell(text, lost = false) {
  told.textContent = text;
  told.toggleAttribute("data-lost", lost);
  clearTimeout(tell.end);
  if (!lost) tell.end = setTimeout(() => told.replaceChildren(), 20_000);
}

setInterval(() => {
  if (!document.hidden && !(dialog && dialog.open)) refresh();
}, every);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !(dialog && dialog.open)) refresh();
});

// Acting: the dialog asks why, and what the API says would happen is shown before it is done.

const form = dialog && dialog.querySelector("form");
let act = null; // the data of the button
let until = null; // when what is asked for ends: reckoned as it is chosen, so that what is sent once more is the same

function fields() {
  return act.fields.split(" ").filter(Boolean);
}

function choose() {
  const hours = form.elements[fields().find((name) => name === "until" || name === "valid")];
  until = hours && hours.value ? new Date(now().getTime() + hours.value * 3600_000).toISOString() : null;
}

// asked gives the request for what is filled in.
function asked(dry) {
  const why = form.why.value.trim();
  if (act.method === "DELETE") return { url: act.path + "?" + new URLSearchParams({ why }) };
  const body = JSON.parse(act.body || "{}");
  if (until) body.until = until;
  if (fields().includes("targets") && form.targets.value) body.targets = Number(form.targets.value);
  if (fields().includes("past")) {
    for (const name of ["past_window", "past_limit", "past_max"]) if (form[name].checked) body[name] = true;
  }
  body.why = why;
  if (dry) {
    body.why = why || "to see what would happen";
    body.dry_run = true;
  }
  return { url: act.path, body: JSON.stringify(body) };
}

// keyOf gives the key of a request: the same one where it is sent once more, because its answer was
// not heard. Without https there is no randomUUID.
let keys = new Map();

function keyOf(request) {
  if (!keys.has(request)) keys.set(request, crypto.randomUUID ? crypto.randomUUID() : crypto.getRandomValues(new Uint32Array(4)).join("-"));
  return keys.get(request);
}

async function send(dry) {
  const { url, body } = asked(dry);
  const headers = { "Idempotency-Key": keyOf(url + body) };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(url, { method: act.method, headers, body });
  const text = await answer.text();
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    said = { detail: text || answer.statusText };
  }
  if (!answer.ok) throw new Error(said.detail || said.title);
  return said;
}

function several(n, one) {
  return n === 1 ? "1 " + one : n + " " + one + "s";
}

function names(list, n) {
  const shown = list.slice(0, 20).join(", ");
  return n > Math.min(list.length, 20) ? shown + " and " + (n - Math.min(list.length, 20)) + " more" : shown;
}

// effects says in words what an answer says.
function effects(said) {
  const lines = [];
  if ("accepted" in said) {
    lines.push(said.accepted ? "The platform has taken the retries of " + several(said.accepted, "target") + " already; they cannot be called back: " + names(said.which, said.accepted) : "No retry is with the platform that could not be called back.");
    if (said.unknown.length) lines.push("No attempt was ever made of " + names(said.unknown, said.unknown.length) + ": is that the right name?");
  }
  for (const p of said.pauses || []) lines.push("Ends the pause by " + p.who + " since " + p.at + ": " + p.why);
  for (const h of said.halts || []) lines.push("Ends a halt of policy " + h.policy + " since " + h.at);
  if ("policy_hash" in said) lines.push("Valid until " + said.until + ", for " + (said.targets ? "at most " + several(said.targets, "target") : "any number of targets") + ", while policy " + said.policy + " is as it is now.");
  if ("count" in said) lines.push(said.count ? several(said.count, "target") + ": " + names(said.devices || [], said.count) : "No target.");
  if ((said.going || []).length) lines.push("Not given up, and retried without this too: " + names(said.going, said.going.length));
  if (said.result) lines.push(...outcome(said));
  for (const r of (said.items || []).filter((item) => item.kind === "sweep")) lines.push("Policy " + r.policy + " on " + r.connection + ". What that comes to is what retryd plan shows.");
  return lines.concat(leftOf(said.left || []));
}

// leftOf says which targets are left as they are, and why.
function leftOf(left) {
  if (!left.length) return [];
  const why = (l) => l.device_id + ": " + l.reason.replaceAll("_", " ") + (l.detail ? ", " + l.detail : "");
  return ["Left as they are: " + several(left.length, "target") + "."].concat(left.slice(0, 5).map(why));
}

// outcome says what came, or would come, of work that was asked for.
function outcome(request) {
  const list = (counts) => Object.entries(counts).map(([name, n]) => n + " " + name.replaceAll("_", " ")).join(", ");
  const { targets, sent, capped, left, problems } = request.result;
  const lines = [];
  if (targets) lines.push("Targets by verdict: " + (list(targets) || "none"));
  if (capped) lines.push("Held back by a limit: " + list(capped));
  if (sent) lines.push("Sent: " + (list(sent) || "nothing"));
  return lines.concat(leftOf(left || []), problems || []);
}

// watch tells what becomes of work that was asked for, as long as that is a matter of seconds.
async function watch(request, title) {
  for (let i = 0; i < 60 && ["waiting", "running"].includes(request.state); i++) {
    await new Promise((done) => setTimeout(done, 1000));
    const answer = await fetch("/api/v1/requests/" + request.id);
    if (!answer.ok) return;
    request = await answer.json();
  }
  tell(title + ": " + [request.state, ...outcome(request)].join(". "));
  refresh();
}

function show(lines, refused) {
  const will = form.querySelector(".will");
  will.classList.toggle("refused", Boolean(refused));
  will.replaceChildren(...lines.map((line) => {
    const p = document.createElement("p");
    p.textContent = line;
    return p;
  }));
}

let turn = 0;
let seen = false; // what would happen

function ready() {
  form.querySelector(".do").disabled = !(seen && form.why.value.trim());
}

async function foresee() {
  const mine = ++turn;
  seen = false;
  ready();
  if (act.dry === undefined) {
    seen = true;
    show([]);
    return ready();
  }
  show(["Asking what would happen …"]);
  try {
    const said = await send(true);
    if (mine !== turn) return;
    seen = true;
    show(effects(said));
  } catch (e) {
    if (mine !== turn) return;
    show(["It would be refused: " + e.message], true);
  }
  ready();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button || !dialog) return;
  act = { ...button.dataset };
  keys = new Map();
  form.reset();
  choose();
  dialog.querySelector("#ask-title").textContent = button.getAttribute("aria-label");
  dialog.querySelector("#ask-says").textContent = act.says;
  for (const field of form.querySelectorAll("[data-field]")) field.hidden = !fields().includes(field.dataset.field);
  form.querySelector(".do").textContent = act.label;
  dialog.showModal();
  form.why.focus();
  foresee();
});

if (dialog) {
  form.addEventListener("input", (event) => {
    if (event.target === form.why) return ready();
    if (event.target.name === "until" || event.target.name === "valid") choose();
    foresee();
  });
  form.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    form.querySelector(".do").disabled = true;
    const title = dialog.querySelector("#ask-title").textContent;
    try {
      const said = await send(false);
      dialog.close();
      const requests = said.result ? [said] : (said.items || []).filter((item) => item.result);
      tell((requests.length ? "Asked for: " : "Done: ") + title);
      await refresh();
      if (requests.length === 1) watch(requests[0], title);
    } catch (e) {
      show(["It was refused: " + e.message], true);
      ready();
    }
  });
}
