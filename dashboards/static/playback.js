// Stored footage: fragments put into the browser's buffer where they belong on the clock, so that what is missing is a
// hole there. At a hole the picture stops and a card says how much is missing and why; nothing is jumped over silently.
"use strict";
liuhen.Playback = class {
  static WINDOW_MS = 20 * 60000;
  static AHEAD_S = 20;
  static BEHIND_S = 30;
  static CARD_MS = 3500;
  static HOLE_MIN_MS = 1000;

  /** @param video @param options {recorder, from, to (ms), hole(from, to) → words for a hole, say(text), moved(ms)} */
  constructor(video, options) {
    Object.assign(this, { video, ...options, turn: 0, base: 0, queue: [], holes: [], carded: null });
    const look = () => { this.look(); requestAnimationFrame(look); };
    requestAnimationFrame(look);
  }

  /** The capture time of the picture that is seen, ms. */
  get at() {
    return this.base ? this.base + this.video.currentTime * 1000 : this.wanted || this.from;
  }

  /** Plays from a capture time, ms. */
  async seek(at, play = true) {
    const turn = ++this.turn;
    this.wanted = at = Math.min(Math.max(at, this.from), this.to);
    this.playing = play;
    this.carded = null;
    clearTimeout(this.timer);
    this.say("");
    this.moved(at);
    const held = this.base ? (at - this.base) / 1000 : -1;
    if (this.source && this.source.readyState !== "closed" && held >= 0 && this.has(held)) {
      this.video.currentTime = held;
      if (play) this.start();
      else this.stop();
      this.fill(turn, at).catch((error) => console.info("playback:", error.message));
      return;
    }
    try {
      await this.open(at, turn);
    } catch (error) {
      if (turn !== this.turn) return;
      console.info("playback:", error.message);
      this.say(error.words || liuhen.words.nothing, true);
    }
  }

  has(time) {
    const ranges = this.video.buffered;
    for (let index = 0; index < ranges.length; index++) if (ranges.start(index) <= time && time < ranges.end(index) - 0.05) return true;
    return false;
  }

  async open(at, turn) {
    this.started = false;
    const end = Math.min(this.to, at + liuhen.Playback.WINDOW_MS);
    if (end - at < 1) return this.finish();
    const entries = await this.list(at, end);
    if (turn !== this.turn) return;
    if (!entries) return this.over(at, end, turn);
    Object.assign(this, { end, base: 0, init: "", buffer: null, started: false, carded: null });
    this.queue = entries.filter((entry) => !entry.gap);
    this.holes = holes(entries, at, end);
    this.source = new MediaSource();
    const address = URL.createObjectURL(this.source);
    this.video.src = address;
    await new Promise((resolve) => this.source.addEventListener("sourceopen", resolve, { once: true }));
    URL.revokeObjectURL(address);
    await this.fill(turn, at);
  }

  /** Nothing of a window is stored: say so for a moment, and go on behind it. */
  async over(from, to, turn) {
    if (to >= this.to) throw Object.assign(new Error("nothing is stored"), { words: liuhen.words.nothing });
    const next = this.after ? this.after(to) : to;
    if (next === null) throw Object.assign(new Error("nothing is stored"), { words: liuhen.words.nothing });
    this.say(this.hole(from, next), true);
    await pause(liuhen.Playback.CARD_MS);
    if (turn === this.turn) await this.seek(next, this.playing);
  }

  async list(from, to) {
    const span = new URLSearchParams({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });
    const answer = await this.fetch(`/hls/${encodeURIComponent(this.recorder)}/playback.m3u8?${span}`, { cache: "no-store" });
    if (answer.status === 403) throw Object.assign(new Error("refused"), { words: liuhen.words.refused });
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error(`playlist: ${answer.status}`);
    return liuhen.playlist(await answer.text());
  }

  /** Keeps the buffer so far ahead of the picture, and lets go what is far behind it. */
  async fill(turn, at) {
    while (turn === this.turn && this.queue.length) {
      const entry = this.queue[0];
      const ahead = this.started ? this.ahead() : 0;
      if (ahead > liuhen.Playback.AHEAD_S * Math.max(1, this.video.playbackRate)) {
        await pause(300);
        continue;
      }
      if (entry.init !== this.init && !(await this.begin(entry.init))) {
        // Another recording with other tracks: a buffer takes none, so what follows is a window of its own.
        Object.assign(this, { end: entry.at, queue: [], holes: this.holes.filter((one) => one.from < entry.at) });
        return;
      }
      const answer = await this.fetch(this.address(entry.uri));
      if (turn !== this.turn) return;
      this.queue.shift();
      if (answer.status === 502) { this.say(liuhen.words.damaged, true); continue; }
      if (!answer.ok) continue;
      await this.append(await answer.arrayBuffer(), entry);
      if (turn !== this.turn) return;
      if (!this.started) this.show(at);
    }
    if (turn === this.turn && this.source.readyState === "open" && this.end >= this.to) this.source.endOfStream();
  }

  ahead() {
    const last = this.video.buffered.length - 1;
    return last < 0 ? 0 : this.video.buffered.end(last) - this.video.currentTime;
  }

  /** Fetches, and comes again where a file that was delivered later is being prepared. */
  async fetch(address, options = {}) {
    const turn = this.turn;
    for (let tries = 0; ; tries++) {
      const answer = await fetch(address, options);
      if (answer.status !== 503 || tries === 60 || turn !== this.turn) return answer;
      await pause(1000 * Number(answer.headers.get("retry-after") || 2));
    }
  }

  /** Begins with another init segment; false where its tracks are others than those before. */
  async begin(uri) {
    const answer = await this.fetch(this.address(uri));
    if (!answer.ok) throw Object.assign(new Error(`init: ${answer.status}`), { words: answer.status === 502 ? liuhen.words.damaged : null });
    const type = answer.headers.get("content-type");
    if (!MediaSource.isTypeSupported(type)) throw Object.assign(new Error(type), { words: liuhen.words.noSource });
    const tracks = type.split(",").length;
    if (this.buffer && tracks !== this.tracks) return false;
    if (!this.buffer) this.buffer = this.source.addSourceBuffer(type);
    else this.buffer.changeType(type);
    Object.assign(this, { init: uri, tracks });
    await this.put(await answer.arrayBuffer());
    return true;
  }

  async append(data, entry) {
    const behind = this.video.currentTime - liuhen.Playback.BEHIND_S;
    if (this.started && behind > 0 && this.video.buffered.length && this.video.buffered.start(0) < behind - 30) {
      this.buffer.remove(0, behind);
      await done(this.buffer);
    }
    const before = this.video.buffered.length ? this.video.buffered.end(this.video.buffered.length - 1) : null;
    await this.put(data);
    if (!this.base && before === null && this.video.buffered.length) this.base = entry.at - this.video.buffered.start(0) * 1000;
  }

  async put(data) {
    while (this.buffer.updating) await done(this.buffer);
    this.buffer.appendBuffer(data);
    await done(this.buffer);
  }

  show(at) {
    this.started = true;
    const first = this.video.buffered.start(0);
    const wanted = (at - this.base) / 1000;
    this.video.currentTime = Math.max(first, wanted) + 0.001;
    if (wanted < first - liuhen.Playback.HOLE_MIN_MS / 1000) this.card({ from: at, to: this.base + first * 1000 }, false);
    else if (this.playing) this.start();
  }

  start() {
    this.playing = true;
    this.video.play().catch((error) => console.info("play:", error.message));
  }

  stop() {
    this.playing = false;
    this.video.pause();
  }

  toggle() {
    if (!this.source) this.seek(this.wanted || this.from);
    else if (this.playing) this.stop();
    else if (this.carded) this.leave();
    else this.start();
  }

  /** Looks whether the picture has come to a hole, or to the end of what the playlist had. */
  look() {
    if (!this.started || this.carded) return;
    const at = this.at;
    if (!this.video.paused || this.playing) this.moved(at);
    const now = performance.now();
    if (at !== this.lastAt) Object.assign(this, { lastAt: at, movedAt: now });
    // A browser stops a few pictures before the end of what it has: who stands still that near has come to the hole.
    const near = now - this.movedAt > 300 ? 1000 : 60;
    const hole = this.holes.find((one) => at >= one.from - near && at < one.to - 200);
    if (hole && this.playing) return this.card(hole, true);
    const last = this.video.buffered.length - 1;
    const dry = last >= 0 && this.video.buffered.end(last) - this.video.currentTime < (near > 100 ? 1 : 0.1);
    if (!this.queue.length && dry && this.playing && !hole) this.finish();
  }

  finish() {
    if (this.end < this.to && this.end > this.at - 5000) this.seek(this.end);
    else this.stop();
  }

  /** Stands where footage is missing: how much, and why; then goes on behind it. */
  card(hole, known) {
    this.carded = hole;
    this.video.pause();
    this.say(this.hole(hole.from, hole.to), true);
    this.moved(hole.from);
    const shown = known ? Math.min(hole.to - hole.from, liuhen.Playback.CARD_MS) : liuhen.Playback.CARD_MS / 2;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.leave(), Math.max(1500, shown));
  }

  leave() {
    const hole = this.carded;
    clearTimeout(this.timer);
    if (!hole) return;
    this.carded = null;
    this.say("");
    if (hole.to >= this.end - 50 && !this.queue.length && !this.has((hole.to - this.base) / 1000)) {
      if (this.end < this.to) this.seek(this.end, this.playing);
      else this.stop();
      return;
    }
    this.seek(hole.to + 1, this.playing);
  }

  /** One frame, by the pace of the pictures seen last, else by a twenty-fifth of a second. */
  step(direction) {
    this.stop();
    this.video.currentTime = Math.max(0, this.video.currentTime + direction * (this.frame || 0.04));
    this.moved(this.at);
  }

  address(name) {
    return `/hls/${encodeURIComponent(this.recorder)}/${name}`;
  }
};

/** What a playlist says is missing, in capture time: gaps side by side are one. */
function holes(entries, from, to) {
  const found = [];
  let at = from;
  for (const entry of entries) {
    if (entry.gap) continue;
    if (entry.at - at >= liuhen.Playback.HOLE_MIN_MS) found.push({ from: at, to: entry.at });
    at = Math.max(at, entry.at + entry.duration * 1000);
  }
  if (to - at >= liuhen.Playback.HOLE_MIN_MS) found.push({ from: at, to });
  return found;
}

function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

function done(buffer) {
  return new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", () => reject(new Error("the browser refuses a fragment")), { once: true });
  });
}
