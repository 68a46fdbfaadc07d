"use strict";
(() => {
  const $ = id => document.getElementById(id);
  const NAMED = 6;  // classes of a set that are named
  const cards = [];
  let model = null;
  let token = "";
  const percent = share => (share > 0 && share < 0.0005 ? "<0.1 %" : share < 1 && share >= 0.9995 ? "99.9 %" : `${(100 * share).toFixed(1)} %`);

  async function ask(path, options = {}) {
    const headers = token ? { ...options.headers, Authorization: `Bearer ${token}` } : options.headers;
    const answer = await (window.answering ?? fetch)(path, { ...options, headers });  // a file answers for itself
    if (answer.ok) return answer;
    let words = `${answer.status} ${answer.statusText}`;
    try { words = (await answer.json()).detail || words; } catch { /* no JSON: the status must do */ }
    const error = new Error(words);
    error.status = answer.status;
    error.wait = Number(answer.headers.get("Retry-After")) || 0;
    throw error;
  }

  function say(words) {
    $("message").hidden = !words;
    $("message").textContent = words;
  }

  async function start() {
    try {
      model = await (await ask("v1/model")).json();
    } catch (error) {
      $("login").hidden = error.status !== 401;
      $("model").textContent = error.status === 401 ? "This server asks for a token." : "";
      say(error.status === 401 && !token ? "" : error.message);
      return;
    }
    say("");
    $("login").hidden = true;
    $("model").textContent = `${model.name}: ${model.classes.length} classes (${model.classes.slice(0, 12).join(", ")}${model.classes.length > 12 ? ", …" : ""})${model.members.length > 1 ? `, ${model.members.length} members` : ""}.`;
    $("synthetic").hidden = !model.demonstration;
    $("kept").hidden = !model.keeps;
    $("card-link").hidden = !model.card || token !== "";
    $("report-link").hidden = !model.report || token !== "";
  }

  function row(table, cells, agrees = false) {
    const line = table.tBodies[0].insertRow();
    cells.forEach((text, column) => {
      const cell = line.insertCell();
      cell.textContent = text;
      if (column === cells.length - 1) cell.className = "number";
    });
    if (agrees) line.className = "agrees";
  }

  function fill(place, label, confidence) {
    place.querySelector(".label").textContent = label;
    place.querySelector(".confidence").textContent = confidence === null ? "" : percent(confidence);
    place.querySelector(".bar i").style.width = `${100 * (confidence ?? 0)}%`;
  }

  function add(files) {
    if (!model) { say("The model is not there yet; try again in a moment."); return; }
    say("");
    const fresh = [...files].map(file => {
      const node = $("card").content.firstElementChild.cloneNode(true);
      const card = { file, node, answer: null, evidence: {}, url: URL.createObjectURL(file) };
      const image = node.querySelector("img");
      image.src = card.url;
      image.alt = `Photo ${file.name}`;
      image.addEventListener("error", () => { image.hidden = true; });  // a format that browsers do not show
      node.querySelector(".name").textContent = file.name;
      node.setAttribute("aria-label", file.name);
      $("cards").prepend(node);
      cards.unshift(card);
      return card;
    });
    count();
    const most = Math.max(1, Math.min(8, model.limits.photos));
    (async () => {
      for (let first = 0; first < fresh.length; first += most) await send(fresh.slice(first, first + most));
    })();
  }

  async function send(batch) {
    const form = new FormData();
    for (const card of batch) form.append("files", card.file, card.file.name || "photo");
    form.append("sets", "0.95");
    if (model.properties.length) form.append("advise", "1");
    try {
      const found = await (await ask("v1/predict", { method: "POST", body: form })).json();
      batch.forEach((card, position) => show(card, found.answers[position]));
    } catch (error) {
      if (error.status === 429) {
        await new Promise(done => setTimeout(done, 1000 * (error.wait || 1)));
        return send(batch);
      }
      if (batch.length > 1 && (error.status === 413 || error.status === 422)) {
        for (const card of batch) await send([card]);
        return;
      }
      for (const card of batch) card.node.querySelector(".state").textContent = error.message;
    }
    count();
  }

  function show(card, answer) {
    card.answer = answer;
    const { node } = card;
    const state = node.querySelector(".state");
    if (answer.status !== "ok") { state.textContent = `Could not be read: ${answer.reason}`; return; }
    state.hidden = true;
    node.querySelector(".found").hidden = false;
    fill(node.querySelector(".found"), answer.label, answer.confidence);
    const verdict = node.querySelector(".verdict");
    verdict.hidden = answer.verdict !== "none_of_these";
    verdict.textContent = "It may be none of these: the photo is unlike those that the model learned from.";
    const set = answer.set ?? [];
    const more = set.length - NAMED;
    node.querySelector(".set").textContent = set.length > 1 ? `In 95 % of cases it is one of${more > 0 ? ` ${set.length} classes` : ""}: ${set.slice(0, NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}` : "";
    const shares = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
    for (const [name, share] of shares) row(node.querySelector(".classes"), [name, percent(share)]);
    for (const vote of answer.votes) row(node.querySelector(".votes"), [vote.member, vote.label, percent(vote.probability)], vote.label === answer.label);
    const agreeing = answer.votes.filter(vote => vote.label === answer.label).length;
    node.querySelector(".votes").parentElement.hidden = model.members.length < 2;
    node.querySelector(".votes-title").textContent = `${agreeing} of ${answer.votes.length} members chose it`;
    node.querySelector(".few").hidden = 2 * agreeing >= answer.votes.length;
    offerEvidence(card);
    node.querySelector(".advice").textContent = answer.advice || "";
    if (answer.advice) node.querySelector(".evidence").open = true;
    const heat = node.querySelector(".show-heat");
    heat.hidden = !model.heat_maps;
    heat.addEventListener("click", () => drawHeat(card));
  }

  function offerEvidence(card) {
    if (!model.properties.length) return;
    card.node.querySelector(".evidence").hidden = false;
    const fields = card.node.querySelector(".fields");
    let timer = 0;
    for (const property of model.properties) {
      const label = document.createElement("label");
      label.title = property.how;
      label.append(`${property.name}${property.unit ? ` (${property.unit})` : ""}`);
      const field = document.createElement(property.values ? "select" : "input");
      if (property.values) {
        field.append(new Option("not tested", ""), ...property.values.map(value => new Option(value, value)));
      } else {
        field.type = "text";
        field.inputMode = "decimal";
        field.placeholder = `${property.scale[0]} to ${property.scale[1]}`;
      }
      field.addEventListener("input", () => {
        card.evidence[property.name] = field.value;
        clearTimeout(timer);
        timer = setTimeout(() => weigh(card), 200);
      });
      label.append(field);
      fields.append(label);
    }
  }

  async function weigh(card) {
    const beside = card.node.querySelector(".beside");
    const evidence = Object.fromEntries(Object.entries(card.evidence).filter(([, value]) => value.trim()));
    const body = JSON.stringify({ probabilities: card.answer.probabilities, evidence });
    const asked = card.asked = (card.asked || 0) + 1;
    try {
      const found = await (await ask("v1/weigh", { method: "POST", body, headers: { "Content-Type": "application/json" } })).json();
      if (asked !== card.asked) return;  // a later key was faster
      card.weighed = found.with_evidence;
      card.node.querySelector(".advice").textContent = found.advice;
      beside.hidden = !card.weighed;
      if (!card.weighed) return;
      fill(beside, card.weighed.label ?? "none fits", card.weighed.confidence);
      beside.querySelector(".note").textContent = card.weighed.note;
    } catch (error) {
      if (asked !== card.asked) return;
      card.weighed = null;
      beside.hidden = false;
      fill(beside, "", null);
      beside.querySelector(".note").textContent = error.message.replace(/^evidence: /, "");
    }
  }

  async function drawHeat(card) {
    const button = card.node.querySelector(".show-heat");
    const image = card.node.querySelector(".heat");
    if (image.src) {
      image.hidden = !image.hidden;
      button.textContent = image.hidden ? "show what speaks for it" : "show the photo";
      return;
    }
    button.disabled = true;
    button.textContent = "drawing …";
    const form = new FormData();
    form.append("files", card.file, card.file.name || "photo");
    try {
      image.src = URL.createObjectURL(await (await ask("v1/heatmap", { method: "POST", body: form })).blob());
      image.alt = `What in the photo speaks for ${card.answer.label}`;
      image.hidden = false;
      button.textContent = "show the photo";
    } catch (error) {
      button.textContent = error.message;
    }
    button.disabled = false;
  }

  function count() {
    $("tools").hidden = !cards.length;
    const done = cards.filter(card => card.answer).length;
    $("count").textContent = `${done} of ${cards.length} answered`;
  }

  function cell(value) {
    const text = String(value ?? "");
    const safe = /^[\s']*[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  function download() {
    const header = ["path", "status", "reason", "label", "confidence", "set", ...model.classes.map(name => `p_${name}`), "typicality", "verdict", "with_evidence_label", "with_evidence_confidence", "evidence_note", "advice"];
    const lines = cards.filter(card => card.answer).map(card => {
      const { answer, weighed } = card;
      return [card.file.name, answer.status, answer.reason, answer.label, answer.confidence, (answer.set ?? []).join("; "),
        ...model.classes.map(name => answer.probabilities[name]), answer.typicality, answer.verdict, weighed?.label, weighed?.confidence, weighed?.note, card.node.querySelector(".advice").textContent];
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[header, ...lines].map(line => line.map(cell).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = "answers.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  for (const id of ["choose", "take"]) $(id).addEventListener("change", event => { add(event.target.files); event.target.value = ""; });
  const drop = $("drop");
  document.addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", event => { event.preventDefault(); drop.classList.remove("over"); add(event.dataTransfer.files); });
  document.addEventListener("paste", event => { if (event.clipboardData.files.length) add(event.clipboardData.files); });
  $("download").addEventListener("click", download);
  $("clear").addEventListener("click", () => {
    for (const card of cards) { URL.revokeObjectURL(card.url); card.node.remove(); }
    cards.length = 0;
    count();
  });
  $("enter").addEventListener("click", () => { token = $("token").value.trim(); start(); });
  $("token").addEventListener("keydown", event => { if (event.key === "Enter") $("enter").click(); });
  start();
})();
