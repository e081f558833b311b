// Makes the dashboard's pages live. Every page works without it. Its interface is data-* attributes:
//   body: data-now (server's clock, s), data-interval (s, 0: off), data-page, data-poll (addresses),
//         data-live ("changes": look at data-poll and fetch the page when it changed; "page": fetch it each time; "off")
//   time[data-age], time[data-since]; [data-keep]: never replaced; [data-confirm], [data-open]: open a dialog
const root = document.documentElement;
const body = document.body;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
root.classList.add("js");

// Times, in the words of words.py
let ahead = Number(body.dataset.now) * 1000 - Date.now();
const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const now = () => Date.now() + ahead;

function span(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  const [size, unit] = units.find(([size]) => whole >= size) ?? [1, "s"];
  return `${Math.floor(whole / size)} ${unit}`;
}

function duration(seconds) {
  if (seconds < 0.1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds + 0.5);
  const index = units.findIndex(([size]) => whole >= size);
  const [size, unit] = units[index];
  const [small, smallUnit] = units[index + 1] ?? [1, "s"];
  const rest = Math.floor((whole % size) / small);
  return `${Math.floor(whole / size)} ${unit}${rest && small < size ? ` ${rest} ${smallUnit}` : ""}`;
}

function age(seconds) {
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function refreshTimes() {
  for (const time of all("time[data-age]")) say(time, age((Date.parse(time.dateTime) - now()) / 1000));
  for (const time of all("time[data-since]")) say(time, duration((now() - Date.parse(time.dateTime)) / 1000));
}

// Selection
const picks = () => all("#jobs tbody input[name=id]");

function refreshSelection() {
  const form = document.getElementById("jobs");
  if (!form) return;
  const chosen = picks().filter((box) => box.checked).length;
  const status = form.querySelector(".selection [role=status]");
  if (!status) return;
  say(status, chosen === 1 ? status.dataset.one : status.dataset.many.replace("{n}", chosen));
  for (const place of all("[data-selected]", form)) say(place, chosen || "");
  const every = form.querySelector("[data-all]");
  every.checked = chosen > 0 && chosen === picks().length;
  every.indeterminate = chosen > 0 && !every.checked;
}

function selectAll(checked) {
  for (const box of picks()) box.checked = checked;
  refreshSelection();
}

// Dialogs
function openDialog(id) {
  const dialog = document.getElementById(id);
  if (!dialog) return false;
  const form = dialog.querySelector("form");
  const chosen = picks().filter((box) => box.checked);
  for (const old of all("input[name=id]", form)) old.remove();
  for (const box of chosen) {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name: "id", value: box.value });
    form.append(input);
  }
  for (const place of all("[data-number]", dialog)) say(place, chosen.length);
  for (const word of all("[data-plural]", dialog)) say(word, chosen.length === 1 ? word.dataset.singular : word.dataset.plural);
  all("details.menu[open]").forEach((menu) => menu.removeAttribute("open"));
  dialog.showModal();
  return true;
}

document.addEventListener("click", (event) => {
  const target = event.target.closest?.("[data-confirm], [data-open], [data-close], [data-clear], [data-try], .button[href='']");
  const menu = event.target.closest?.("details.menu");
  all("details.menu[open]").forEach((open) => open !== menu && open.removeAttribute("open"));
  if (!target) return;
  const { confirm, open } = target.dataset;
  if (confirm || open) {
    if (openDialog(confirm ?? open)) event.preventDefault();
  } else if ("close" in target.dataset) target.closest("dialog").close();
  else if ("clear" in target.dataset) selectAll(false);
  else if ("try" in target.dataset) look();
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) selectAll(event.target.checked);
  else if (event.target.matches("#jobs input[name=id]")) refreshSelection();
  else if (event.target.id === "keys-on") localStorage.setItem("abpjobs_keys", event.target.checked ? "on" : "off");
});

// Keys
const usesKeys = () => localStorage.getItem("abpjobs_keys") !== "off";

function step(by) {
  const links = all("#jobs tbody .lead > a");
  const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  links[Math.min(links.length - 1, Math.max(0, at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by))]?.focus();
}

