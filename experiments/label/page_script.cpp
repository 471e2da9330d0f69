#include "experiments/label/page_parts.h"

namespace leash::label {

const std::string_view kPageScript = R"JS("use strict";
const token = new URLSearchParams(location.search).get("token") || "";
const at = (id) => document.getElementById(id);
const choices = at("choices");
const said = {left: "left is better", right: "right is better", tie: "a tie", both_bad: "both bad", skip: "skipped"};
let view = null;   // what the server offers
let busy = false;  // a judgement is on its way: a second press must not hit the next pair
let last = "";     // what was saved last, for the status line

async function call(method, path, body) {
  const response = await fetch(path, {
    method, cache: "no-store", headers: {"Authorization": "Bearer " + token, "Content-Type": "application/json"},
    body: body === undefined ? undefined : JSON.stringify(body)});
  const json = await response.json().catch(() => ({}));
  if (!response.ok && !json.offer) throw new Error(json.error || "the server said " + response.status);
  return json;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showPrompt(parts) {
  const box = at("prompt");
  box.replaceChildren();
  for (const part of parts) {
    const message = element("div", undefined, "message");
    if (part.role !== null) message.append(element("p", part.role, "role"));
    const text = element("div", part.text, "text");
    text.dir = "auto";
    message.append(text);
    box.append(message);
  }
}

function showProgress(progress) {
  const done = progress.judged + progress.skipped;
  at("bar").max = Math.max(progress.total, 1);
  at("bar").value = done;
  at("bar").setAttribute("aria-valuetext", `${done} of ${progress.total} pairs`);
  at("count").textContent = `${done} of ${progress.total}` + (progress.skipped ? ` (${progress.skipped} skipped)` : "");
}

function show(next, focus) {
  const before = view && view.pair ? view.pair.id : null;
  view = next;
  const pair = view.pair, progress = view.progress;
  showProgress(progress);
  at("who").textContent = view.user;
  at("undo").disabled = !view.can_undo;
  at("task").hidden = choices.hidden = !pair;
  at("end").hidden = view.offer !== "done";
  const prefix = last ? last + " " : "";
  if (pair) {
    const number = progress.judged + progress.skipped + 1;
    at("title").textContent = `Prompt of pair ${number} of ${progress.total}`;
    if (pair.id !== before) {
      showPrompt(pair.prompt);
      for (const side of ["left", "right"]) {
        at(side).textContent = pair[side];
        at(side + "-cut").hidden = !pair[side + "_cut"];
      }
      at("comment").value = pair.comment;
      window.scrollTo(0, 0);
    }
    at("status").textContent = `${prefix}Pair ${number} of ${progress.total}.`;
    if (focus) at("title").focus({preventScroll: true});
  } else if (view.offer === "waiting") {
    at("status").textContent = prefix + "Answers are being sampled…";
    poll();
  } else if (view.offer === "done") {
    at("status").textContent = prefix + "All pairs are judged.";
    if (focus) at("end-title").focus();
  }
  at("alert").textContent = view.error ? `Not saved: ${view.error}.`
    : view.offer === "failed" ? "Sampling failed: " + view.failure : "";
}

async function act(work, focus) {
  if (busy) return;
  busy = true;
  choices.setAttribute("aria-busy", "true");
  try {
    show(await work(), focus);
    if (at("standing").open) showStatistics();
  } catch (error) {
    at("alert").textContent = (error instanceof TypeError ? "The server cannot be reached; nothing was saved." : error.message);
  } finally {
    busy = false;
    choices.removeAttribute("aria-busy");
  }
}

function judge(verdict) {
  if (!view || !view.pair || busy) return;
  const body = {pair: view.pair.id, verdict, comment: at("comment").value};
  act(async () => {
    const next = await call("POST", "/api/judge", body);
    last = next.error ? "" : `Saved: ${said[verdict]}.`;
    return next;
  }, true);
}

function undo() {
  if (!view || !view.can_undo || busy) return;
  act(async () => {
    const next = await call("POST", "/api/undo", {});
    last = next.error ? "" : "Taken back.";
    return next;
  }, true);
}

function poll() {
  setTimeout(() => act(() => call("GET", "/api/next"), false), 200);
}

function share(value) {
  if (!value.judgements) return "–";
  const range = value.ci95 ? ` [${value.ci95[0].toFixed(2)}, ${value.ci95[1].toFixed(2)}]` : "";
  return value.mean.toFixed(2) + range;
}

function agreement(value) {
  if (!value.pairs) return "no pair was judged by two";
  if (value.value === null) return `all say the same (${value.pairs} pairs)`;
  const range = value.ci95 ? ` [${value.ci95[0].toFixed(2)}, ${value.ci95[1].toFixed(2)}]` : "";
  return `${value.value.toFixed(2)}${range} over ${value.pairs} pairs`;
}

async function showStatistics() {
  const json = await call("GET", "/api/statistics");
  const table = element("table");
  table.append(element("caption", "Shares are of judgements that prefer an answer, with 95 % intervals; 0.5 is no bias."));
  const head = element("tr");
  for (const title of ["Who", "Left", "Right", "Tie", "Both bad", "Skipped", "Prefers the left one", "Prefers the longer one"]) {
    const cell = element("th", title);
    cell.scope = "col";
    head.append(cell);
  }
  table.append(element("thead"), element("tbody"));
  table.tHead.append(head);
  const people = json.people.concat(json.people.length > 1 ? [Object.assign({user: "everybody"}, json.everybody)] : []);
  for (const person of people) {
    const row = element("tr"), name = element("th", person.user);
    name.scope = "row";
    row.append(name);
    for (const key of ["left", "right", "tie", "both_bad", "skip"]) row.append(element("td", String(person[key])));
    row.append(element("td", share(person.left_preferred)), element("td", share(person.longer_preferred)));
    table.tBodies[0].append(row);
  }
  const box = at("statistics");
  box.replaceChildren(table);
  if (json.people.length > 1) {
    box.append(element("p", "Agreement of all (Krippendorff's alpha): " + agreement(json.krippendorff_alpha)));
    for (const two of json.cohen_kappa) {
      box.append(element("p", `Agreement of ${two.users[0]} and ${two.users[1]} (Cohen's kappa): ${agreement(two)}`));
    }
  }
}

const verdictOfKey = {ArrowLeft: "left", "1": "left", ArrowRight: "right", "2": "right", t: "tie", "3": "tie", b: "both_bad", "4": "both_bad", s: "skip"};
document.addEventListener("keydown", (event) => {
  if (event.target === at("comment")) {
    if (event.key === "Escape") at("title").focus();
    return;
  }
  if (!at("keys").checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (verdictOfKey[key]) {
    judge(verdictOfKey[key]);
  } else if (key === "u") {
    undo();
  } else if (key === "c" && view && view.pair) {
    at("comment").focus();
  } else {
    return;
  }
  event.preventDefault();
});
for (const button of choices.querySelectorAll("button")) {
  button.addEventListener("click", () => judge(button.dataset.verdict));
}
at("undo").addEventListener("click", undo);
at("finish").addEventListener("click", async () => {
  try {
    await call("POST", "/api/finish", {});
    at("status").textContent = "Finished. This window can be closed.";
    at("finish").disabled = true;
  } catch (error) {
    at("alert").textContent = error.message;
  }
});
at("standing").addEventListener("toggle", () => {
  if (at("standing").open) showStatistics().catch((error) => { at("alert").textContent = error.message; });
});
act(() => call("GET", "/api/next"), false);
)JS";

}  // namespace leash::label
