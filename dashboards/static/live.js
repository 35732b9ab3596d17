// A live picture: fragments of the log, put into the browser's buffer as they come, played as near to the edge as the
// way here allows. The picture at the edge is as old as a fragment is long, and its way; the margin kept beside that
// begins small and grows each time the picture had to wait.
"use strict";
liuhen.Live = class {
  static MARGIN_S = 0.3;
  static MARGIN_MAX_S = 2.5;
  static POLL_MS = 150;
  static RETRY_MS = 2000;
  static KEEP_S = 20;

  /** @param video element @param recorder id @param say called with a text to show over the picture, or "" */
  constructor(video, recorder, say) {
    Object.assign(this, { video, recorder, say, stopped: false, margin: liuhen.Live.MARGIN_S });
    this.waits = () => { if (this.started) this.margin = Math.min(this.margin + 0.25, liuhen.Live.MARGIN_MAX_S); };
    video.addEventListener("waiting", this.waits);
    this.run();
  }

  stop() {
    this.stopped = true;
    this.video.removeEventListener("waiting", this.waits);
    this.video.removeAttribute("src");
    this.video.load();
  }

  /** How old the picture is that is seen now, seconds; null while there is none. */
  delay() {
    if (!this.started || !this.edge || this.video.paused) return null;
    return (liuhen.now() - this.edge.at) / 1000 + (this.edge.time - this.video.currentTime);
  }

  async run() {
    this.say(liuhen.words.connecting);
    while (!this.stopped) {
      try {
        await this.feed();
      } catch (error) {
        console.info("live:", this.recorder, error.message);
        if (this.stopped) return;
        this.say(error.refused ? liuhen.words.notAllowed : liuhen.words.noPicture);
      }
      await wait(liuhen.Live.RETRY_MS);
    }
  }

  async feed() {
    const source = new MediaSource();
    Object.assign(this, { source, buffer: null, init: "", last: -1, edge: null, started: false });
    this.video.src = URL.createObjectURL(source);
    await new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
    URL.revokeObjectURL(this.video.src);
    let movedAt = performance.now();
    while (!this.stopped) {
      const entries = (await this.playlist()).filter((entry) => entry.number > this.last && !entry.gap);
      for (const entry of this.last < 0 ? entries.slice(-2) : entries) await this.take(entry);
      if (entries.length) movedAt = performance.now();
      else if (performance.now() - movedAt > 15000) throw new Error("nothing new");
      this.jump();
      const length = entries.length ? entries[entries.length - 1].duration * 1000 : 0;
      await wait(Math.max(liuhen.Live.POLL_MS, length - 2 * liuhen.Live.POLL_MS));
    }
  }

  async playlist() {
    const answer = await fetch(this.address("live.m3u8"), { cache: "no-store" });
    if (!answer.ok) throw Object.assign(new Error(`playlist: ${answer.status}`), { refused: answer.status === 403 });
    return liuhen.playlist(await answer.text());
  }

  async take(entry) {
    if (entry.init !== this.init) await this.begin(entry.init);
    const answer = await fetch(this.address(entry.uri));
    this.last = entry.number;
    if (!answer.ok) return;
    const left = this.edge ? this.edge.time - this.video.currentTime : 0;
    await this.append(await answer.arrayBuffer());
    const ranges = this.video.buffered;
    if (!ranges.length) return;
    this.edge = { time: ranges.end(ranges.length - 1), at: entry.at + entry.duration * 1000 };
    this.pace(left, entry.duration);
  }

  /** A fragment has come: that much of the one before is left. More than the margin is delay for nothing. */
  pace(left, length) {
    if (!this.started) {
      const ranges = this.video.buffered;
      this.video.currentTime = Math.max(ranges.start(ranges.length - 1), this.edge.time - length - this.margin);
      this.started = this.edge.time - ranges.start(ranges.length - 1) > length * 1.5 || this.last > 0;
      this.video.play().then(() => this.say(""), (error) => console.info("play:", error.message));
      return;
    }
    const surplus = left - this.margin;
    if (surplus > 1.5) this.video.currentTime = this.edge.time - length - this.margin;
    this.video.playbackRate = surplus > 1.5 || surplus <= 0.15 ? 1 : surplus > 0.5 ? 1.15 : 1.07;
    this.margin = Math.max(liuhen.Live.MARGIN_S, this.margin - 0.03);
  }

  /** Go on behind a hole in what was recorded. */
  jump() {
    const { buffered, currentTime } = this.video;
    for (let index = 0; index < buffered.length; index++) {
      const start = buffered.start(index);
      if (start > currentTime && (index === 0 || buffered.end(index - 1) - currentTime < 0.1)) {
        this.video.currentTime = start + 0.01;
        return;
      }
    }
  }

  async begin(uri) {
    const answer = await fetch(this.address(uri));
    if (!answer.ok) throw new Error(`init: ${answer.status}`);
    const type = answer.headers.get("content-type");
    if (!MediaSource.isTypeSupported(type)) throw new Error(`cannot play ${type}`);
    if (!this.buffer) this.buffer = this.source.addSourceBuffer(type);
    else this.buffer.changeType(type);
    this.init = uri;
    await this.append(await answer.arrayBuffer());
  }

  async append(data) {
    const behind = this.video.currentTime - liuhen.Live.KEEP_S;
    if (behind > liuhen.Live.KEEP_S && !this.buffer.updating) {
      this.buffer.remove(0, behind);
      await updated(this.buffer);
    }
    this.buffer.appendBuffer(data);
    await updated(this.buffer);
    if (this.video.error) throw new Error(this.video.error.message);
  }

  address(name) {
    return `/hls/${encodeURIComponent(this.recorder)}/${name}`;
  }
};

/** The entries of a playlist: number, uri, init, duration (s), at (capture time, ms), gap, discontinuity. */
liuhen.playlist = (text) => {
  const entries = [];
  let number = 0, init = "", entry = {};
  for (const line of text.split("\n")) {
    const value = line.slice(line.indexOf(":") + 1);
    if (line.startsWith("#EXT-X-MEDIA-SEQUENCE:")) number = Number(value);
    else if (line.startsWith("#EXT-X-MAP:")) init = value.match(/URI="([^"]*)"/)[1];
    else if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) entry.at = Date.parse(value);
    else if (line === "#EXT-X-GAP") entry.gap = true;
    else if (line === "#EXT-X-DISCONTINUITY") entry.discontinuity = true;
    else if (line.startsWith("#EXTINF:")) entry.duration = parseFloat(value);
    else if (line && !line.startsWith("#")) {
      entries.push({ gap: false, ...entry, number: number++, init, uri: line });
      entry = {};
    }
  }
  return entries;
};

function wait(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

function updated(buffer) {
  return new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", () => reject(new Error("the browser refuses a fragment")), { once: true });
  });
}
