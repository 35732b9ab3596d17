// A copy that is being made is asked after until it is there; what was granted is played, the viewer's name over the
// picture; a register is printed.
"use strict";
(() => {
  const state = document.getElementById("state");
  const video = document.getElementById("video");
  const words = liuhen.words;

  async function look() {
    if (!state.querySelector("[data-again]")) return;
    await liuhen.replace(state, state.dataset.part);
    setTimeout(look, 1500);
  }

  const clock = (ms) => new Date(ms + 8 * 3600000).toISOString().slice(11, 19);

  function player() {
    const seek = document.getElementById("seek");
    const button = document.getElementById("play");
    const card = document.getElementById("card");
    const playback = new liuhen.Playback(video, {
      recorder: words.recorder,
      from: Number(words.from),
      to: Number(words.to),
      hole: (from, to) => words.missing.replace("{seconds}", ((to - from) / 1000).toFixed(1)),
      say: (text, big) => { card.textContent = text; card.hidden = !text; card.classList.toggle("big", Boolean(big)); },
      moved: (ms) => {
        document.getElementById("time").textContent = clock(ms);
        if (document.activeElement !== seek) seek.value = ms;
        const sign = playback && playback.playing ? "❚❚" : "▶";
        if (button.textContent !== sign) button.textContent = sign;
      },
    });
    liuhen.player = playback;
    button.addEventListener("click", () => playback.toggle());
    seek.addEventListener("change", () => playback.seek(Number(seek.value)));
    video.addEventListener("pause", () => playback.moved(playback.at));
    watermark();
    setInterval(watermark, 1000);
  }

  /** Who watches, and when, over and over the picture: it is in every photograph of the screen. */
  function watermark() {
    const at = new Date(liuhen.now() + 8 * 3600000).toISOString().slice(0, 19).replace("T", " ");
    const mark = document.getElementById("mark");
    while (mark.children.length < 24) mark.append(document.createElement("span"));
    for (const one of mark.children) one.textContent = `${words.viewer} ${at}`;
  }

  if (state) setTimeout(look, 1500);
  if (video) player();
  for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());
})();
