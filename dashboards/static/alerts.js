// The inbox and one alert by keyboard, and as they are now.
"use strict";
(() => {
  const inbox = document.getElementById("inbox");
  const shown = document.getElementById("alert");
  const help = document.getElementById("help");

  // -- what changes: within 2 s, and looked at again at times --------------------------------------------------

  const GATHER_MS = 300;
  let waiting = null;
  function refresh() {
    waiting = null;
    if (inbox) liuhen.replace(inbox, `/parts/alerts?${inbox.dataset.query}`);
    if (shown) liuhen.replace(shown, `/parts/alerts/${shown.dataset.id}`);
  }
  liuhen.on("alert", (alert) => {
    if (shown && alert && alert.id !== shown.dataset.id) return;
    if (!waiting) waiting = setTimeout(refresh, GATHER_MS);
  });

  // -- keys ----------------------------------------------------------------------------------------------------

  function links() {
    return inbox ? [...inbox.querySelectorAll(".alert > a")] : [];
  }

  function move(step) {
    const all = links();
    if (!all.length) return;
    const here = all.indexOf(document.activeElement);
    const next = here < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + step));
    all[next].focus();
    all[next].scrollIntoView({ block: "nearest" });
  }

  /** Opens a box of the page and goes to its first field. */
  function open(id) {
    const box = document.getElementById(id);
    if (!box) return;
    box.open = true;
    box.querySelector("textarea, input:not([type=hidden])")?.focus();
  }

  /** Sends a form of the page; in the inbox, what such a form would send for the alert that has the focus. */
  function send(id) {
    const form = document.getElementById(id);
    if (form) {
      form.requestSubmit();
      return;
    }
    const alert = document.activeElement.closest?.(".alert");
    if (!alert || id !== "acknowledge") return;
    const body = new URLSearchParams({ csrf: liuhen.words.csrf });
    const headers = { "X-CSRF-Token": liuhen.words.csrf };
    fetch(`/alerts/${alert.dataset.id}/acknowledge`, { method: "POST", body, headers, redirect: "manual" }).then(refresh);
  }

  function follow(selector) {
    document.querySelector(selector)?.click();
  }

  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    a: () => send("acknowledge"),
    m: () => send("mine"),
    n: () => open("note-box"),
    h: () => open("hold-box"),
    r: () => open("resolve-box"),
    e: () => follow("a.explain"),
    p: () => follow("a.play"),
    u: () => follow("#back"),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const field = event.target.closest("input, textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.getElementById("keys").addEventListener("click", () => help.showModal());
  for (const field of document.querySelectorAll("#filters select, #filters input")) {
    field.addEventListener("change", () => field.form.requestSubmit());
  }
})();
