// Keeps the list of what is owed as it is now; warns before what was written is lost.
"use strict";
(() => {
  const owed = document.getElementById("owed");
  if (owed) {
    const refresh = () => liuhen.replace(owed, "/parts/explanations");
    let waiting = null;
    const soon = () => {
      if (waiting) return;
      waiting = setTimeout(() => { waiting = null; refresh(); }, 700);
    };
    liuhen.on("finding", (finding) => {
      if (finding && finding.kind === "recording.unexplained_stop") soon();
    });
    setInterval(refresh, 30_000);
  }
  const form = document.getElementById("explain");
  if (form) {
    let changed = false;
    form.addEventListener("input", () => { changed = true; });
    form.addEventListener("submit", () => { changed = false; });
    window.addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
  }
})();
