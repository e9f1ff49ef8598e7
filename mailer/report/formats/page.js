"use strict";
(() => {
  const body = document.querySelector("tbody");
  const rows = Array.from(body.rows, (row) => ({
    row,
    status: row.dataset.status,
    code: row.querySelector(".said").dataset.code,
    text: row.textContent.toLowerCase(),
  }));
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const nobody = document.getElementById("nobody");
  const filters = Array.from(document.querySelectorAll("[data-filter]"));
  let status = "";
  let code = null;

  // A group's text has its differing parts cut out as "…": a row belongs where all of the rest is found.
  const words = (text) => text.toLowerCase().split(/[\s…]+/).filter(Boolean);

  function apply() {
    const wanted = words(search.value);
    let count = 0;
    for (const entry of rows) {
      const fits =
        (!status || entry.status === status) &&
        (code === null || entry.code === code) &&
        wanted.every((word) => entry.text.includes(word));
      entry.row.hidden = !fits;
      count += fits;
    }
    shown.textContent = count === rows.length ? "" : `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    nobody.hidden = count > 0 || rows.length === 0;
  }

  function choose(value) {
    status = value;
    for (const button of filters) button.setAttribute("aria-pressed", String(button.dataset.filter === value));
  }

  search.addEventListener("input", () => { code = null; apply(); });
  for (const button of filters) {
    button.addEventListener("click", () => { code = null; choose(button.dataset.filter); apply(); });
  }
  for (const button of document.querySelectorAll("[data-group]")) {
    button.addEventListener("click", () => {
      choose(button.dataset.status);
      search.value = button.dataset.group;
      code = button.dataset.code ?? null;
      apply();
      document.getElementById("recipients").scrollIntoView({ behavior: "smooth" });
    });
  }

  const value = (row, column, kind) => {
    const cell = row.cells[column];
    return kind === "number" ? Number(cell.dataset.value ?? cell.textContent) : cell.textContent;
  };
  const heads = Array.from(document.querySelectorAll("th[data-sort]"));
  for (const head of heads) {
    head.tabIndex = 0;
    const sort = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const kind = head.dataset.sort;
      const order = rows.map(({ row }) => [value(row, head.cellIndex, kind), row]);
      order.sort(([a], [b]) => (kind === "number" ? a - b : a.localeCompare(b)) * (up ? 1 : -1));
      body.append(...order.map(([, row]) => row));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  });
  apply();
})();
