/* The desk in the browser: listens to the server's stream, swaps what changed, sends forms, serves the keys.
   Everything shown is rendered and escaped by the server; nothing here builds HTML out of data. */
"use strict";
(() => {
  const body = document.body;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const token = one('meta[name="csrf-token"]').content;
  const only = body.dataset.only || "";
  const title = document.title;
  let serverAhead = 0;
  let chosen = "";

  /** Every pop that was painted, for measurements: times in epoch milliseconds. */
  window.firstringPops = [];

  const element = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html.trim();
    return template.content.firstElementChild;
  };
  const sectionOf = (contact) => document.getElementById(`pop-${contact}`);
  const entryOf = (contact) => one(`#roster li[data-contact="${contact}"]`);
  const sections = () => all("#pops > section");

  // --- pops -------------------------------------------------------------------------------------------------------

  const painted = (section) => {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const at = performance.timeOrigin + performance.now();
      const decided = Number(section.dataset.decidedAt);
      section.dataset.paintedMs = (at - decided).toFixed(1);
      window.firstringPops.push({
        contact: section.dataset.contact, revision: Number(section.dataset.revision), decided_at: decided, painted_at: at,
      });
      if (window.firstringPops.length > 1000) window.firstringPops.shift();
    }));
  };

  const announce = (text) => { one("#announce").textContent = text; };

  const tidy = () => {
    const left = sections();
    const empty = one("#empty");
    if (empty) empty.hidden = left.length > 0;
    const none = one("#no-contacts");
    if (none) none.hidden = left.length > 0;
    if (!sectionOf(chosen)) chosen = "";
    if (!chosen && left.length) chosen = left[left.length - 1].dataset.contact;
    for (const section of left) section.hidden = section.dataset.contact !== chosen;
    for (const button of all("#roster button")) {
      if (button.dataset.select === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    document.title = left.length ? `(${left.length}) ${title}` : title;
    tick();
  };

  const choose = (contact, focus) => {
    chosen = contact;
    tidy();
    if (focus) one("[data-heading]", sectionOf(contact))?.focus();
  };

  /** Puts a new picture of a contact in the place of the old one; keeps focus and what was unfolded. */
  const place = (card) => {
    if (only && card.contact !== only) return;
    const old = sectionOf(card.contact);
    if (old && old.dataset.key === card.key) return;
    const fresh = element(card.pop);
    const isNew = !old || old.dataset.revision !== fresh.dataset.revision;
    const focused = old && old.contains(document.activeElement) ? document.activeElement : null;
    if (old) {
      const open = all("details", old).map((each) => each.open);
      all("details", fresh).forEach((each, index) => { each.open = Boolean(open[index]); });
      fresh.hidden = old.hidden;
      old.replaceWith(fresh);
    } else {
      fresh.classList.add("fresh");
      one("#pops").append(fresh);
    }
    if (isNew) painted(fresh);
    const roster = one("#roster");
    if (roster) {
      const entry = element(card.entry);
      const before = entryOf(card.contact);
      const wasFocused = before && before.contains(document.activeElement);
      if (before) before.replaceWith(entry); else roster.append(entry);
      if (wasFocused) one("button", entry).focus();
    }
    if (!old) {
      const now = sectionOf(chosen);
      if (!now || now.dataset.state === "wrap_up") chosen = card.contact;
    }
    tidy();
    if (focused) (document.getElementById(focused.id) || one("[data-heading]", fresh)).focus();
    const todo = (section) => (section ? all(".treat > p", section).map((each) => each.textContent).join(" ") : "");
    if (isNew) announce(fresh.dataset.announce);
    else if (todo(fresh) && todo(fresh) !== todo(old)) announce(`To do: ${todo(fresh)}`);
  };

  const remove = (contact) => {
    const section = sectionOf(contact);
    if (!section) return;
    const focused = section.contains(document.activeElement) || entryOf(contact)?.contains(document.activeElement);
    section.remove();
    entryOf(contact)?.remove();
    tidy();
    if (focused) (chosen ? one("[data-heading]", sectionOf(chosen)) : one("#empty")).focus();
  };

  const present = (presence) => {
    const form = one("#presence");
    if (!form || form.dataset.presence === presence) return;
    const ready = presence === "ready";
    form.dataset.presence = presence;
    one(".state", form).textContent = ready ? "Ready" : presence === "away" ? "Away" : "Not ready";
    const button = one("button", form);
    button.value = ready ? "away" : "ready";
    one(".text", button).textContent = ready ? "Go away" : "Go ready";
    one(".for-ready").hidden = !ready;
    one(".for-away").hidden = ready;
    announce(ready ? "You are ready." : "You get no contacts now.");
  };

  // --- the stream -------------------------------------------------------------------------------------------------

  const heard = {
    state(data) {
      serverAhead = data.now - Date.now();
      const there = new Set(data.cards.map((card) => card.contact));
      for (const section of sections()) if (!there.has(section.dataset.contact)) remove(section.dataset.contact);
      data.cards.forEach(place);
      present(data.presence);
      tidy();
    },
    card: place,
    gone(data) { remove(data.contact); },
    presence(data) { present(data.presence); },
    board(data) {
      serverAhead = data.now - Date.now();
      const board = one("#board");
      const region = document.activeElement?.closest?.("[aria-label]")?.getAttribute("aria-label");
      const tops = new Map(all(".scroll", board).map((each) => [each.getAttribute("aria-label"), each.scrollTop]));
      board.innerHTML = data.html;
      for (const each of all(".scroll", board)) {
        const name = each.getAttribute("aria-label");
        each.scrollTop = tops.get(name) || 0;
        if (name === region) each.focus({ preventScroll: true });
      }
      tick();
    },
    live(data) {
      const place_ = one("#live");
      const chosen_ = new Map(all("select", place_).map((each) => [each.id, each.value]));
      const focused = place_.contains(document.activeElement) ? document.activeElement.id : "";
      place_.innerHTML = data.html;
      for (const [id, value] of chosen_) {
        const select = document.getElementById(id);
        if (select) select.value = value;
      }
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      tick();
    },
    beat() {},
    signed_out() { toSignIn(); },
  };

  const toSignIn = () => { location.href = `/signin?next=${encodeURIComponent(location.pathname)}`; };

  let source = null;
  let lastHeard = Date.now();
  let pauseMs = 250;

  const connect = () => {
    source = new EventSource(body.dataset.stream);
    source.onopen = () => { lastHeard = Date.now(); };
    source.onerror = lost;
    for (const [name, act] of Object.entries(heard)) {
      source.addEventListener(name, (event) => {
        lastHeard = Date.now();
        pauseMs = 250;
        one("#lost").hidden = true;
        act(JSON.parse(event.data));
      });
    }
  };

  const lost = async () => {
    if (!source) return;
    source.close();
    source = null;
    one("#lost").hidden = false;
    try {
      const answer = await fetch("/session", { headers: { Accept: "application/json" } });
      if (answer.status === 401) return toSignIn();
    } catch { /* the server is away: that is what the banner says */ }
    setTimeout(connect, pauseMs);
    pauseMs = Math.min(2 * pauseMs, 4000);
  };

  if (body.dataset.stream) {
    connect();
    setInterval(() => { if (source && Date.now() - lastHeard > 40000) lost(); }, 5000);
    addEventListener("pagehide", () => { source?.close(); source = null; });
    addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  }

  // --- clocks -----------------------------------------------------------------------------------------------------

  const two = (number) => String(number).padStart(2, "0");
  const tick = () => {
    const now = Date.now() + serverAhead;
    for (const each of all("[data-since]")) {
      const seconds = Math.max(0, Math.floor((now - Number(each.dataset.since)) / 1000));
      const hours = Math.floor(seconds / 3600);
      const text = hours > 47 ? `${Math.floor(hours / 24)} d`
        : `${hours ? `${hours}:${two(Math.floor(seconds / 60) % 60)}` : Math.floor(seconds / 60)}:${two(seconds % 60)}`;
      if (each.textContent !== text) each.textContent = text;
    }
  };
  setInterval(tick, 1000);

  // --- forms ------------------------------------------------------------------------------------------------------

  const problem = (text) => {
    const place_ = one("#problem");
    place_.textContent = text;
    place_.hidden = !text;
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("send" in form.dataset)) return;
    event.preventDefault();
    const button = event.submitter;
    if (button?.getAttribute("aria-busy") === "true") return;
    const data = new URLSearchParams(new FormData(form));
    if (button?.name) data.set(button.name, button.value);
    button?.setAttribute("aria-busy", "true");
    problem("");
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: data, headers: { "X-CSRF-Token": token, Accept: "application/json" },
      });
      if (answer.status === 401) return toSignIn();
      if (!answer.ok) {
        const told = (await answer.json()).error;
        problem(`${told.message} ${told.hint}`);
      }
    } catch {
      problem("The server does not answer. Nothing was changed; try again.");
    } finally {
      button?.removeAttribute("aria-busy");
    }
  });

  document.addEventListener("click", (event) => {
    const select = event.target.closest?.("[data-select]");
    if (select) choose(select.dataset.select, true);
    const opener = event.target.closest?.("[data-open]");
    if (opener) document.getElementById(opener.dataset.open).showModal();
  });

  // --- keys -------------------------------------------------------------------------------------------------------

  const single = one("#single-keys");
  if (single) {
    single.checked = localStorage.getItem("firstring.keys") !== "off";
    single.addEventListener("change", () => localStorage.setItem("firstring.keys", single.checked ? "on" : "off"));
  }

  const leaveFinish = () => all(".finish.keyed").forEach((form) => form.classList.remove("keyed"));

  const step = (by) => {
    const contacts = all("#roster li").map((entry) => entry.dataset.contact);
    if (contacts.length) choose(contacts[(contacts.indexOf(chosen) + by + contacts.length) % contacts.length], true);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target.matches?.("input, textarea, select, [contenteditable]") || one("dialog[open]")) return;
    if (event.key === "Escape") return leaveFinish();
    if (single && !single.checked && event.key !== "?") return;
    const section = sections().find((each) => !each.hidden);
    const key = event.key.toLowerCase();
    const finish = section && one("[data-finish]", section);
    let target = null;
    if (finish?.classList.contains("keyed")) {
      target = one(`[data-outcome="${CSS.escape(key)}"]`, finish);
      leaveFinish();
    }
    if (!target && key === "f" && finish) {
      event.preventDefault();
      finish.classList.add("keyed");
      one("button", finish).focus();
      return;
    }
    if (!target && (key === "j" || key === "k")) { event.preventDefault(); return step(key === "j" ? 1 : -1); }
    if (!target && key === "w" && section) {
      const folds = all("[data-why]", section);
      const open = folds.some((each) => !each.open);
      folds.forEach((each) => { each.open = open; });
      return;
    }
    const press = `[data-press="${CSS.escape(key)}"]`;
    target = target || (section && one(press, section)) || all(press).find((each) => !each.closest("#pops"));
    if (target) { event.preventDefault(); target.click(); }
  });

  for (const section of sections()) painted(section);
  tidy();
})();
