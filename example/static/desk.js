// Keeps the page up to date while jobs are at work. Without it everything works; one reloads the page instead.
//
// Every element with data-live is replaced by its namesake from a fresh copy of the page: each second while something
// in the page carries data-busy, else now and then, so that times stay right and a colleague's jobs appear.

const BUSY_WAIT = 1000;
const IDLE_WAIT = 15000;

let failures = 0;

function nextWait() {
  const isBusy = document.querySelector("[data-busy]") !== null;
  return isBusy ? Math.min(BUSY_WAIT * 2 ** failures, IDLE_WAIT) : IDLE_WAIT;
}

async function look() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) {
    throw new Error(`The page answered ${answer.status}.`);
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${old.dataset.live}"]`);
    if (next && !next.isEqualNode(old)) {
      replace(old, next);
    }
  }
}

function replace(old, next) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const place = focused ? [...old.querySelectorAll(focused.tagName)].indexOf(focused) : -1;
  const address = focused?.getAttribute("href");
  old.replaceWith(next);
  const same = address
    ? [...next.querySelectorAll("a")].find((link) => link.getAttribute("href") === address)
    : next.querySelectorAll(focused?.tagName ?? "none")[place];
  same?.focus({ preventScroll: true });
}

async function keepLooking() {
  if (document.visibilityState === "visible") {
    try {
      await look();
      failures = 0;
    } catch {
      failures += 1; // the desk is away: ask less often until it is back
    }
  }
  setTimeout(keepLooking, nextWait());
}

if (document.querySelector("[data-live]")) {
  setTimeout(keepLooking, nextWait());
}

// An open menu closes by Escape and by a click elsewhere
const menu = document.querySelector("details.who");
document.addEventListener("click", (event) => {
  if (menu?.open && !menu.contains(event.target)) {
    menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (menu?.open && event.key === "Escape") {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
