"use strict";
(() => {
  const ROWS = 200; // shown at a time
  const WORDS = ["failed", "in doubt", "deferred", "pending", "suppressed", "sent"]; // by the number in a row
  const CLASSES = ["failed", "in_doubt", "deferred", "pending", "suppressed", "sent"];
  const [EMAIL, KEY, STATUS, LABEL, REPLY, ERROR, ID, ATTEMPTS, SIZE, AT, COPIES] = Array(11).keys();
  const COLUMNS = [EMAIL, STATUS, REPLY, ATTEMPTS, SIZE, AT];
  const $ = (id) => document.getElementById(id);

  const all = JSON.parse($("data").textContent).map((row, place) => ({ row, place, text: null }));
  // Problems first; within an outcome in the order of the list.
  let order = all.slice().sort((a, b) => a.row[STATUS] - b.row[STATUS] || a.place - b.place);
  let found = order;
  let limit = ROWS;
  let status = "";
  let code = null;
  const total = Number($("data").dataset.total);

  // A group's text has its differing parts cut out as "…": a row belongs to it if all of the rest is found.
  const splitWords = (text) => text.toLowerCase().split(/[\s…]+/).filter(Boolean);
  const makeSearchText = (entry) => (entry.text ??= [entry.row[EMAIL], entry.row[KEY], WORDS[entry.row[STATUS]], entry.row[LABEL], entry.row[REPLY],
    entry.row[ERROR], entry.row[ID], entry.row[COPIES]].join("\n").toLowerCase());

  function element(name, className, ...children) {
    const node = document.createElement(name);
    if (className) node.className = className;
    node.append(...children);
    return node;
  }

  const breakAddress = (address) => address.split(/(?=[@.])/).flatMap((piece, n) => (n ? [document.createElement("wbr"), piece] : [piece]));
  const formatSize = (n) => (!n ? "" : n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`);

  function createRow({ row }) {
    const kind = CLASSES[row[STATUS]];
    const who = element("td", "who", ...breakAddress(row[EMAIL]));
    if (row[KEY]) who.append(element("small", "", row[KEY]));
    const said = element("td", "said");
    if (row[LABEL]) said.append(element("code", "", row[LABEL].split(" ")[0]), " ");
    said.append(row[REPLY] || row[ERROR]);
    if (row[REPLY] && row[ERROR]) said.append(element("small", "", row[ERROR]));
    for (const copy of row[COPIES] ? row[COPIES].split("\n") : []) said.append(element("small", "", copy));
    if (row[ID]) said.append(element("small", "id", row[ID]));
    return element("tr", kind, who, element("td", "", element("span", `badge ${kind}`, WORDS[row[STATUS]])), said,
      element("td", "number attempts", String(row[ATTEMPTS] || "")), element("td", "number", formatSize(row[SIZE])), element("td", "when", row[AT]));
  }

  function draw() {
    document.querySelector("tbody").replaceChildren(...found.slice(0, limit).map(createRow));
    const isAll = found.length === all.length;
    $("shown").textContent = isAll && limit >= found.length ? "" : isAll ? `the first ${limit} of ${total.toLocaleString("en")}`
      : `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
    $("no-match").hidden = found.length > 0 || all.length === 0;
    const rest = found.length - limit;
    $("more").hidden = rest <= 0;
    $("more").textContent = `Show ${Math.min(ROWS, rest)} more of ${rest.toLocaleString("en")}`;
    $("copy").disabled = $("csv").disabled = !found.length;
  }

  function apply() {
    const wanted = splitWords($("search").value);
    found = order.filter((entry) => (status === "" || String(entry.row[STATUS]) === status) && (code === null || entry.row[LABEL] === code) &&
      wanted.every((word) => makeSearchText(entry).includes(word)));
    limit = ROWS;
    draw();
  }

  const filters = Array.from(document.querySelectorAll("[data-filter]"));
  function choose(value) {
    status = value;
    for (const button of filters) button.setAttribute("aria-pressed", String(button.dataset.filter === value));
  }

  $("search").addEventListener("input", () => { code = null; apply(); });
  for (const button of filters) button.addEventListener("click", () => { code = null; choose(button.dataset.filter); apply(); });
  for (const button of document.querySelectorAll("[data-group]")) {
    button.addEventListener("click", () => {
      choose(button.dataset.status);
      $("search").value = button.dataset.group;
      code = button.dataset.code ?? null;
      apply();
      $("recipients").scrollIntoView({ behavior: "smooth" });
    });
  }
  $("more").addEventListener("click", () => { limit += ROWS; draw(); });

  const heads = Array.from(document.querySelectorAll("[data-column]"));
  for (const head of heads) {
    head.addEventListener("click", () => {
      const cell = head.parentNode;
      const sign = cell.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.parentNode.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const column = COLUMNS[Number(head.dataset.column)];
      const compare = typeof all[0]?.row[column] === "number" ? (a, b) => a - b : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      order = all.slice().sort((a, b) => compare(a.row[column], b.row[column]) * sign || a.place - b.place);
      apply();
    });
  }

  const showBriefly = (button, text) => {
    const before = button.dataset.text ??= button.textContent;
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  $("copy").addEventListener("click", async () => {
    const text = found.map(({ row }) => row[EMAIL]).join("\n");
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a file that is opened from a disk may have no clipboard
      const area = element("textarea", "unseen", text);
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    showBriefly($("copy"), "Copied");
  });

  // A cell must not be a formula to a spreadsheet: the same rule as that of the CSV report.
  const escapeCell = (value) => {
    const text = String(value);
    const safe = /^[\s]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && typeof value === "string" ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  $("csv").addEventListener("click", () => {
    const head = ["email", "key", "status", "attempts", "code", "enhanced", "reply", "message_id", "size", "at", "error", "copies_refused"];
    const lines = found.map(({ row }) => {
      const [number = "", enhanced = ""] = row[LABEL].split(" ");
      return [row[EMAIL], row[KEY] || row[EMAIL], CLASSES[row[STATUS]], row[ATTEMPTS], number, enhanced, row[REPLY], row[ID], row[SIZE] || "",
        row[AT] ? `${row[AT].replace(" ", "T")}Z` : "", row[ERROR], row[COPIES].replace(/\n/g, "; ")].map(escapeCell).join(",");
    });
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([[head.join(","), ...lines, ""].join("\n")], { type: "text/csv" }));
    link.download = "recipients.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    showBriefly($("csv"), "Saved");
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== $("search")) { event.preventDefault(); $("search").focus(); }
  });
  $("search").disabled = false;
  $("left-out").hidden = all.length >= total;
  $("left-out").textContent = `This page holds ${all.length.toLocaleString("en")} of ${total.toLocaleString("en")} recipients: all who do not have the message, and of the others those for whom there is room. All of them are in the JSON and CSV reports.`;
  draw();
})();
