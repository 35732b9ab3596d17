// The timeline of a day or a session, drawn from one JSON answer, and the controls of the player beside it.
"use strict";
(() => {
  const words = document.body.dataset;
  const line = document.getElementById("line");
  const span = { from: Date.parse(words.from), to: Date.parse(words.to) };
  const view = { ...span };
  const NS = "http://www.w3.org/2000/svg";
  const LEFT = 92, RIGHT = 8;
  const LANES = [["sessions", 18], ["recorded", 34], ["findings", 22], ["said", 18], ["holds", 12], ["battery", 24], ["space", 24], ["signal", 24], ["offset", 24]];
  let day = null;
  let at = span.from;
  let chosen = null;

  // -- drawing --------------------------------------------------------------------------------------------------------

  function element(name, attributes, text) {
    const one = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text !== undefined) one.textContent = text;
    return one;
  }

  const time = (text) => Date.parse(text);
  const clock = (ms) => new Date(ms + 8 * 3600000).toISOString().slice(11, 19);
  const width = () => Math.max(320, line.clientWidth);
  const x = (ms) => LEFT + ((ms - view.from) / (view.to - view.from)) * (width() - LEFT - RIGHT);
  const moment = (px) => view.from + ((px - LEFT) / (width() - LEFT - RIGHT)) * (view.to - view.from);

  function lanes() {
    return LANES.filter(([name]) => {
      if (name === "holds") return day.holds.length;
      if (name === "battery") return day.readings.some((one) => one[1] !== null);
      if (name === "space") return day.readings.some((one) => one[3] !== null);
      if (name === "signal") return day.readings.some((one) => one[4] !== null);
      if (name === "offset") return day.readings.some((one) => one[5] !== null);
      return true;
    });
  }

  function draw() {
    if (!day) return;
    const shown = lanes();
    const height = shown.reduce((sum, [, tall]) => sum + tall + 4, 22);
    const svg = element("svg", { width: width(), height, "aria-hidden": "true", focusable: "false" });
    svg.append(patterns(), ...scale(height));
    let y = 20;
    for (const [name, tall] of shown) {
      const label = words["lane" + name[0].toUpperCase() + name.slice(1)];
      svg.append(element("text", { x: 4, y: y + tall / 2 + 4, class: "lane" }, label));
      svg.append(element("rect", { x: LEFT, y, width: width() - LEFT - RIGHT, height: tall, class: "bed" }));
      const clip = element("g", { "clip-path": "url(#inside)" });
      clip.append(...DRAWN[name](y, tall));
      svg.append(clip);
      y += tall + 4;
    }
    if (chosen) svg.append(element("rect", { x: x(chosen[0]), y: 18, width: Math.max(1, x(chosen[1]) - x(chosen[0])), height: height - 18, class: "chosen" }));
    svg.append(element("line", { x1: x(at), x2: x(at), y1: 14, y2: height, class: "needle", id: "needle" }));
    line.replaceChildren(svg);
  }

  function patterns() {
    const defs = element("defs", {});
    for (const [id, angle] of [["striped", 45], ["crossed", -45]]) {
      const pattern = element("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` });
      pattern.append(element("rect", { width: 6, height: 6, class: `${id}-ground` }), element("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: `${id}-stripe` }));
      defs.append(pattern);
    }
    const clip = element("clipPath", { id: "inside" });
    clip.append(element("rect", { x: LEFT, y: 0, width: width() - LEFT - RIGHT, height: 1000 }));
    defs.append(clip);
    return defs;
  }

  function scale(height) {
    const steps = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10800, 21600].map((s) => s * 1000);
    const room = (width() - LEFT - RIGHT) / 78;
    const step = steps.find((one) => (view.to - view.from) / one <= room) || 43200000;
    const marks = [];
    for (let tick = Math.ceil((view.from + 28800000) / step) * step - 28800000; tick < view.to; tick += step) {
      marks.push(element("line", { x1: x(tick), x2: x(tick), y1: 16, y2: height, class: "tick" }));
      marks.push(element("text", { x: x(tick) + 2, y: 12, class: "hour" }, clock(tick).slice(0, step < 60000 ? 8 : 5)));
    }
    return marks;
  }

  function block(from, to, y, tall, kind, title) {
    const one = element("rect", { x: x(from), y, width: Math.max(1.5, x(to) - x(from)), height: tall, class: kind });
    one.append(element("title", {}, title));
    return one;
  }

  function sign(ms, y, text, kind, title) {
    const one = element("text", { x: x(ms), y, class: `sign ${kind}`, "text-anchor": "middle" }, text);
    one.append(element("title", {}, title));
    return one;
  }

  function curve(y, tall, value, low, high, say) {
    const points = day.readings.filter((one) => value(one) !== null);
    const place = (one) => `${x(one[0] + 300000).toFixed(1)},${(y + tall - ((Math.min(high, Math.max(low, value(one))) - low) / (high - low)) * tall).toFixed(1)}`;
    const level = (one, height) => element("line", { x1: x(one[0]), x2: x(one[0] + 600000), y1: height, y2: height, class: "curve" });
    const parts = [];
    let part = [];
    points.forEach((one, index) => {
      if (index && one[0] - points[index - 1][0] > 1800000) { parts.push(part); part = []; }
      part.push(one);
    });
    parts.push(part);
    const drawn = parts.filter((one) => one.length).map((one) => one.length > 1
      ? element("polyline", { points: one.map(place).join(" "), class: "curve" })
      : level(one[0], place(one[0]).split(",")[1]));
    if (points.length) drawn.push(element("text", { x: width() - RIGHT - 4, y: y + 12, class: "value", "text-anchor": "end" }, say(value(points[points.length - 1]))));
    return drawn;
  }

  const SIGNS = { critical: "✖", warning: "▲", info: "◆" };
  const DRAWN = {
    sessions: (y, tall) => day.sessions.flatMap((one) => {
      const from = time(one.opened_at), to = one.completed_at ? time(one.completed_at) : Math.min(span.to, time(day.now));
      const marks = [block(from, to, y + 2, tall - 4, "session", `${one.session_id} ${one.act || ""}`)];
      if (x(to) - x(from) > 60) marks.push(element("text", { x: Math.max(LEFT, x(from)) + 4, y: y + tall - 5, class: "name" }, one.act || one.session_id));
      if (one.store_by) marks.push(sign(time(one.store_by), y + tall - 4, "⚑", one.overdue ? "critical" : "", `${words.storeBy} ${one.store_by}`));
      return marks;
    }),
    recorded: (y, tall) => [
      ...day.stretches.map((one) => block(time(one.from), time(one.to), y, tall, one.how, `${words["how" + one.how[0].toUpperCase() + one.how.slice(1)]} ${clock(time(one.from))} – ${clock(time(one.to))}`)),
      ...day.holes.map((one) => block(time(one.from), time(one.to), y, tall, "hole", `${why(time(one.from), time(one.to))} ${clock(time(one.from))} – ${clock(time(one.to))}`)),
    ],
    findings: (y, tall) => day.findings.flatMap((one) => {
      const from = time(one.from), to = one.to ? time(one.to) : Math.min(span.to, time(day.now));
      return [block(from, to, y + tall - 7, 6, `finding ${one.severity}`, one.text), sign(Math.max(from, view.from), y + 12, SIGNS[one.severity], one.severity, one.text)];
    }),
    said: (y, tall) => day.said.map((one) => sign(time(one.at), y + tall - 4, { stop: "■", resume: "▶", explanation: "✎" }[one.kind], one.kind, `${clock(time(one.at))} ${one.text}`)),
    holds: (y, tall) => day.holds.map((one) => block(one.from ? time(one.from) : span.from, one.to ? time(one.to) : span.to, y, tall, "hold", one.reason)),
    battery: (y, tall) => curve(y, tall, (one) => one[1], 0, 1, (value) => `${Math.round(value * 100)} %`),
    space: (y, tall) => curve(y, tall, (one) => one[3], 0, 1, (value) => `${Math.round(value * 100)} %`),
    signal: (y, tall) => curve(y, tall, (one) => one[4], -120, -40, (value) => `${Math.round(value)} dBm`),
    offset: (y, tall) => {
      const most = Math.max(1000, ...day.readings.map((one) => Math.abs(one[5] || 0)));
      return curve(y, tall, (one) => one[5], -most, most, (value) => `${(value / 1000).toFixed(1)} s`);
    },
  };

  /** Why something is missing: what a finding says of that time, else what was said when it was stopped. */
  function why(from, to) {
    const missing = words.missing.replace("{seconds}", ((to - from) / 1000).toFixed(1));
    const meets = day ? day.findings.filter((one) => time(one.from) < to && (one.to ? time(one.to) : to) > from) : [];
    const gap = meets.find((one) => one.kind === "recording.gap" && one.cause) || meets.find((one) => one.cause);
    const stop = day ? day.said.filter((one) => one.kind === "stop" && time(one.at) >= from - 5000 && time(one.at) < to) : [];
    const told = day ? day.said.filter((one) => one.kind === "explanation" && time(one.at) >= from - 5000 && time(one.at) <= to) : [];
    const reason = gap ? gap.cause : stop.length ? stop[0].text : words.unknown;
    return [`${missing}：${reason}`, ...told.map((one) => one.text)].join("\n");
  }

  async function load() {
    const asked = new URLSearchParams({ from: words.from, to: words.to, lang: words.lang });
    if (words.session) asked.set("session", words.session);
    const answer = await fetch(`/api/v1/recorders/${encodeURIComponent(words.recorder)}/day?${asked}`, { cache: "no-store" });
    if (!answer.ok) return;
    day = await answer.json();
    draw();
  }

  // -- the player -----------------------------------------------------------------------------------------------------

  const video = document.getElementById("video");
  const player = document.getElementById("player");
  const card = document.getElementById("card");
  const button = document.getElementById("play");
  const speed = document.getElementById("speed");

  const playback = new liuhen.Playback(video, {
    recorder: words.recorder,
    from: span.from,
    to: span.to,
    hole: (from, to) => why(from, to),
    after: (from) => {
      const later = day ? day.stretches.filter((one) => one.how !== "pending" && time(one.to) > from).map((one) => Math.max(from, time(one.from))) : [];
      return later.length ? Math.min(...later) : null;
    },
    say: (text, big) => { card.textContent = text; card.hidden = !text; card.classList.toggle("big", Boolean(big)); },
    moved: (ms) => {
      at = ms;
      document.getElementById("time").textContent = clock(ms);
      line.setAttribute("aria-valuenow", Math.round(ms));
      line.setAttribute("aria-valuetext", clock(ms));
      const needle = document.getElementById("needle");
      if (needle) { needle.setAttribute("x1", x(ms)); needle.setAttribute("x2", x(ms)); }
      const sign = playback && playback.playing ? "❚❚" : "▶";
      if (button.textContent !== sign) { button.textContent = sign; button.setAttribute("aria-label", sign === "▶" ? button.dataset.play : button.dataset.pause); }
    },
  });
  liuhen.player = playback;

  /** Who watches, and when, over and over the picture: it is in every photograph of the screen. */
  function watermark() {
    const text = `${words.viewer} ${new Date(liuhen.now() + 8 * 3600000).toISOString().slice(0, 19).replace("T", " ")}`;
    const mark = document.getElementById("mark");
    while (mark.children.length < 24) mark.append(document.createElement("span"));
    for (const one of mark.children) one.textContent = text;
  }

  const actions = {
    " ": () => playback.toggle(),
    ArrowLeft: () => playback.seek(at - 5000, playback.playing),
    ArrowRight: () => playback.seek(at + 5000, playback.playing),
    ",": () => playback.step(-1),
    ".": () => playback.step(1),
    ArrowUp: () => pace(1),
    ArrowDown: () => pace(-1),
  };

  function pace(by) {
    speed.selectedIndex = Math.min(speed.options.length - 1, Math.max(0, speed.selectedIndex + by));
    video.playbackRate = Number(speed.value);
  }

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, summary, a, button");
    if (event.target === line || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  button.addEventListener("click", () => playback.toggle());
  document.getElementById("back").addEventListener("click", () => playback.step(-1));
  document.getElementById("forth").addEventListener("click", () => playback.step(1));
  document.getElementById("volume").addEventListener("input", (event) => { video.volume = Number(event.target.value); });
  speed.addEventListener("change", () => { video.playbackRate = Number(speed.value); });
  video.addEventListener("loadeddata", () => { video.playbackRate = Number(speed.value); });
  video.addEventListener("click", () => playback.toggle());
  // The picture with all that lies over it: not the video alone.
  document.getElementById("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : player.requestFullscreen()));
  for (const one of document.querySelectorAll("button.seek")) one.addEventListener("click", () => playback.seek(Number(one.dataset.at)));

  // -- the timeline's own keys and clicks -------------------------------------------------------------------------------

  let pressed = null;
  const local = (ms) => new Date(ms + 8 * 3600000).toISOString().slice(0, 19);
  line.addEventListener("pointerdown", (event) => { pressed = event.clientX; line.setPointerCapture(event.pointerId); });
  line.addEventListener("pointermove", (event) => {
    const place = moment(event.clientX - line.getBoundingClientRect().left);
    document.getElementById("pointed").textContent = clock(place);
    if (pressed === null || Math.abs(event.clientX - pressed) < 5) return;
    const other = moment(pressed - line.getBoundingClientRect().left);
    chosen = [Math.min(place, other), Math.max(place, other)];
    draw();
  });
  line.addEventListener("pointerup", (event) => {
    if (pressed !== null && Math.abs(event.clientX - pressed) < 5) {
      chosen = null;
      draw();
      playback.seek(moment(event.clientX - line.getBoundingClientRect().left));
    } else if (chosen) choose();
    pressed = null;
  });

  function choose() {
    const from = document.getElementById("hold-from"), to = document.getElementById("hold-to");
    if (from) { from.value = local(chosen[0]); to.value = local(chosen[1]); }
    const apply = document.getElementById("apply-link");
    if (apply) {
      const address = new URL(apply.href);
      address.searchParams.set("from", new Date(chosen[0]).toISOString());
      address.searchParams.set("to", new Date(chosen[1]).toISOString());
      apply.href = address;
    }
  }

  line.addEventListener("keydown", (event) => {
    const step = (view.to - view.from) / 100;
    const moves = { ArrowLeft: -step, ArrowRight: step, PageUp: -10 * step, PageDown: 10 * step, Home: span.from - at, End: span.to - at };
    if (event.key === "Enter" || event.key === " ") playback.seek(at);
    else if (event.key === "+") zoom(0.5);
    else if (event.key === "-") zoom(2);
    else if (event.key in moves) playback.moved(Math.min(span.to, Math.max(span.from, at + moves[event.key])));
    else return;
    event.preventDefault();
  });

  function zoom(by, around = at) {
    const length = Math.min(span.to - span.from, Math.max(30000, (view.to - view.from) * by));
    const from = Math.min(Math.max(span.from, around - length / 2), span.to - length);
    Object.assign(view, { from, to: from + length });
    draw();
  }

  document.getElementById("zoom-in").addEventListener("click", () => zoom(0.5));
  document.getElementById("zoom-out").addEventListener("click", () => zoom(2));
  line.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.3 : 0.77, moment(event.clientX - line.getBoundingClientRect().left));
  }, { passive: false });
  new ResizeObserver(draw).observe(line);
  watermark();
  setInterval(watermark, 1000);
  load().then(() => { if (words.at) playback.seek(Number(words.at)); });
  // Findings and stops change the day while it is looked at.
  liuhen.on("finding", (one) => { if (one && one.recorder_id === words.recorder) load(); });
})();
