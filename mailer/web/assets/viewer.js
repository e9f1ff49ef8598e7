// Shows one message: its HTML in a frame where nothing runs, at the width and in the colours of a device; its text,
// headers and source. Text goes into the page as text, never as markup.

const WIDTHS = { phone: 375, tablet: 768, desktop: 1024 };
const MAX_SOURCE = 500_000; // characters of the source that are shown
// No scripts, no forms. The same origin, so that this page can measure the frame and keep its place.
const SANDBOX = "allow-same-origin allow-popups allow-popups-to-escape-sandbox";

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export const formatSize = (n) => (n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1000).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`);

/** A group of buttons of which one is pressed. `choices` are [value, label, title]; `chosen(value)` is called. */
export function createChoice(label, choices, value, chosen, className = "") {
  const group = element("div", { class: `choice ${className}`, role: "group", "aria-label": label });
  const press = (pressed) => {
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.value === pressed));
  };
  for (const [key, text, title] of choices) {
    const button = element("button", { type: "button", "data-value": key, title }, text);
    button.addEventListener("click", () => { press(key); chosen(key); });
    group.append(button);
  }
  press(value);
  return group;
}

/** A button that copies `text()`, and says so. */
export function createCopyButton(text, label = "Copy") {
  const button = element("button", { type: "button", class: "button" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

export class Viewer {
  /** `root` is an empty element; `extraTabs` are [name, async (message) => Node]. */
  constructor(root, { extraTabs = [], storage = "viewer" } = {}) {
    this.root = root;
    this.extraTabs = extraTabs;
    this.storage = storage;
    this.state = { tab: "HTML", width: "desktop", scheme: "light", images: "on", ...this.restore() };
    this.message = null;
    this.turn = 0; // the newest request to show something; older ones that arrive late are dropped
    root.classList.add("viewer");
    this.tabs = element("div", { class: "tabs", role: "tablist", "aria-label": "View of the message" });
    this.tools = element("div", { class: "viewer-tools" },
      createChoice("Width", [["phone", "Phone", "375 pixels"], ["tablet", "Tablet", "768 pixels"], ["desktop", "Desktop", "1024 pixels"]],
        this.state.width, (width) => { this.change({ width }); }, "device-choice"),
      createChoice("Colours", [["light", "Light"], ["dark", "Dark", "As a mail program in dark mode shows it"]], this.state.scheme, (scheme) => this.change({ scheme })),
      createChoice("Images", [["on", "Images"], ["off", "No images", "As a mail program shows it before images are allowed"]], this.state.images, (images) => this.change({ images })));
    this.scale = element("span", { class: "scale" });
    this.tools.append(this.scale);
    this.notice = element("p", { class: "notice", hidden: "" });
    this.stage = element("div", { class: "stage fit", role: "tabpanel", tabindex: "0", id: `${storage}-panel` });
    root.append(element("div", { class: "viewer-bar" }, this.tabs, this.tools), this.notice, this.stage);
    addEventListener("resize", () => this.fit());
    this.tabs.addEventListener("keydown", (event) => this.moveBetweenTabs(event));
  }

  restore() {
    try { return JSON.parse(sessionStorage.getItem(this.storage)) ?? {}; } catch { return {}; }
  }

  change(part) {
    Object.assign(this.state, part);
    sessionStorage.setItem(this.storage, JSON.stringify(this.state));
    if (this.message) this.draw({ keepPlace: true });
  }

  /** `message` is what the server describes; its bodies are below `base`. With `keepPlace` the page does not jump. */
  show(message, base, { keepPlace = false } = {}) {
    this.message = message;
    this.base = base;
    return this.draw({ keepPlace });
  }

  async draw({ keepPlace }) {
    const names = [this.message.html && "HTML", this.message.text !== null && "Text", "Headers", "Source",
      ...this.extraTabs.map(([name]) => name)].filter(Boolean);
    const tab = names.includes(this.state.tab) ? this.state.tab : names[0];
    this.drawTabs(names, tab);
    this.tools.hidden = tab !== "HTML";
    const turn = ++this.turn;
    const place = keepPlace ? this.stage.scrollTop : 0;
    if (tab === "HTML") return this.drawFrame(turn, place);
    this.notice.hidden = true;
    const content = await this.content(tab);
    if (turn !== this.turn) return undefined;
    this.stage.className = "stage fit plain";
    this.stage.replaceChildren(content);
    this.stage.scrollTop = place;
    return undefined;
  }

  async content(tab) {
    if (tab === "Text") return element("pre", { dir: "auto" }, this.message.text);
    if (tab === "Headers") {
      return element("table", {}, element("tbody", {}, ...this.message.headers.map(([key, value]) =>
        element("tr", {}, element("th", { scope: "row" }, key), element("td", { dir: "auto" }, value)))));
    }
    if (tab === "Source") {
      const text = await (await fetch(`${this.base}/source`)).text();
      const cut = text.length > MAX_SOURCE;
      return element("pre", {}, text.slice(0, MAX_SOURCE), cut ? `\n… ${formatSize(text.length - MAX_SOURCE)} more; download the message to see all of it` : "");
    }
    return this.extraTabs.find(([name]) => name === tab)[1](this.message);
  }

  drawTabs(names, chosen) {
    const had = this.tabs.contains(document.activeElement);
    this.tabs.replaceChildren(...names.map((name) => {
      const selected = name === chosen;
      const button = element("button", { type: "button", role: "tab", id: `${this.storage}-${name}`, "aria-selected": String(selected),
        "aria-controls": this.stage.id, tabindex: selected ? "0" : "-1" }, name);
      button.addEventListener("click", () => this.change({ tab: name }));
      return button;
    }));
    this.stage.setAttribute("aria-labelledby", `${this.storage}-${chosen}`);
    if (had) this.tabs.querySelector('[aria-selected="true"]').focus();
  }

  moveBetweenTabs(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const all = [...this.tabs.children];
    const at = all.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    this.change({ tab: all[(at + step + all.length) % all.length].textContent });
  }

  /** The frame is loaded behind the one that is shown, and takes its place when it is complete: nothing flickers. */
  drawFrame(turn, place) {
    const remote = this.message.remoteImages;
    this.notice.hidden = !remote;
    this.notice.textContent = remote ? `${remote === 1 ? "One image is" : `${remote} images are`} on other servers; this page does not load ${remote === 1 ? "it" : "them"}.` : "";
    const query = new URLSearchParams({ scheme: this.state.scheme, images: this.state.images });
    if (this.message.version) query.set("version", this.message.version);
    const frame = element("iframe", { sandbox: SANDBOX, class: "loading", title: "The message", referrerpolicy: "no-referrer", src: `${this.base}/html?${query}` });
    let device = this.stage.querySelector(".device");
    if (!device) {
      device = element("div", { class: "device" });
      this.stage.replaceChildren(device);
    }
    for (const late of device.querySelectorAll("iframe.loading")) late.remove();
    frame.style.width = `${this.width()}px`;
    device.append(frame);
    return new Promise((resolve) => {
      frame.addEventListener("load", () => {
        if (turn === this.turn && frame.isConnected) {
          for (const other of device.querySelectorAll("iframe")) if (other !== frame) other.remove();
          frame.classList.remove("loading");
          this.fit();
          this.stage.scrollTop = place;
        }
        resolve();
      }, { once: true });
    });
  }

  width() {
    const narrow = matchMedia("(max-width: 760px)").matches;
    return narrow ? Math.max(320, this.stage.clientWidth) : WIDTHS[this.state.width];
  }

  /** The frame is as high as its content, so that there is one scroll bar; a wide one is made smaller to fit. */
  fit() {
    const device = this.stage.querySelector(".device");
    const frame = device?.querySelector("iframe:not(.loading)");
    if (!frame) return;
    const width = this.width();
    const room = this.stage.clientWidth;
    const fits = width >= room;
    this.stage.className = `stage ${fits ? "fit" : ""} ${this.state.width}`;
    const scale = Math.min(1, room / width);
    this.scale.textContent = scale < 0.995 ? `${width} px, at ${Math.round(scale * 100)} %` : "";
    device.style.width = `${width * scale}px`;
    frame.style.width = `${width}px`;
    frame.style.height = "10px";
    const page = frame.contentDocument;
    const height = Math.max(page?.documentElement?.scrollHeight ?? 0, page?.body?.scrollHeight ?? 0,
      (this.stage.clientHeight - (fits ? 0 : 52)) / scale);
    frame.style.height = `${height}px`;
    frame.style.transform = scale < 1 ? `scale(${scale})` : "";
    device.style.height = `${height * scale}px`;
  }
}