const keys = {
  "/": () => document.querySelector("[data-find]")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  x: () => document.activeElement?.closest("#jobs tbody tr")?.querySelector("input[name=id]")?.click(),
  "?": () => openDialog("keys"),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const open = document.querySelector("details.menu[open]");
    open?.removeAttribute("open");
    open?.querySelector("summary").focus();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !usesKeys() || !keys[event.key]) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea") || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  keys[event.key]();
});

// Live
const interval = Number(body.dataset.interval ?? 0) * 1000;
const slowest = 30_000;
let etag = null;
let failures = 0;
let timer = 0;
let looking = false;
let fresh = Date.now();
let next = 0;

const isResting = () => document.hidden || document.querySelector("dialog[open], details.menu[open]") !== null;

function keepToken(token) {
  const meta = document.querySelector("meta[name=csrf-token]");
  if (!token || !meta) return;
  meta.content = token;
  for (const field of all(`[name="${CSS.escape(meta.dataset.field)}"]`)) field.value = token;
}

const morphing = {
  morphStyle: "innerHTML",
  callbacks: {
    beforeNodeMorphed: (old) => !(old.nodeType === 1 && old.matches("[data-keep]")),
    beforeNodeRemoved: (old) => !(old.nodeType === 1 && old.matches("[data-keep]")),
    beforeAttributeUpdated: (name, element) =>
      !((name === "open" && element.matches("details")) || (name === "checked" && element.matches("input"))),
  },
};

async function fetchPage() {
  const response = await fetch(body.dataset.page, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!response.ok) throw response;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (isResting()) return;
  ahead = Number(page.body.dataset.now) * 1000 - Date.now();
  for (const id of ["main", "side"]) {
    const [old, renewed] = [document.getElementById(id), page.getElementById(id)];
    if (old && renewed) Idiomorph.morph(old, renewed.innerHTML, morphing);
  }
  document.title = page.title;
  keepToken(page.querySelector("meta[name=csrf-token]")?.content);
  refreshSelection();
}

async function look() {
  clearTimeout(timer);
  if (looking) return;
  looking = true;
  try {
    if (body.dataset.live === "page") await fetchPage();
    else {
      const response = await fetch(body.dataset.poll, { headers: etag ? { "If-None-Match": etag } : {}, redirect: "error" });
      if (!response.ok && response.status !== 304) throw response;
      keepToken(response.headers.get("X-CSRFToken"));
      if (response.status === 200) {
        await fetchPage();
        if (!isResting()) etag = response.headers.get("ETag");
      }
    }
    failures = 0;
    fresh = Date.now();
  } catch (problem) {
    failures += 1;
    if (problem instanceof Response && [401, 403, 404].includes(problem.status)) failures = Infinity;
  } finally {
    looking = false;
    refreshStale();
    plan();
  }
}

function plan() {
  clearTimeout(timer);
  if (!interval || body.dataset.live === "off" || failures === Infinity) return;
  const wait = failures ? Math.max(interval, Math.min(slowest, interval * 2 ** failures)) : interval;
  next = Date.now() + wait;
  timer = setTimeout(() => (isResting() ? plan() : look()), wait);
}

function refreshStale() {
  const notice = document.getElementById("stale");
  if (!notice) return;
  root.classList.toggle("stale", failures > 0);
  notice.hidden = !failures;
  if (!failures) return;
  say(notice.querySelector("[data-stale-age]"), duration((Date.now() - fresh) / 1000));
  const isOver = failures === Infinity;
  notice.querySelector("[data-stale-retry]").hidden = isOver;
  notice.querySelector("[data-stale-over]").hidden = !isOver;
  notice.querySelector("[data-try]").hidden = isOver;
  say(notice.querySelector("[data-stale-next]"), span((next - Date.now()) / 1000));
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && interval && body.dataset.live !== "off") look();
});

// A page that refuses because the storage is away
if (body.dataset.retry) setTimeout(() => location.reload(), Number(body.dataset.retry) * 1000);

// An outcome is told once
const address = new URL(location);
if (address.searchParams.has("done")) {
  address.searchParams.delete("done");
  history.replaceState(null, "", address);
}

const option = document.getElementById("keys-on");
if (option) option.checked = usesKeys();
if (body.dataset.now) {
  refreshSelection();
  setInterval(() => { refreshTimes(); refreshStale(); }, 1000);
  plan();
}
