// What every page does: counts ages on the server's clock, keeps the stream of changes, sends forms with their token.
"use strict";
const liuhen = (() => {
  const body = document.body;
  const words = body.dataset;
  const link = document.getElementById("link");
  const listeners = new Map();
  let clockAhead = Number(words.now) - Date.now();

  function now() {
    return Date.now() + clockAhead;
  }

  /** The server's time, ms, as a part drawn anew tells it. */
  function setNow(serverNow) {
    clockAhead = Number(serverNow) - Date.now();
  }

  function duration(seconds) {
    let rest = Math.max(0, Math.floor(seconds));
    const parts = [];
    for (const [length, name] of [[86400, words.day], [3600, words.hour], [60, words.minute], [1, words.second]]) {
      const number = Math.floor(rest / length);
      rest -= number * length;
      if (parts.length || number || length === 1) parts.push([number, name]);
    }
    const shown = parts.slice(0, 2).filter(([number]) => number || parts.length === 1);
    return shown.map(([number, name]) => `${number}${words.separator}${name}`).join(" ");
  }

  /** Counts every element with data-since (ms) that is in sight: its text, or a meter's value; data-ago: "… ago". */
  function count(within) {
    const at = now();
    for (const element of (within || document).querySelectorAll("[data-since]")) {
      if (!within && !element.checkVisibility({ contentVisibilityAuto: true })) continue;
      const seconds = (at - Number(element.dataset.since)) / 1000;
      if (element.tagName === "METER") element.value = seconds;
      else element.textContent = element.dataset.ago ? words.ago.replace("{time}", duration(seconds)) : duration(seconds);
    }
  }

  // -- the stream: one a page, since a browser opens six connections to a place, over all its tabs --------------------

  const RECONNECT_MS = 3000;
  let stream = null;
  let due = 0;

  /** Calls back when the server says that something of this name changed: "fleet", "finding", "alert", …; with null
   *  whenever the stream is new, for what was missed until then. */
  function on(name, callback) {
    if (!listeners.has(name)) listeners.set(name, []);
    listeners.get(name).push(callback);
    clearTimeout(due);
    due = setTimeout(connect, 0);
  }

  function connect() {
    if (stream) stream.close();
    const address = new URL(words.stream || "/api/v1/stream", location);
    address.searchParams.set("events", [...listeners.keys()].join(","));
    address.searchParams.set("lang", words.lang);
    stream = new EventSource(address);
    stream.addEventListener("open", () => {
      say(true);
      for (const callbacks of listeners.values()) for (const callback of callbacks) callback(null);
    });
    stream.addEventListener("error", () => {
      say(false);
      if (stream.readyState === EventSource.CLOSED) setTimeout(again, RECONNECT_MS);
    });
    for (const name of listeners.keys()) {
      stream.addEventListener(name, (event) => {
        for (const callback of listeners.get(name)) callback(JSON.parse(event.data));
      });
    }
  }

  /** The server refused: it is not up yet, has no place, or nobody is signed in any more. */
  async function again() {
    const answer = await fetch("/api/v1/recorders?limit=1", { cache: "no-store" }).catch(() => null);
    if (answer && answer.status === 401) location.reload();
    else connect();
  }

  function say(connected) {
    link.textContent = connected ? `● ${words.connected}` : `▲ ${words.disconnected}`;
    link.classList.toggle("lost", !connected);
  }

  /** Puts a part of the page in place of itself, as the server draws it now; focus and scroll stay. */
  async function replace(element, address) {
    const answer = await fetch(address, { cache: "no-store", headers: { Accept: "text/html" } });
    if (answer.redirected || answer.status === 401) location.reload();
    if (!answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
    const top = element.scrollTop;
    element.replaceChildren(...fresh.body.childNodes);
    const clock = element.querySelector("[data-now]");
    if (clock) setNow(clock.dataset.now);
    element.scrollTop = top;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    count();
    return true;
  }

  /** Sends JSON with the token that shows it comes from a page of ours; resolves to the answer. */
  function send(method, address, value) {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": words.csrf };
    return fetch(address, { method, headers, body: JSON.stringify(value) });
  }

  setInterval(() => count(), 1000);
  count();
  return { now, setNow, duration, count, on, replace, send, words };
})();
