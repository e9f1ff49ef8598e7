// The inbox: polls the list (304 while nothing changed), shows one message. Text goes in as text, never as markup.
const $ = (id) => document.getElementById(id);
const seen = new Set();
let list = [];
let current = null; // the message shown, as the server describes it
let tab = null;

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const time = (at) => {
  const date = new Date(at * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium" });
};
const bytes = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KB` : `${(n / 1048576).toFixed(1)} MB`);
const mailbox = (text) => {
  const name = text.replace(/<[^<>]*>\s*$/, "").trim().replace(/^"(.*)"$/, (_, quoted) => quoted.replace(/\\(.)/g, "$1"));
  return name || text;
};
const hue = (text) => [...text].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7);

function line(summary) {
  const who = mailbox(summary.to);
  const face = element("span", { class: "face", "aria-hidden": "true" }, [...who.replace(/^[^\p{L}\p{N}]+/u, "")][0]?.toUpperCase() ?? "@");
  face.style.setProperty("--hue", hue(summary.to));
  const button = element("button", { type: "button", "data-id": summary.id },
    face,
    element("span", { class: "who", dir: "auto" }, who),
    element("span", { class: "when" }, time(summary.at)),
    element("span", { class: "what", dir: "auto" }, summary.subject || "(no subject)"));
  button.classList.toggle("new", !seen.has(summary.id));
  if (current?.id === summary.id) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => open(summary.id));
  return element("li", {}, button);
}

function drawList(page) {
  list = page.messages;
  $("messages").replaceChildren(...list.map(line));
  $("count").textContent = page.total === 1 ? "1 message" : `${page.total.toLocaleString()} messages`;
  document.title = `${page.total ? `(${page.total}) ` : ""}Inbox – mailer sandbox`;
  const rest = page.found - list.length;
  $("more").hidden = !rest && !(page.total && !list.length);
  $("more").textContent = rest ? `and ${rest.toLocaleString()} older; search finds them` : "nothing found";
}

async function open(id, view) {
  const answer = await fetch(`/messages/${encodeURIComponent(id)}`);
  if (!answer.ok) return;
  current = await answer.json();
  seen.add(id);
  location.hash = id;
  $("app").classList.remove("list-shown");
  for (const button of $("messages").querySelectorAll("button")) {
    const here = button.dataset.id === id;
    here ? button.setAttribute("aria-current", "true") : button.removeAttribute("aria-current");
    if (here) button.classList.remove("new");
  }
  drawMessage(view);
}

function header(name) {
  return current.headers.find(([key]) => key.toLowerCase() === name)?.[1] ?? "";
}

function drawMessage(view) {
  $("empty").hidden = true;
  $("message").hidden = false;
  $("subject").textContent = header("subject") || "(no subject)";
  const facts = [["From", header("from")], ["To", header("to")], ["Cc", header("cc")],
    ["Envelope", `${current.envelope.sender || "<>"} → ${current.envelope.recipients.join(", ")}`],
    ["Arrived", `${new Date(current.at * 1000).toLocaleString()} · ${bytes(current.size)}`]];
  $("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", { dir: "auto" }, value)]));
  $("files").replaceChildren(...current.parts.map((part) => element("li", {},
    element("a", { href: `/messages/${encodeURIComponent(current.id)}/parts/${part.number}`, download: part.name },
      part.name, element("small", {}, `${bytes(part.size)}${part.inline ? " · inline" : ""}`)))));
  const tabs = [current.html && "HTML", current.text !== null && "Text", "Headers", "Source"].filter(Boolean);
  tab = tabs.includes(view ?? tab) ? view ?? tab : tabs[0];
  $("tabs").replaceChildren(...tabs.map((name) => {
    const button = element("button", { type: "button", role: "tab", "aria-selected": String(name === tab) }, name);
    button.addEventListener("click", () => drawMessage(name));
    return button;
  }));
  drawView();
}

async function drawView() {
  const base = `/messages/${encodeURIComponent(current.id)}`;
  $("widths").hidden = tab !== "HTML";
  $("view").classList.toggle("phone", tab === "HTML" && phone());
  if (tab === "HTML") {
    const sandbox = "allow-popups allow-popups-to-escape-sandbox"; // no scripts, no forms, an origin of its own
    $("view").replaceChildren(element("iframe", { sandbox, src: `${base}/html`, title: "The message's HTML", referrerpolicy: "no-referrer" }));
  } else if (tab === "Headers") {
    $("view").replaceChildren(element("table", {}, ...current.headers.map(([key, value]) =>
      element("tr", {}, element("th", {}, key), element("td", { dir: "auto" }, value)))));
  } else if (tab === "Text") {
    $("view").replaceChildren(element("pre", { dir: "auto" }, current.text));
  } else {
    $("view").replaceChildren(element("pre", {}, await (await fetch(`${base}/source`)).text()));
  }
}

const phone = () => $("widths").querySelector("[aria-pressed=true]").dataset.width === "phone";
for (const button of $("widths").children) {
  button.addEventListener("click", () => {
    for (const other of $("widths").children) other.setAttribute("aria-pressed", String(other === button));
    $("view").classList.toggle("phone", phone());
  });
}

let tag = null;
async function poll() {
  try {
    const find = $("find").value.trim();
    const answer = await fetch(`/messages?find=${encodeURIComponent(find)}`, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      drawList(await answer.json());
    }
    $("state").classList.remove("lost");
  } catch {
    $("state").classList.add("lost");
    $("count").textContent = "the sandbox has ended";
    tag = null;
  }
}

$("find").addEventListener("input", () => { tag = null; poll(); });
$("back").addEventListener("click", () => $("app").classList.add("list-shown"));
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || !["j", "k", "ArrowDown", "ArrowUp"].includes(event.key)) return;
  const step = event.key === "j" || event.key === "ArrowDown" ? 1 : -1;
  const next = list[list.findIndex((summary) => summary.id === current?.id) + step];
  if (next) { event.preventDefault(); open(next.id); }
});

await poll();
const first = decodeURIComponent(location.hash.slice(1)) || (matchMedia("(min-width: 761px)").matches && list[0]?.id);
if (first) await open(first);
setInterval(() => { if (!document.hidden) poll(); }, 1000);
