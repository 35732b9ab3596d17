// The banner of every page: who is dead. Asked for every 10 s; put in place only when it says something else, so that a
// screen reader reads each death once. A console that does not answer is said here too.
"use strict";
{
  const banner = document.getElementById("banner");
  const words = document.body.dataset;
  let shown = "";

  const key = (part) => [...part.querySelectorAll("p")].map((line) => line.firstChild.textContent).join("\n");

  async function ask() {
    const answer = await fetch("/watch", { cache: "no-store", headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html").body;
  }

  async function look() {
    let part;
    try {
      part = await ask();
    } catch {
      part = document.createElement("body");
      part.append(Object.assign(document.createElement("p"), { textContent: `▲ ${words.watchLost}` }));
    }
    if (key(part) === shown) return;
    shown = key(part);
    banner.replaceChildren(...part.querySelectorAll("p"));
    liuhen.count();
  }

  look();
  setInterval(look, 10000);
}
