/* Firstring in the page (docs/delivery.md). ES2017, no build step. Nothing is stored before firstring.consent(true). */
(() => {
"use strict";
const tag = document.currentScript, w = window, d = document, set = tag ? tag.dataset : {};
const stub = w.firstring || {};
if (stub.loaded) return;
const options = Object.assign({ key: set.key, url: tag && tag.src ? new URL(tag.src).origin : location.origin,
  auto: set.auto !== "off", wait: set.wait === "consent" }, stub.options);
const STORE = "firstring";
let me = {}, agreed = false, line = [], sending = null, timer = 0, pauseMs = 0, asking = null;

const uuid = () => Array.from(w.crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const storage = (act) => { try { return act(w.localStorage); } catch (e) { return null; } };
const keep = () => { if (agreed) storage((s) => s.setItem(STORE, JSON.stringify(me))); };
const post = (path, body, more) => fetch(options.url + path, Object.assign(
  { method: "POST", body: JSON.stringify(body), headers: { "content-type": "text/plain" }, credentials: "omit" }, more));
const proof = (more) => Object.assign({ key: options.key, id: me.id, secret: me.secret, user: me.user, userHash: me.hash }, more);

const stored = storage((s) => JSON.parse(s.getItem(STORE)));
if (stored && stored.id) { me = stored; agreed = true; }

/* The server makes the visitor's id and its secret; until then events wait. */
const visitor = async () => { if (!me.secret) await (asking || (asking = made())); };
const made = async () => {
  for (let ms = 1000; !me.secret; ms = Math.min(2 * ms, 60000)) {
    try {
      const answer = await post("/web/visitor", { key: options.key });
      if (answer.ok) { const one = await answer.json(); me.id = one.id; me.secret = one.secret; break; }
      if (answer.status < 500 && answer.status !== 429) throw stop();
    } catch (error) { if (off) throw error; }
    await sleep(ms);
  }
  asking = null;
  keep();
};
let off = false;
const stop = () => { off = true; line = []; return Error("firstring: the key is refused"); };

/* --- events --- */
const add = (event) => {
  if (off || (options.wait && !agreed)) return;
  const at = location;
  line.push(Object.assign({ messageId: uuid(), timestamp: new Date().toISOString(), context: {
    page: { path: at.pathname, url: at.href, search: at.search, title: d.title, referrer: d.referrer },
    locale: navigator.language, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    userHash: me.hash, library: { name: "firstring.js" } } }, me.user ? { userId: me.user } : {}, event));
  if (line.length > 500) line.shift();
  soon(0);
};
const soon = (ms) => { if (!timer) timer = setTimeout(flush, ms); };
const batch = (events) => ({ writeKey: options.key, sentAt: new Date().toISOString(),
  batch: events.map((one) => Object.assign({ anonymousId: me.id }, one)) });
const flush = async () => {
  timer = 0;
  if (sending || !line.length || off) return;
  sending = line.splice(0, 100);
  try {
    await visitor();
    const answer = await post("/v1/batch", batch(sending), { keepalive: sending.length < 10 });
    if (answer.status === 429 || answer.status >= 500) throw Error();
    if (answer.status === 401 || answer.status === 403) stop();
    pauseMs = 0;
  } catch (e) {
    line = off ? [] : sending.concat(line).slice(-500);
    pauseMs = Math.min(2 * pauseMs + 1000, 60000) * (0.75 + Math.random() / 2);
  }
  sending = null;
  if (line.length) soon(pauseMs || 20);
};
/* What is under way is sent once more: it counts once, by its messageId. */
const leave = () => {
  const events = (sending || []).concat(line);
  line = [];
  if (!me.id) me.id = "x" + uuid();
  for (let at = 0; at < events.length && !off; at += 20) {
    const part = batch(events.slice(at, at + 20));
    if (!navigator.sendBeacon(options.url + "/v1/batch", JSON.stringify(part))) line = line.concat(events.slice(at, at + 20));
  }
};

/* --- what is decided --- */
let stream = null, waiting = [], open = null, seen = {};
const offer = (action) => { if (!seen[action.id]) { seen[action.id] = 1; waiting.push(action); next(); } };
const next = async () => {
  if (open || d.hidden || !waiting.length) return;
  const action = waiting.shift();
  open = action;
  try {
    const answer = await (await post("/web/show", proof({ delivery: action.id }))).json();
    if (answer.show) return show(action, answer.content);
  } catch (e) { delete seen[action.id]; }
  open = null;
  next();
};
const listen = async () => {
  if (stream || off || d.hidden || (options.wait && !agreed)) return;
  const mine = stream = new AbortController();
  let failed = 0;
  while (stream === mine && !off) {
    try {
      await visitor();
      const polls = failed > 2 || !w.ReadableStream;
      const answer = await post(polls ? "/web/poll" : "/web/stream", proof(), { signal: mine.signal });
      if (answer.status === 401) me = { user: me.user, hash: me.hash };
      if (answer.status === 400) { console.error("firstring: the user's signature is refused"); me.hash = undefined; }
      if (!answer.ok) throw Error();
      if (polls) {
        (await answer.json()).actions.forEach(offer);
        await sleep(15000);
        if (++failed > 40) failed = 0;
        continue;
      }
      const reader = answer.body.getReader(), text = new TextDecoder();
      let rest = "", heard = false;
      const late = setTimeout(() => { if (!heard) reader.cancel(); }, 5000);
      for (let part; !(part = await reader.read()).done;) {
        heard = true;
        const blocks = (rest + text.decode(part.value, { stream: true })).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const found = /^event: action\ndata: (.*)$/m.exec(block);
          if (found) offer(JSON.parse(found[1]));
        }
      }
      clearTimeout(late);
      failed = heard ? 0 : failed + 1;
    } catch (e) { failed++; }
    if (stream === mine) await sleep(Math.min(500 * 2 ** failed, 15000) * (0.5 + Math.random()));
  }
};
const hush = () => { if (stream) { stream.abort(); stream = null; } };

/* --- showing --- */
const CSS = `:host{all:initial}*{box-sizing:border-box}
.b{--g:var(--firstring-ground,#fff);--i:var(--firstring-ink,#17202a);--a:var(--firstring-accent,#0b5cad);--o:var(--firstring-on-accent,#fff);
position:fixed;inset-block-end:16px;inset-inline-end:16px;z-index:var(--firstring-z,2147483000);width:min(23rem,calc(100vw - 32px));max-height:calc(100vh - 32px);overflow:auto;
padding:1.1rem 1.25rem 1.25rem;background:var(--g);color:var(--i);border:1px solid color-mix(in srgb,var(--i) 25%,var(--g));border-radius:var(--firstring-radius,14px);
box-shadow:0 8px 32px rgb(0 0 0/.22);font:var(--firstring-font,16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif);overflow-wrap:anywhere}
h2{font-size:1.15em;line-height:1.25;margin:0 2rem .4rem 0}p{margin:0 0 .8rem;white-space:pre-line}label{display:block;font-weight:600;margin:.3rem 0 .2rem}
input,select,button,a.k{font:inherit;min-height:44px;border-radius:8px;padding:.45rem .8rem;border:1px solid var(--i);background:var(--g);color:var(--i);cursor:pointer;text-decoration:none;text-align:center;display:inline-flex;align-items:center;justify-content:center}
input,select{width:100%;cursor:auto;text-align:start}.r{display:flex;flex-wrap:wrap;gap:.5rem;margin-top:.8rem}.r>*{flex:1 1 auto}
.m{background:var(--a)!important;border-color:var(--a)!important;color:var(--o)!important;font-weight:600}
.x{position:absolute;inset-block-start:.5rem;inset-inline-end:.5rem;min-width:44px;border-color:transparent;padding:0;font-size:1.4em;line-height:1}
.e{border-inline-start:4px solid;padding-inline-start:.6rem;font-weight:600}summary{cursor:pointer;padding:.5rem 0;font-weight:600}[hidden]{display:none!important}
:focus-visible{outline:3px solid var(--a);outline-offset:2px}
@media(prefers-color-scheme:dark){.b{--g:var(--firstring-ground,#171d24);--i:var(--firstring-ink,#e6ebf0);--a:var(--firstring-accent,#7ab7ff);--o:var(--firstring-on-accent,#06182c)}}
@media(prefers-reduced-motion:no-preference){.b{animation:u .2s ease-out}@keyframes u{from{transform:translateY(12px);opacity:.4}}}
@media print{.b{display:none}}`;
const make = (name, text, more) => {
  const made = Object.assign(d.createElement(name), more);
  if (text != null) { made.textContent = text; made.dir = "auto"; }
  return made;
};
const link = (url) => {
  try { const found = new URL(url, location.href); return url && /^http/.test(found.protocol) ? found.href : null; } catch (e) { return null; }
};
const tell = (what, action, content) =>
  w.dispatchEvent(new CustomEvent("firstring", { detail: { what, id: action.id, action: action.action, content } }));

const show = (action, content) => {
  const form = content.form || "popup", words = Object.assign({ close: "Close", phone: "Your phone number", at: "When shall we call?",
    sent: "Thank you. We call you.", failed: "That did not work. Please try again." }, content.words);
  const host = d.createElement("firstring-box"), root = host.attachShadow({ mode: "open" }), before = d.activeElement;
  try { const sheet = new CSSStyleSheet(); sheet.replaceSync(CSS); root.adoptedStyleSheets = [sheet]; }
  catch (e) { root.append(make("style", CSS, { nonce: (tag && tag.nonce) || "" })); }
  const box = make("section", null, { className: "b", tabIndex: -1, lang: content.language || "" });
  box.setAttribute("role", "dialog");
  box.setAttribute("aria-labelledby", "t");
  const body = make("form", null, { noValidate: true }), error = make("p", "", { className: "e", hidden: true });
  error.setAttribute("role", "alert");
  const close = make("button", "×", { className: "x", type: "button" });
  close.setAttribute("aria-label", words.close);
  box.append(make("h2", content.title || "", { id: "t" }), body, close);
  if (content.text) body.append(make("p", content.text));
  (content.items || []).forEach((one) => {
    const fold = make("details");
    fold.append(make("summary", one.title), make("p", one.text));
    body.append(fold);
  });
  let done = false;
  const end = (what) => {
    if (!done) { done = true; answer(what); }
    d.removeEventListener("keydown", escape, true);
    const focused = root.activeElement;
    host.remove();
    open = current = null;
    if (focused && before && before.focus) before.focus();
    next();
  };
  const answer = (what) => {
    tell(what, action, content);
    navigator.sendBeacon(options.url + "/web/answer", JSON.stringify(proof({ delivery: action.id, what })));
  };
  const escape = (event) => {
    const at = d.activeElement;
    if (event.key !== "Escape" || !(at === host || at === d.body || !at)) return;
    event.preventDefault();
    event.stopPropagation();
    end("dismissed");
  };
  const row = make("div", null, { className: "r" }), url = link(content.url);
  const wantsCall = form === "call_me" || form === "callback";
  let phone, at;
  if (wantsCall) {
    phone = make("input", null, { id: "p", type: "tel", autocomplete: "tel", required: true });
    body.append(make("label", words.phone, { htmlFor: "p" }), phone);
  }
  if (form === "callback") {
    at = make("select", null, { id: "w", required: true });
    body.append(make("label", words.at, { htmlFor: "w" }), at);
    const day = new Intl.DateTimeFormat(content.language || undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    post("/web/slots", proof({ delivery: action.id })).then((one) => one.json()).then((found) =>
      found.slots.forEach((slot) => at.append(make("option", day.format(new Date(slot)), { value: slot })))).catch(() => {});
  }
  const say = (text) => { error.textContent = text; error.hidden = !text; };
  const yes = url && !wantsCall && d.createElement("a");
  const main = yes ? Object.assign(yes, { href: url, className: "k m" }) : make("button", null, { className: "m" });
  main.append(content.accept || "OK");
  main.dir = "auto";
  row.append(main);
  if (yes) yes.onclick = () => end("accepted");
  if (content.dismiss) row.append(make("button", content.dismiss, { type: "button", onclick: () => end("dismissed") }));
  body.append(error, row);
  close.onclick = () => end("dismissed");
  body.onsubmit = async (event) => {
    event.preventDefault();
    if (!wantsCall) return end("accepted");
    main.disabled = true;
    say("");
    try {
      const answered = await post("/web/callback", proof({ delivery: action.id, phone: phone.value, at: at ? at.value || null : null,
        timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone, language: navigator.language }));
      if (answered.ok) {
        done = true;
        tell("accepted", action, content);
        const thanks = make("p", words.sent);
        thanks.setAttribute("role", "status");
        body.replaceWith(thanks);
        close.focus();
        return;
      }
      const told = (await answered.json()).error;
      say((content.errors && content.errors[told.code]) || told.message);
    } catch (e) { say(words.failed); }
    main.disabled = false;
    phone.focus();
  };
  root.append(box);
  current = { end, answer, get done() { return done; } };
  d.body.append(host);
  d.addEventListener("keydown", escape, true);
  /* Nobody who types is interrupted. */
  if (!before || before === d.body) box.focus({ preventScroll: true });
  tell("shown", action, content);
};
let current = null;

/* --- <form data-firstring="email phone"> sends these fields, never passwords or cards --- */
d.addEventListener("submit", (event) => {
  const form = event.target, wanted = form && form.dataset && form.dataset.firstring;
  if (wanted == null) return;
  const fields = {};
  wanted.split(/\s+/).forEach((name) => {
    const field = name && form.elements[name];
    if (field && field.value && field.type !== "password" && !/^cc-/.test(field.autocomplete || "")) fields[name] = field.value.slice(0, 200);
  });
  api.track("Form Submitted", Object.assign({ form: form.id || form.getAttribute("name") || "" }, fields));
}, true);

/* --- what pages call --- */
const api = {
  loaded: true,
  page(name, properties) { add({ type: "page", name, properties: Object.assign({ path: location.pathname, title: d.title }, properties) }); },
  track(event, properties) { add({ type: "track", event, properties: properties || {} }); },
  identify(user, traits, signature) {
    me.user = user == null ? undefined : String(user);
    me.hash = signature || undefined;
    keep();
    add({ type: "identify", traits: traits || {} });
    if (stream) { hush(); listen(); }
  },
  reset() {
    if (me.user) add({ type: "track", event: "Signed Out", properties: {} });
    leave();
    me = {};
    storage((s) => s.removeItem(STORE));
    waiting = [];
    if (current) current.end("ignored");
    hush();
    listen();
  },
  consent(yes) {
    agreed = Boolean(yes);
    if (agreed) keep(); else storage((s) => s.removeItem(STORE));
    if (options.wait) { if (agreed) { if (options.auto) api.page(); listen(); } else hush(); }
  },
};
w.firstring = api;
const early = stub.q || [];
if (!options.key) { console.error("firstring: data-key is missing"); off = true; }
const gone = () => {
  if (current && !current.done) current.answer("ignored");
  leave();
  hush();
};
d.addEventListener("visibilitychange", () => { if (d.hidden) { leave(); hush(); } else { listen(); next(); } });
w.addEventListener("pagehide", gone);
w.addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
if (options.auto) api.page();
early.forEach(([name, ...more]) => { if (typeof api[name] === "function") api[name](...more); });
listen();
})();
