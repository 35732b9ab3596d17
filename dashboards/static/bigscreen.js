// The big screen: as many tiles as fit, page after page, the worst first. The space bar holds it, arrows turn it.
"use strict";
(() => {
  const TURN_MS = 12000;
  const words = document.body.dataset;
  const list = document.getElementById("rows");
  const number = document.getElementById("page-number");
  let page = 0;
  let held = false;
  let timer = 0;

  function fits() {
    const first = list.querySelector("li");
    if (!first) return 1;
    const style = getComputedStyle(list);
    const columns = style.gridTemplateColumns.split(" ").length;
    const room = window.innerHeight - list.getBoundingClientRect().top - window.scrollY - 34;
    const height = parseFloat(getComputedStyle(document.documentElement).fontSize) * 6.7 + parseFloat(style.rowGap);
    return Math.max(1, Math.floor((room + parseFloat(style.rowGap)) / height)) * columns;
  }

  function show() {
    const each = fits();
    const tiles = [...list.children];
    const pages = Math.max(1, Math.ceil(tiles.length / each));
    page = ((page % pages) + pages) % pages;
    tiles.forEach((tile, index) => { tile.hidden = Math.floor(index / each) !== page; });
    number.textContent = words.page.replace("{number}", page + 1).replace("{count}", pages) + (held ? ` · ${words.paused}` : "");
  }

  function turn(by) {
    page += by;
    show();
    clearInterval(timer);
    timer = setInterval(() => { if (!held) { page += 1; show(); } }, TURN_MS);
  }

  document.addEventListener("wall", show);
  window.addEventListener("resize", show);
  document.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); held = !held; show(); }
    else if (event.key === "ArrowRight") turn(1);
    else if (event.key === "ArrowLeft") turn(-1);
  });
  turn(0);
})();
