// Keeps the page up to date: what changed is asked for again as the server draws it, ages are counted here.
"use strict";
(() => {
  const body = document.body;
  const words = body.dataset;
  const fleet = document.getElementById("fleet");
  const link = document.getElementById("link");
  const video = document.getElementById("video");
  const pictureState = document.getElementById("picture-state");
  const title = document.getElementById("live-title");
  const REFRESH_MIN_MS = 700;
  const REFRESH_MAX_MS = 10000;
  let clockAhead = Number(words.now) - Date.now();

  // -- the table ------------------------------------------------------------------------------------------------

  let busy = false;
  let wanted = false;
  let last = performance.now();

  async function refresh() {
    wanted = true;
    if (busy) return;
    busy = true;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, last + REFRESH_MIN_MS - performance.now())));
    wanted = false;
    last = performance.now();
    try {
      const answer = await fetch(`/parts/fleet?lang=${words.lang}`, { cache: "no-store" });
      if (answer.ok) show(await answer.text());
    } catch (error) {
      console.info("refresh:", error.message);
    }
    busy = false;
    if (wanted) refresh();
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const focused = document.activeElement && document.activeElement.id;
    const list = fleet.querySelector(".findings ul");
    const scrolled = list ? list.scrollTop : 0;
    fleet.replaceChildren(...fresh.body.childNodes);
    const now = fleet.querySelector("[data-now]");
    if (now) clockAhead = Number(now.dataset.now) - Date.now();
    const again = fleet.querySelector(".findings ul");
    if (again) again.scrollTop = scrolled;
    if (focused && focused.startsWith("watch-")) document.getElementById(focused)?.focus();
    mark();
    count();
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

  function count() {
    const now = Date.now() + clockAhead;
    for (const element of fleet.querySelectorAll("[data-since]")) {
      const seconds = (now - Number(element.dataset.since)) / 1000;
      if (element.tagName === "METER") element.value = seconds;
      else element.textContent = element.dataset.ago ? words.ago.replace("{time}", duration(seconds)) : duration(seconds);
    }
    if (performance.now() - last > REFRESH_MAX_MS) refresh();
  }

  // -- the stream -----------------------------------------------------------------------------------------------

  const stream = new EventSource("/api/v1/stream");
  stream.addEventListener("open", () => {
    link.textContent = `● ${words.connected}`;
    link.classList.remove("lost");
    refresh();
  });
  stream.addEventListener("error", () => {
    link.textContent = `▲ ${words.disconnected}`;
    link.classList.add("lost");
  });
  stream.addEventListener("fleet", refresh);
  stream.addEventListener("finding", refresh);

  // -- the picture ----------------------------------------------------------------------------------------------

  const RETRY_MS = 2000;
  const BEHIND_S = 20;
  let watched = "";
  let retry = 0;
  let movedAt = performance.now();
  let lastTime = 0;

  function watch(recorder, name) {
    watched = recorder;
    video.dataset.recorder = recorder;
    title.textContent = words.liveOf.replace("{name}", () => name);
    mark();
    load();
  }

  function load() {
    clearTimeout(retry);
    movedAt = performance.now();
    lastTime = 0;
    say(words.connecting);
    video.src = `/hls/${encodeURIComponent(watched)}/live.m3u8`;
    video.play().catch((error) => console.info("play:", error.message));
  }

  function say(text) {
    pictureState.textContent = text;
    pictureState.hidden = !text;
  }

  function again() {
    if (!watched) return;
    say(words.noPicture);
    clearTimeout(retry);
    retry = setTimeout(load, RETRY_MS);
  }

  function mark() {
    for (const row of fleet.querySelectorAll("tr[data-recorder]")) {
      row.classList.toggle("watched", row.dataset.recorder === watched);
    }
  }

  function follow() {
    if (!watched || video.error) return;
    if (video.currentTime !== lastTime) {
      lastTime = video.currentTime;
      movedAt = performance.now();
    }
    // What Chromium's own HLS player gives: no seekable range of a live feed, but what it has read ahead.
    const ranges = video.buffered;
    const end = ranges.length ? ranges.end(ranges.length - 1) : 0;
    if (!video.paused && end - video.currentTime > BEHIND_S) video.currentTime = end - 3;
    if (!video.paused && performance.now() - movedAt > 15000) again();
  }

  video.addEventListener("playing", () => say(""));
  video.addEventListener("error", again);
  video.addEventListener("ended", again);
  fleet.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-watch]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const place = new URL(location.href);
    place.searchParams.set("recorder", link.dataset.watch);
    history.replaceState(null, "", place);
    watch(link.dataset.watch, link.dataset.name);
  });

  // -- start ----------------------------------------------------------------------------------------------------

  const chosen = video.dataset.recorder;
  if (chosen) {
    const row = [...fleet.querySelectorAll("a[data-watch]")].find((one) => one.dataset.watch === chosen);
    watch(chosen, row ? row.dataset.name : chosen);
  }
  setInterval(() => { count(); follow(); }, 1000);
})();
