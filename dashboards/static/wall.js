// The wall: rows come drawn from the server, those that changed only; here they are put where they belong, narrowed to
// what is asked for, and a few of them watched.
"use strict";
(() => {
  const words = document.body.dataset;
  const list = document.getElementById("rows");
  const rows = new Map();
  const form = document.getElementById("filters");
  const asked = { unit: words.unit || "", site: words.site || "", state: words.state || "", text: words.text || "" };

  for (const element of list.children) rows.set(element.dataset.recorder, element);

  // -- rows -----------------------------------------------------------------------------------------------------------

  function take(message) {
    if (!message) return;
    if (message.reset) return location.reload();
    liuhen.setNow(message.now);
    for (const id of message.removed) {
      rows.get(id)?.remove();
      rows.delete(id);
    }
    if (message.rows.length > 50) takeAll(message.rows);
    else for (const row of message.rows) takeOne(row);
    part("summary", message.summary);
    part("troubles", message.troubles);
    narrow(message.rows.length > 50 ? null : message.rows.map((row) => row.id));
    document.dispatchEvent(new CustomEvent("wall"));
  }

  function drawn(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    return holder.content.firstElementChild;
  }

  function takeOne(row) {
    const fresh = drawn(row.html);
    const old = rows.get(row.id);
    const focused = old && old.contains(document.activeElement) ? document.activeElement.id : "";
    rows.set(row.id, fresh);
    liuhen.count(fresh);
    if (old && old.dataset.key === row.key) old.replaceWith(fresh);
    else {
      old?.remove();
      list.insertBefore(fresh, list.children[place(row.key)] || null);
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  /** Where a key belongs among the rows, which are in order: by halves. */
  function place(key) {
    let low = 0, high = list.children.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list.children[middle].dataset.key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function takeAll(changed) {
    const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
    for (const row of changed) rows.set(row.id, drawn(row.html));
    const sorted = [...rows.values()].sort((one, other) => (one.dataset.key < other.dataset.key ? -1 : 1));
    list.replaceChildren(...sorted);
    liuhen.count();
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function part(id, html) {
    const element = document.getElementById(id);
    if (element.dataset.html === html) return;
    const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
    const top = element.scrollTop;
    element.innerHTML = html;
    element.scrollTop = top;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    liuhen.count(element);
    mark();
  }

  // -- narrowed to --------------------------------------------------------------------------------------------------

  function wanted(element) {
    const { unit, site, state, name, recorder } = element.dataset;
    if (asked.unit && unit !== asked.unit) return false;
    if (asked.site && site !== asked.site) return false;
    if (asked.state && !state.split(" ").includes(asked.state)) return false;
    const text = asked.text.trim().toLowerCase();
    return !text || `${name} ${recorder} ${unit} ${site} ${element.textContent}`.toLowerCase().includes(text);
  }

  function narrow(only) {
    if (!form) return;
    const some = only ? only.map((id) => rows.get(id)).filter(Boolean) : rows.values();
    for (const element of some) {
      const hidden = !wanted(element);
      if (element.hidden !== hidden) element.hidden = hidden;
    }
    const shown = list.querySelectorAll(":scope > li:not([hidden])").length;
    document.getElementById("shown").textContent = words.shown.replace("{count}", shown).replace("{all}", rows.size);
    document.getElementById("none").hidden = shown > 0;
  }

  function mark() {
    for (const link of document.querySelectorAll("a[data-filter]")) {
      const on = asked[link.dataset.filter] === link.dataset.value;
      if (on) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  function ask(changes) {
    Object.assign(asked, changes);
    const address = new URL(location.href);
    address.searchParams.delete("recorder");
    for (const [name, value] of Object.entries(asked)) {
      if (value) address.searchParams.set(name, value);
      else address.searchParams.delete(name);
      const field = form.elements[name];
      if (field.value !== value) {
        if (field.options && ![...field.options].some((one) => one.value === value)) field.add(new Option(value));
        field.value = value;
      }
    }
    history.replaceState(null, "", address);
    mark();
    narrow(null);
  }

  if (form) {
    form.addEventListener("input", (event) => ask({ [event.target.name]: event.target.value }));
    form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("summary").addEventListener("click", (event) => {
      const link = event.target.closest("a[data-filter]");
      if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      const { filter, value } = link.dataset;
      ask({ [filter]: asked[filter] === value ? "" : value });
    });
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button.watch");
      if (button) watch(button.closest("li").dataset.recorder, true);
    });
    ask({});
  }

  // -- live pictures --------------------------------------------------------------------------------------------------

  const MAX_PICTURES = 4;
  const pictures = document.getElementById("pictures");
  const live = new Map();

  function watch(recorder, chosen) {
    if (words.mayWatch !== "1" || !pictures) return;
    if (live.has(recorder)) {
      if (chosen) live.get(recorder).figure.scrollIntoView({ block: "nearest" });
      return;
    }
    if (live.size >= MAX_PICTURES) leave([...live.keys()][0]);
    const figure = document.createElement("figure");
    figure.dataset.recorder = recorder;
    const name = rows.get(recorder)?.dataset.name || rows.get(recorder)?.querySelector(".who").textContent || recorder;
    const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, playsInline: true });
    video.setAttribute("aria-label", words.video.replace("{name}", () => name));
    const state = Object.assign(document.createElement("p"), { className: "state" });
    const caption = document.createElement("figcaption");
    const title = Object.assign(document.createElement("span"), { textContent: name });
    const delay = Object.assign(document.createElement("span"), { className: "sub delay figure" });
    caption.append(title, delay);
    if (form) {
      const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "×" });
      close.setAttribute("aria-label", words.close.replace("{name}", () => name));
      close.addEventListener("click", () => leave(recorder));
      caption.append(close);
    }
    figure.append(video, state, caption);
    pictures.append(figure);
    const player = new liuhen.Live(video, recorder, (text) => { state.textContent = text; state.hidden = !text; });
    live.set(recorder, { figure, player, delay });
    remember();
  }

  function leave(recorder) {
    const one = live.get(recorder);
    if (!one) return;
    one.player.stop();
    one.figure.remove();
    live.delete(recorder);
    remember();
  }

  function remember() {
    const empty = document.getElementById("no-pictures");
    if (empty) empty.hidden = live.size > 0;
    for (const row of list.querySelectorAll(".row.watched")) row.classList.remove("watched");
    for (const recorder of live.keys()) rows.get(recorder)?.classList.add("watched");
  }

  setInterval(() => {
    for (const { player, delay } of live.values()) {
      const seconds = player.delay();
      delay.textContent = seconds === null ? "" : words.delay.replace("{seconds}", seconds.toFixed(1));
    }
  }, 1000);

  for (const recorder of (words.pictures || "").split(" ").filter(Boolean)) watch(recorder, false);
  liuhen.on("wall", take);
})();
