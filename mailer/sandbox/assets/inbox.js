// The inbox: looks for new messages once a second, and shows one.
import { Viewer, createCopyButton, element, formatSize } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const seen = new Set();
const isPhone = matchMedia("(max-width: 760px)");
let list = [];
let current = null; // the message that is shown, as the server describes it
let drawn = ""; // the list as it was last drawn

const viewer = new Viewer($("viewer"), { extraTabs: [["SMTP", showDialogue]], storage: "inbox" });

const formatTime = (at) => {
  const date = new Date(at * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium" });
};
const extractName = (text) => {
  const name = text.replace(/<[^<>]*>\s*$/, "").trim().replace(/^"(.*)"$/, (_, quoted) => quoted.replace(/\\(.)/g, "$1"));
  return name || text;
};
const computeHue = (text) => [...text].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7);
const makePath = (id) => `api/messages/${encodeURIComponent(id)}`;

function createRow(summary) {
  const who = extractName(summary.to);
  const face = element("span", { class: "face", "aria-hidden": "true" }, [...who.replace(/^[^\p{L}\p{N}]+/u, "")][0]?.toUpperCase() ?? "@");
  face.style.setProperty("--hue", computeHue(summary.to));
  const button = element("button", { type: "button", "data-id": summary.id },
    face,
    element("span", { class: "who", dir: "auto" }, who.slice(0, 200)),
    element("span", { class: "when" }, formatTime(summary.at)),
    element("span", { class: "what", dir: "auto" }, summary.subject.slice(0, 300) || "(no subject)"));
  button.classList.toggle("new", !seen.has(summary.id));
  if (current?.id === summary.id) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => open(summary.id));
  return element("li", {}, button);
}

function drawList(page) {
  list = page.messages;
  const focused = document.activeElement?.closest("#messages")?.querySelector(":focus")?.dataset.id;
  $("messages").replaceChildren(...list.map(createRow));
  if (focused) $("messages").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  $("count").textContent = page.total === 1 ? "1 message" : `${page.total.toLocaleString()} messages`;
  document.title = `${page.total ? `(${page.total}) ` : ""}Inbox · mailer sandbox`;
  $("clear").disabled = !page.total;
  const rest = page.found - list.length;
  const unread = page.total - page.searched;
  const notes = [rest > 0 && `${rest.toLocaleString()} older; search finds them`, page.total && !page.found && !unread && "nothing found",
    unread > 0 && `searching: ${page.searched.toLocaleString()} of ${page.total.toLocaleString()}`].filter(Boolean);
  $("more").hidden = !notes.length;
  $("more").textContent = notes.join(" · ");
  if (!page.total) close();
}

function close() {
  current = null;
  $("message").hidden = true;
  $("empty").hidden = false;
  $("app").classList.toggle("list-shown", list.length > 0);
}

async function open(id) {
  const answer = await fetch(makePath(id));
  if (!answer.ok) return;
  current = await answer.json();
  seen.add(id);
  history.replaceState(null, "", `#${id}`);
  $("app").classList.remove("list-shown");
  for (const button of $("messages").querySelectorAll("button")) {
    const here = button.dataset.id === id;
    if (here) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    if (here) { button.classList.remove("new"); button.scrollIntoView({ block: "nearest" }); }
  }
  drawMessage();
}

function drawMessage() {
  $("empty").hidden = true;
  $("message").hidden = false;
  $("subject").textContent = $("subject").title = current.subject || "(no subject)";
  const shorten = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);
  $("people").replaceChildren(element("bdi", {}, shorten(extractName(current.from))), " → ", element("bdi", {}, shorten(extractName(current.to))));
  $("details").open = !isPhone.matches;
  const facts = [["From", current.from], ["To", current.to], ["Cc", current.cc],
    ["Envelope", `${current.envelope.sender || "<>"} → ${current.envelope.recipients.join(", ")}`],
    ["Arrived", `${new Date(current.at * 1000).toLocaleString()} · ${formatSize(current.size)}`]];
  $("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", { dir: "auto" }, value)]));
  $("files").replaceChildren(...current.parts.map((part) => element("li", {},
    element("a", { href: `${makePath(current.id)}/parts/${part.number}`, download: part.name },
      part.name, element("small", {}, `${formatSize(part.size)}${part.inline ? " · inline" : ""}`)))));
  const name = `${current.subject.replace(/[^\p{L}\p{N} ._-]+/gu, "").trim().slice(0, 60) || "message"}.eml`;
  $("download").href = `${makePath(current.id)}/source?download=${encodeURIComponent(name)}`;
  viewer.show(current, makePath(current.id));
}

