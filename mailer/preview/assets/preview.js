// The preview: the list of recipients, the message of one, and what is to be said about it. The server tells of each
// change (server-sent events); the message is then fetched again, and the page keeps its place.
import { Viewer, element, formatSize } from "./viewer.js";

const CLIPPED = 102 * 1024; // octets of HTML at which Gmail cuts a message
const isNarrow = matchMedia("(max-width: 900px)"); // one pane at a time, see preview.css
const $ = (id) => document.getElementById(id);
const viewer = new Viewer($("viewer"), { storage: "preview" });
let state = { version: -1, count: 0, problems: [] };
let page = { rows: [], hasMore: false };
let start = 0; // of the rows that are shown
let position = Number(sessionStorage.getItem("position") ?? 0);
let shown = null; // the last message that could be made
let turn = 0;

const getJson = async (path) => {
  const answer = await fetch(path);
  return answer.ok ? answer.json() : null;
};

// -- the list

async function loadRows(from, { backwards = false } = {}) {
  const find = $("find").value.trim();
  const found = await getJson(`recipients?${new URLSearchParams({ find, start: from, ...(backwards && { backwards: 1 }) })}`);
  if (!found || find !== $("find").value.trim()) return;
  page = found;
  start = page.rows[0]?.position ?? from;
  page.hasEarlier = backwards ? page.hasMore : from > 0;
  page.hasLater = backwards ? true : page.hasMore;
  drawRows();
}

function drawRows() {
  const focused = document.activeElement?.closest("#rows") ? document.activeElement.dataset.position : null;
  $("rows").replaceChildren(...page.rows.map((row) => {
    const button = element("button", { type: "button", "data-position": row.position },
      element("span", { class: "who", dir: "auto" }, row.name || row.email || "(no address)"),
      element("span", { class: "address", dir: "auto" }, row.email));
    if (row.hasProblem) { button.classList.add("wrong"); button.title = "This row has an error"; }
    button.addEventListener("click", () => {
      if (isNarrow.matches) showPane("reader");
      select(row.position);
    });
    return element("li", {}, button);
  }));
  markRow();
  if (focused !== null) $("rows").querySelector(`[data-position="${focused}"]`)?.focus();
  $("earlier").disabled = !page.hasEarlier;
  $("later").disabled = !page.hasLater;
  const [first, last] = [page.rows[0], page.rows.at(-1)];
  const of = state.count.toLocaleString();
  if (!first) $("range").textContent = $("find").value ? "nothing found" : "no recipients";
  else if ($("find").value.trim()) $("range").textContent = page.hasMore || start > 0 ? `found, up to ${(last.position + 1).toLocaleString()}` : `${page.rows.length} found`;
  else $("range").textContent = `${(first.position + 1).toLocaleString()}–${(last.position + 1).toLocaleString()} of ${of}`;
}

function markRow() {
  for (const button of $("rows").querySelectorAll("button")) {
    if (Number(button.dataset.position) === position) {
      button.setAttribute("aria-current", "true");
      button.scrollIntoView({ block: "nearest" });
    } else button.removeAttribute("aria-current");
  }
}

async function stepBy(by) {
  const at = page.rows.findIndex((row) => row.position === position);
  let next = at < 0 ? page.rows[0] : page.rows[at + by];
  if (!next && by > 0 && page.hasLater) { await loadRows(page.rows.at(-1).position + 1); [next] = page.rows; }
  if (!next && by < 0 && page.hasEarlier) { await loadRows(start, { backwards: true }); next = page.rows.at(-1); }
  if (!next) return;
  const hasFocus = document.activeElement?.closest("#rows") !== null;
  select(next.position);
  if (hasFocus) $("rows").querySelector(`[data-position="${next.position}"]`)?.focus();
}

async function jumpTo(to) {
  $("find").value = "";
  let found = null;
  if (to === "failing") found = await findFailing();
  else found = (await getJson(`jump?to=${to}`))?.position;
  if (found === null || found === undefined) return;
  if (!page.rows.some((row) => row.position === found)) await loadRows(Math.max(0, found - 8));
  select(found);
}

