"use strict";
// Answers the page as the server does, from what lies in this file: nothing is sent, and no network is needed.
window.answering = (() => {
  const model = JSON.parse(document.getElementById("model-data").textContent);
  const { classes } = model.described;
  const advise = adviser(classes, model.advice);

  async function unpacked(id) {
    const text = atob(document.getElementById(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function start() {
    if (!("DecompressionStream" in window)) throw new Error("this browser is too old for the page; take one of 2023 or later");
    const address = URL.createObjectURL(new Blob([await unpacked("runtime-script")], { type: "text/javascript" }));
    const runtime = await import(address);
    runtime.env.wasm.numThreads = 1;  // threads need headers that a file has not
    runtime.env.wasm.wasmBinary = await unpacked("runtime-wasm");
    return { runtime, session: await runtime.InferenceSession.create(await unpacked("network"), { executionProviders: ["wasm"] }) };
  }

  const started = start();
  started.catch(() => {});  // told where a photo is asked

  async function answer(file) {
    const { runtime, session } = await started;
    const name = file.name;
    let photo;
    try {
      photo = await photos.read(file, model);
    } catch (error) {
      return { name, status: "unreadable", reason: error.message, probabilities: {}, votes: [] };
    }
    const input = new runtime.Tensor("uint8", photo.pixels, [1, photo.high, photo.wide, 3]);
    const found = await session.run({ photos: input });
    const shares = [...found.probabilities.data];
    const order = classes.map((_, k) => k).sort((one, other) => shares[other] - shares[one]);
    const [best] = order;
    const typicality = found.typicality ? found.typicality.data[0] : null;
    const strange = model.refuse > 0 && typicality !== null && typicality <= model.refuse;
    return {
      name, status: "ok", reason: "",
      label: classes[best], group: model.described.groups[classes[best]], confidence: shares[best],
      probabilities: Object.fromEntries(classes.map((label, k) => [label, shares[k]])),
      typicality, verdict: typicality === null ? null : strange ? "none_of_these" : "answered",
      set: order.filter(k => k === best || model.highest_scores[k] === null || 1 - shares[k] <= model.highest_scores[k]).map(k => classes[k]),
      votes: [], with_evidence: null, advice: advise(shares, []),
    };
  }

  function weigh({ probabilities, evidence }) {
    const readings = Object.entries(evidence).map(([name, text]) => handTests.read(model.tests.find(test => test.name === name), text));
    readings.sort((one, other) => (one.property.name < other.property.name ? -1 : 1));
    const shares = classes.map(name => probabilities[name]);
    const weighed = handTests.weigh(classes, shares, readings);
    const known = weighed ? classes.map(name => weighed.probabilities[name]) : shares;
    return { with_evidence: weighed, advice: advise(known, Object.keys(evidence)) };
  }

  const said = (content, status = 200) => new Response(JSON.stringify(content), { status });

  return async (path, { body } = {}) => {
    try {
      if (path === "v1/model") return said(model.described);
      if (path === "v1/weigh") return said(weigh(JSON.parse(body)));
      const answers = [];
      for (const file of body.getAll("files")) answers.push(await answer(file));
      return said({ answers });
    } catch (error) {
      return said({ detail: error.message }, 422);
    }
  };
})();
