// A copy that is being made is asked after until it is there; a register is printed.
"use strict";
(() => {
  const state = document.getElementById("state");

  async function look() {
    if (!state.querySelector("[data-again]")) return;
    await liuhen.replace(state, state.dataset.part);
    setTimeout(look, 1500);
  }

  if (state) setTimeout(look, 1500);
  for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());
})();