/** Looks in steps of a second, so that it can be followed, and ended with Escape. */
async function findFailing() {
  const mine = ++findFailing.turn;
  let from = position + 1;
  let wrapped = false;
  for (;;) {
    const found = await getJson(`jump?to=failing&start=${from}`);
    if (!found || mine !== findFailing.turn) return null;
    if (found.position !== null) { drawState(); return found.position; }
    $("progress").textContent = `looking for an error: ${found.searched.toLocaleString()} of ${state.count.toLocaleString()}`;
    from = found.searched;
    if (!found.isDone) continue;
    if (wrapped || position === 0) { $("progress").textContent = "no message has an error"; return null; }
    wrapped = true;
    from = 0;
  }
}
findFailing.turn = 0;

// -- the message

async function select(next, { keepPlace = false } = {}) {
  position = next;
  sessionStorage.setItem("position", String(position));
  markRow();
  const mine = ++turn;
  const message = await getJson(`message?position=${position}`);
  if (mine !== turn || !message) return;
  drawErrors(message.problems, "This message cannot be made");
  if (message.problems.length) { drawFindings([]); return; }
  const isSame = shown?.position === position;
  shown = message;
  drawTop(message);
  drawSizes(message);
  await viewer.show(message, `messages/${message.version}/${message.position}`, { keepPlace: keepPlace && isSame });
  if (mine !== turn) return;
  document.documentElement.dataset.version = message.version;
  if (!isSame) drawFindings(null);
  const findings = await getJson(`findings?position=${position}`);
  if (mine === turn) drawFindings(findings ?? []);
}

function drawTop(message) {
  $("subject").textContent = $("subject").title = message.subject || "(no subject)";
  const hidden = message.envelope.recipients.slice(1).filter((address) => !message.cc.includes(address));
  const facts = [["From", message.from], ["To", message.to], ["Cc", message.cc], ["Bcc", hidden.join(", ")]];
  $("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", { dir: "auto" }, value)]));
  const base = `messages/${message.version}/${message.position}`;
  $("files").replaceChildren(...message.parts.filter((part) => !part.inline).map((part) => element("li", {},
    element("a", { href: `${base}/parts/${part.number}`, download: part.name }, part.name, element("small", {}, formatSize(part.size))))));
}

function drawSizes(message) {
  const line = (name, value) => element("p", {}, element("span", {}, name), element("span", {}, value));
  const meter = element("div", { class: `meter ${message.htmlSize > CLIPPED ? "full" : ""}`, "aria-hidden": "true" });
  const bar = element("i");
  bar.style.width = `${Math.min(100, (100 * message.htmlSize) / CLIPPED)}%`;
  meter.append(bar);
  const over = message.htmlSize > CLIPPED;
  $("sizes").replaceChildren(...(message.html ? [line("HTML", `${(message.htmlSize / 1024).toFixed(1)} of 102 KB`), meter,
    element("small", {}, over ? "Gmail cuts this message." : "Gmail cuts a message whose HTML is larger than 102 KB.")] : []),
    line("Whole message", formatSize(message.size)));
}

function drawErrors(problems, title) {
  const isStale = problems.length > 0 && shown !== null;
  $("viewer").classList.toggle("stale", isStale);
  $("viewer").hidden = problems.length > 0 && shown === null;
  $("errors").hidden = !problems.length;
  $("errors").classList.toggle("alone", shown === null);
  if (!problems.length) return;
  $("errors").replaceChildren(
    element("h2", {}, problems.length === 1 ? title : `${title}: ${problems.length} errors`),
    ...(isStale ? [element("p", { class: "behind" }, `Behind this is the last message that could be made, to ${shown.envelope.recipients[0]}.`)] : []),
    ...problems.map(createProblem));
}

function createProblem(problem) {
  return element("div", { class: "problem" },
    ...(problem.place ? [element("p", { class: "place" }, problem.place)] : []),
    element("p", {}, problem.text), ...createExcerpt(problem));
}

function createExcerpt({ excerpt, line }) {
  if (!excerpt.length) return [];
  return [element("div", { class: "excerpt", tabindex: "0", role: "group", "aria-label": "Lines of the file" }, ...excerpt.map(([number, text]) =>
    element("code", { class: number === line ? "here" : "" }, element("b", {}, String(number)), text || " ")))];
}

