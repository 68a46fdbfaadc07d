"use strict";
(() => {
  const $ = id => document.getElementById(id);
  const KINDS = {
    conflict: "one photo under two labels", suspect: "suspected labels", doubtful: "doubtful pairs",
    least_typical: "least typical", least_sure: "least sure", unlabeled: "new photos",
  };
  const percent = share => (share > 0 && share < 0.0005 ? "<0.1 %" : share < 1 && share >= 0.9995 ? "99.9 %" : `${(100 * share).toFixed(1)} %`);
  const ALWAYS = new Set(["u", "ArrowLeft", "ArrowRight"]);  // need no item that is there
  const images = new Map();
  let token = location.hash.slice(1) || sessionStorage.getItem("review-token") || "";
  let queue = null, list = [], position = 0, item = null, chosen = 0, busy = false, showing = 0;
  if (location.hash) history.replaceState(null, "", location.pathname);  // the token stays out of the history

  async function ask(path, body) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
    if (answer.ok) return answer;
    let words = `${answer.status} ${answer.statusText}`;
    try { words = (await answer.json()).detail || words; } catch { /* no JSON: the status must do */ }
    const error = new Error(words);
    error.status = answer.status;
    throw error;
  }

  function say(words) {
    $("message").hidden = !words;
    $("message").textContent = words;
  }

  const who = () => localStorage.getItem("review-name") || "";

  async function start() {
    try {
      queue = await (await ask("v1/review")).json();
    } catch (error) {
      $("login").hidden = error.status !== 401;
      $("model").textContent = error.status === 401 ? "This server asks for the token that it said when it started." : "";
      say(error.status === 401 ? "" : error.message);
      if (error.status === 401) $("token").focus();
      return;
    }
    sessionStorage.setItem("review-token", token);
    say("");
    $("login").hidden = true;
    $("title").textContent = queue.new ? "What does it show?" : "Is the label right?";
    document.title = $("title").textContent;
    $("model").textContent = `${queue.name}: ${queue.items.length} to look at, ${queue.classes.length} classes.`;
    $("file").textContent = queue.corrections;
    $("again").textContent = `ensemble-minerals fit PHOTOS --corrections ${queue.corrections}`;
    const kinds = [...new Set(queue.items.map(one => one.kind))];
    $("kind").replaceChildren(new Option("", "all"), ...kinds.map(kind => new Option("", kind)));
    $("name").hidden = Boolean(who());
    $("who").value = who();
    if (who()) begin(); else $("who").focus();
  }

  function begin() {
    $("name").hidden = true;
    $("review").hidden = false;
    choose(0);
  }

  function choose(from) {
    const kind = $("kind").value;
    list = queue.items.filter(one => kind === "all" || one.kind === kind);
    const open = list.findIndex((one, at) => at >= from && !one.done);
    position = open >= 0 ? open : list.findIndex(one => !one.done);
    show();
  }

  function count() {
    for (const option of $("kind").options) {
      const own = queue.items.filter(one => option.value === "all" || one.kind === option.value);
      const words = option.value === "all" ? "everything" : KINDS[option.value];
      option.textContent = `${words} (${own.filter(one => !one.done).length} of ${own.length} open)`;
    }
    const done = list.filter(one => one.done).length;
    $("done").style.width = `${list.length ? (100 * done) / list.length : 100}%`;
    $("progress").textContent = `${done} of ${list.length} done`;
    $("disagree").hidden = !queue.disagreements.length;
    $("disagree").querySelector("ul").replaceChildren(...queue.disagreements.map(words => {
      const line = document.createElement("li");
      line.textContent = words;
      return line;
    }));
  }

  async function show() {
    count();
    const empty = position < 0 || !list.length;
    $("nothing").hidden = !empty;
    $("at").hidden = empty;
    item = null;
    if (empty) { aloud("Nothing is left here."); return; }
    const asked = ++showing;
    let found;
    try {
      found = await (await ask(`v1/review/items/${list[position].item}`)).json();
    } catch (error) { say(error.message); return; }
    if (asked !== showing) return;
    say("");
    item = found;
    chosen = 0;
    const pair = item.shown.length > 1;
    $("place").textContent = `${KINDS[item.kind]}, ${position + 1} of ${list.length}`;
    $("why").textContent = item.reason.charAt(0).toUpperCase() + item.reason.slice(1);
    const decided = item.decision || (pair ? null : item.shown[0].decision);
    $("state").hidden = !item.done;
    $("state").textContent = decided ? `${outcome(decided)} (${decided.who})` : "settled";
    $("photos").classList.toggle("two", pair);
    $("photos").replaceChildren(...item.shown.map(card));
    label("k", queue.new ? `it is ${item.shown[0].answer}` : item.kind === "doubtful" ? "same object" : pair ? "this label is right" : "keep");
    label("r", queue.new ? "another class" : "relabel");
    label("x", queue.new ? "none of these" : "leave out");
    button("n").hidden = !pair;
    pick(0);
    window.scrollTo({ top: 0 });
    aloud(`${$("place").textContent}. ${item.reason}.`);
    prefetch();
  }

  const button = key => document.querySelector(`[data-key="${key}"]`);
  const label = (key, words) => { button(key).querySelector("span").textContent = words; };
  const aloud = words => { $("said").textContent = words; };
  const outcome = one => one.label || one.action.replaceAll("_", " ");

  function card(photo, at) {
    const node = $("photo").content.firstElementChild.cloneNode(true);
    const image = node.querySelector("img");
    const answered = photo.answer !== null;
    image.alt = `${photo.path}${photo.labels.length ? `, labeled ${photo.labels.join(" and ")}` : ""}`;
    load(photo.photo, "large", image);
    node.setAttribute("aria-label", image.alt);
    node.querySelector(".name").textContent = photo.path;
    node.querySelector(".label").textContent = photo.labels.join(" / ") || "none yet";
    const said = photo.said.length ? photo.said : photo.decision ? [photo.decision] : [];
    node.querySelector(".decision").hidden = !said.length;
    node.querySelector(".decision").textContent = said.map(one => `${one.who}: ${outcome(one)}`).join("; ");
    const table = node.querySelector(".classes");
    table.hidden = !answered;
    table.caption.textContent = queue.new ? "The answer" : "The answer of models that did not learn from it";
    const shares = Object.entries(photo.probabilities).sort((a, b) => b[1] - a[1]);
    for (const [name, share] of shares.filter(([name], rank) => rank < 4 || photo.labels.includes(name))) {
      const line = table.tBodies[0].insertRow();
      const bar = document.createElement("span");
      const fill = document.createElement("i");
      fill.style.width = `${100 * share}%`;
      bar.className = "share";
      bar.append(fill);
      line.insertCell().append(name, bar);
      const number = line.insertCell();
      number.textContent = percent(share);
      number.className = "number";
      if (photo.labels.includes(name)) line.className = "given";
    }
    const agreeing = photo.votes.filter(vote => vote.label === photo.answer).length;
    const facts = [];
    if (photo.votes.length) facts.push(`${agreeing} of ${photo.votes.length} members agree`);
    if (photo.typicality !== null) facts.push(`${percent(photo.typicality)} of the photos are as strange`);
    node.querySelector(".facts").textContent = facts.join("; ");
    const heat = node.querySelector(".show-heat");
    heat.hidden = !queue.heat_maps || !answered;
    heat.textContent = `show what speaks for ${photo.answer}`;
    heat.addEventListener("click", () => drawHeat(photo, node));
    node.querySelector(".near").hidden = !photo.neighbors.length;
    for (const near of photo.neighbors) {
      const figure = document.createElement("figure");
      const picture = document.createElement("img");
      const words = document.createElement("figcaption");
      const name = document.createElement("b");
      picture.alt = "";
      picture.title = near.path;
      load(near.photo, "small", picture);
      name.textContent = near.label;
      words.append(name, near.same_object ? ", same object" : "", ` ${near.similarity.toFixed(2)}`);
      figure.className = photo.labels.length && !photo.labels.includes(near.label) ? "other" : "";
      figure.append(picture, words);
      node.querySelector(".neighbors").append(figure);
    }
    node.addEventListener("click", () => pick(at));
    return node;
  }

  function pick(at) {
    if (!item || at >= item.shown.length) return;
    chosen = at;
    const pair = item.shown.length > 1;
    document.querySelectorAll(".photo").forEach((node, number) => {
      node.classList.toggle("chosen", pair && number === at);
      if (pair) node.setAttribute("aria-current", String(number === at));
    });
  }

  async function load(photo, side, image) {
    const key = `${photo} ${side}`;
    if (!images.has(key)) {
      if (images.size > 200) {  // the oldest go; those on the page keep what they show
        const [old, address] = images.entries().next().value;
        images.delete(old);
        address.then(URL.revokeObjectURL, () => {});
      }
      images.set(key, ask(`v1/review/photos/${photo}?side=${side}`).then(answer => answer.blob()).then(URL.createObjectURL));
    }
    try {
      const address = await images.get(key);
      if (image) image.src = address;
    } catch (error) {
      images.delete(key);
      if (image) image.alt = error.message;
    }
  }

  function prefetch() {
    const next = list.slice(position + 1).find(one => !one.done);
    if (next) for (const photo of next.photos) load(photo, "large", null);
  }

  async function drawHeat(photo, node) {
    const heat = node.querySelector(".heat"), key = node.querySelector(".show-heat");
    if (key.disabled) return;
    if (heat.src) {
      heat.hidden = !heat.hidden;
      key.textContent = heat.hidden ? `show what speaks for ${photo.answer}` : "show the photo";
      return;
    }
    key.disabled = true;
    key.textContent = "drawing …";
    try {
      const label = encodeURIComponent(photo.answer);
      heat.src = URL.createObjectURL(await (await ask(`v1/review/photos/${photo.photo}/heatmap?label=${label}`)).blob());
      heat.alt = `What in the photo speaks for ${photo.answer}`;
      heat.hidden = false;
      key.textContent = "show the photo";
    } catch (error) {
      key.textContent = error.message;
    }
    key.disabled = false;
  }

  async function send(path, body) {
    if (busy) return null;
    busy = true;
    try {
      const progress = await (await ask(path, { who: who(), ...body })).json();
      const done = new Set(progress.done);
      for (const one of queue.items) one.done = done.has(one.item);
      queue.disagreements = progress.disagreements;
      say("");
      return progress;
    } catch (error) {
      say(error.message);
      aloud(error.message);
      return null;
    } finally {
      busy = false;
    }
  }

  async function decide(decisions) {
    if (await send("v1/review/decisions", { decisions })) {
      if (list[position].done) choose(position + 1); else show();
    }
  }

  const photo = () => item.shown[chosen];
  const other = () => item.shown[1 - chosen];
  const act = {
    k() {
      if (item.kind === "doubtful") return decide([{ photo: item.photos[0], action: "same_object", other: item.photos[1] }]);
      if (queue.new) return decide([{ photo: photo().photo, action: "add", label: photo().answer }]);
      if (item.kind !== "conflict" || !other()) return decide([{ photo: photo().photo, action: "keep" }]);
      if (photo().labels.length !== 1) return say("This photo has several labels itself; say which it shows (r).");
      return decide([  // one picture has one label, so the other gets it, too
        { photo: photo().photo, action: "relabel", label: photo().labels[0] },
        { photo: other().photo, action: "relabel", label: photo().labels[0] },
      ]);
    },
    r() { openClasses(); },
    x() { return decide([{ photo: photo().photo, action: "leave_out" }]); },
    n() { if (item.photos.length > 1) return decide([{ photo: item.photos[0], action: "not_same_object", other: item.photos[1] }]); },
    async u() {
      const progress = await send("v1/review/undo", {});
      if (!progress) return;
      if (progress.item === null) { say("There is no decision of yours that could be undone."); return; }
      if (!list.some(one => one.item === progress.item)) { $("kind").value = "all"; list = queue.items; }
      position = list.findIndex(one => one.item === progress.item);
      await show();
      aloud("Undone.");
    },
    h() { const node = document.querySelectorAll(".photo")[chosen]; if (queue.heat_maps && photo().answer !== null) drawHeat(photo(), node); },
    ArrowRight() { go(1); },
    ArrowLeft() { go(-1); },
    1() { pick(0); },
    2() { pick(1); },
  };

  function go(step) {
    if (position + step < 0 || position + step >= list.length) { aloud("There is no further one."); return; }
    position += step;
    show();
  }

  function openClasses() {
    $("filter").value = "";
    fillClasses();
    $("choose").showModal();
    $("filter").focus();
  }

  function fillClasses() {
    const wanted = $("filter").value.trim().toLowerCase();
    const shares = photo().probabilities, own = photo().labels.length === 1 ? photo().labels[0] : "";
    const names = queue.classes.filter(name => name !== own && name.toLowerCase().includes(wanted))
      .sort((a, b) => (shares[b] ?? 0) - (shares[a] ?? 0));
    $("classes").replaceChildren(...names.map(name => {
      const line = document.createElement("li"), key = document.createElement("button"), share = document.createElement("span");
      key.type = "button";
      share.className = "soft";
      share.textContent = name in shares ? percent(shares[name]) : "";
      key.append(name, share);
      key.addEventListener("click", () => relabel(name));
      line.append(key);
      return line;
    }));
  }

  function relabel(name) {
    $("choose").close();
    decide([{ photo: photo().photo, action: queue.new ? "add" : "relabel", label: name }]);
  }

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("choose").open || $("review").hidden) return;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (act[key] && !event.repeat && (item || ALWAYS.has(key))) { event.preventDefault(); if (!busy) act[key](); }
  });
  document.querySelectorAll("[data-key]").forEach(node => node.addEventListener("click", () => { if ((item || ALWAYS.has(node.dataset.key)) && !busy) act[node.dataset.key](); }));
  $("kind").addEventListener("change", () => { choose(0); $("at").focus(); });
  $("filter").addEventListener("input", fillClasses);
  $("choose").querySelector("form").addEventListener("submit", event => {
    event.preventDefault();
    $("classes").querySelector("button")?.click();
  });
  $("cancel").addEventListener("click", () => $("choose").close());
  $("login").addEventListener("submit", event => { event.preventDefault(); token = $("token").value.trim(); start(); });
  $("name").addEventListener("submit", event => {
    event.preventDefault();
    const name = $("who").value.trim().replace(/\s+/g, " ");
    if (name) { localStorage.setItem("review-name", name); begin(); }
  });
  start();
})();