async function showDialogue(message) {
  const answer = message.dialogue && await fetch(`api/dialogues/${encodeURIComponent(message.dialogue)}`);
  if (!answer || !answer.ok) return element("pre", {}, "The dialogue of this session is not kept.");
  // The reply to this message is marked: a session may have thousands.
  const [before, line, after] = splitAt(await answer.text(), message.id);
  const mark = element("mark", {}, line);
  requestAnimationFrame(() => mark.scrollIntoView({ block: "center" }));
  return element("pre", {}, before, mark, after);
}

function splitAt(text, id) {
  const at = text.indexOf(id);
  if (at < 0) return [text, "", ""];
  const [start, end] = [text.lastIndexOf("\n", at) + 1, text.indexOf("\n", at)];
  return [text.slice(0, start), text.slice(start, end), text.slice(end)];
}

async function remove(id) {
  const at = list.findIndex((summary) => summary.id === id);
  await fetch(makePath(id), { method: "DELETE" });
  await poll();
  const next = list[Math.min(at, list.length - 1)];
  if (next && !isPhone.matches) await open(next.id);
  else if (isPhone.matches) $("app").classList.add("list-shown");
}

function confirm(text) {
  const dialog = $("confirm");
  $("confirm-text").textContent = text;
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = (event) => { if (event.target.value) dialog.close(event.target.value); };
    dialog.addEventListener("click", answer);
    dialog.addEventListener("close", () => { dialog.removeEventListener("click", answer); resolve(dialog.returnValue === "yes"); }, { once: true });
    dialog.returnValue = "";
  });
}

let turn = 0;
async function poll() {
  const mine = ++turn;
  try {
    const answer = await fetch(`api/messages?find=${encodeURIComponent($("find").value.trim())}`);
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    if (mine !== turn) return;
    if (text !== drawn) drawList(JSON.parse(text));
    drawn = text;
    $("state").classList.remove("lost");
  } catch {
    $("state").classList.add("lost");
    $("count").textContent = "the sandbox has ended";
    drawn = "";
  }
}

async function drawCommands() {
  const answer = await fetch("api/server");
  const server = answer.ok ? await answer.json() : {};
  const commands = [server.export, server.url && "mailer send campaigns/NAME.yaml"].filter(Boolean);
  $("commands").replaceChildren(...commands.map((text) =>
    element("div", { class: "command" }, element("code", {}, text), createCopyButton(() => text))));
}

$("find").addEventListener("input", poll);
$("back").addEventListener("click", () => $("app").classList.add("list-shown"));
$("delete").addEventListener("click", () => remove(current.id));
$("clear").addEventListener("click", async () => {
  if (!await confirm("The files of all messages in this inbox are removed.")) return;
  await fetch("api/messages", { method: "DELETE" });
  await poll();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || $("confirm").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); $("find").focus(); }
  if (event.key === "Delete" && current) remove(current.id);
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  if (!step || event.target.closest(".stage")) return;
  const next = list[list.findIndex((summary) => summary.id === current?.id) + step];
  if (next) { event.preventDefault(); open(next.id); }
});

await poll();
drawCommands();
const first = decodeURIComponent(location.hash.slice(1)) || (!isPhone.matches && list[0]?.id);
if (first) await open(first);
else if (!list.length) close();
document.documentElement.dataset.ready = "true";
setInterval(() => { if (!document.hidden) poll(); }, 1000);