/** `findings` is null while they are looked for. */
function drawFindings(findings) {
  if (findings === null) {
    $("note-count").hidden = true;
    $("findings").replaceChildren(element("li", { class: "none" }, "Checking …"));
    return;
  }
  const listed = state.problems.filter(() => shown && $("errors").hidden);
  $("note-count").hidden = !findings.length;
  $("note-count").textContent = findings.length;
  $("findings").replaceChildren(
    ...listed.map((problem) => element("li", {}, createProblem(problem))),
    ...findings.map((finding) => element("li", {},
      element("p", {}, finding.text), element("p", { class: "reason" }, finding.reason),
      element("p", {}, element("span", { class: "rule" }, finding.rule)),
      element("p", { class: "place" }, finding.place), ...createExcerpt(finding))),
    ...(findings.length || listed.length ? [] : [element("li", { class: "none" }, $("errors").hidden ? "No findings." : "Not checked while there is an error.")]));
}

// -- what the server tells

function drawState() {
  $("campaign").textContent = state.campaign || state.file;
  document.title = `${state.campaign || "Preview"} · mailer preview`;
  $("state").classList.toggle("busy", !state.isComplete);
  $("state").classList.remove("lost");
  $("prove").hidden = !state.mayProve;
  $("progress").textContent = state.isComplete ? `${state.count.toLocaleString()} ${state.count === 1 ? "recipient" : "recipients"}` : `reading the list: ${state.count.toLocaleString()}`;
}

async function receive(next) {
  const before = state;
  state = next;
  drawState();
  const isNew = before.version !== state.version;
  if (isNew && state.count && position >= state.count && state.isComplete) position = state.count - 1;
  if (state.problems.length && (!state.count || !state.campaign)) { ++turn; drawErrors(state.problems, "The campaign cannot be used"); drawFindings([]); }
  else if (isNew || (!shown && before.count !== state.count)) select(position, { keepPlace: true });
  if (isNew || (before.count !== state.count && (page.rows.length < 100 || !page.hasLater)) || before.isComplete !== state.isComplete) {
    await loadRows(page.rows.length ? start : Math.max(0, position - 8));
  } else drawRows();
  document.documentElement.dataset.ready = "true";
}

const events = new EventSource("events");
events.addEventListener("message", (event) => receive(JSON.parse(event.data)));
events.addEventListener("error", () => {
  $("state").classList.add("lost");
  $("progress").textContent = "the preview has ended";
});

// -- the proof

$("prove").addEventListener("click", () => {
  const row = page.rows.find((found) => found.position === position);
  const what = `The message of ${row?.email ?? "this recipient"}`;
  $("proof-text").textContent = state.server ? `${what} is sent to one address, by ${state.server}. It is not recorded as sent.`
    : `${what} cannot be sent: no server is named. Start the preview with --server or MAILER_SERVER, or add \`server:\` to the campaign.`;
  $("address").value ||= sessionStorage.getItem("proof") ?? "";
  $("outcome").hidden = true;
  $("proof-send").disabled = !state.server;
  $("proof").showModal();
  $("address").focus();
});
$("proof-close").addEventListener("click", () => $("proof").close());
$("proof-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const address = $("address").value.trim();
  sessionStorage.setItem("proof", address);
  const say = (text, isBad) => {
    $("outcome").hidden = false;
    $("outcome").textContent = text;
    $("outcome").classList.toggle("bad", isBad);
  };
  $("proof-send").disabled = true;
  say("Sending …", false);
  try {
    const answer = await fetch("proof", { method: "POST", body: JSON.stringify({ address, position }) });
    const outcome = await answer.json();
    say(outcome.text, !outcome.isSent);
  } catch {
    say("The preview did not answer.", true);
  }
  $("proof-send").disabled = false;
});

// -- the person

function showPane(name) {
  $("app").dataset.pane = name;
  for (const button of document.querySelectorAll(".panes button")) button.setAttribute("aria-pressed", String(button.dataset.pane === name));
  viewer.fit();
}

for (const button of document.querySelectorAll("[data-jump]")) button.addEventListener("click", () => jumpTo(button.dataset.jump));
for (const button of document.querySelectorAll(".panes button")) {
  button.addEventListener("click", () => showPane(button.dataset.pane));
}
$("find").addEventListener("input", () => loadRows(0));
$("earlier").addEventListener("click", () => loadRows(start, { backwards: true }));
$("later").addEventListener("click", () => loadRows(page.rows.at(-1).position + 1));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") findFailing.turn += 1;
  if (event.target.matches("input") || $("proof").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); $("find").focus(); }
  const by = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  if (!by || event.target.closest(".stage, .notes, .errors")) return;
  event.preventDefault();
  stepBy(by);
});
