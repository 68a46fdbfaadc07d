"use strict";
// What a reading of a hand test says of the classes, by the formulas of prediction/hand_tests.py and evidence.py.
const handTests = (() => {
  const RULED_OUT = 0.01;
  const NAMED = 3;
  const READING = /^([-+]?\d+(?:[.,]\d+)?)(?:\s*(?:-|–|to)\s*([-+]?\d+(?:[.,]\d+)?))?\s*([^]*)$/;
  const short = number => String(Number(number.toPrecision(6)));
  const written = reading => `${reading.property.name}=${reading.word ?? (reading.low === reading.high ? short(reading.low) : `${short(reading.low)}-${short(reading.high)}`)}`;

  function read(property, text) {
    const given = text.trim();
    if (property.values) {
      const word = property.values.find(value => value.toLowerCase() === given.toLowerCase());
      if (word === undefined) throw new Error(`${property.name}=${text}: known: ${property.values.join(", ")}`);
      return { property, word };
    }
    const [least, greatest] = property.scale;
    const match = READING.exec(given);
    if (!match) throw new Error(`${property.name}=${text}: is no number; write one, or what it lies between, such as ${short(least)}-${short((least + greatest) / 2)} (${property.unit}, ${short(least)} to ${short(greatest)})`);
    const unit = match[3] || property.unit;
    const factor = unit === property.unit ? 1 : property.units[unit];
    if (factor === undefined) throw new Error(`${property.name}=${text}: known units: ${[property.unit, ...Object.keys(property.units)].join(", ")}`);
    const [low, high] = [match[1], match[2] ?? match[1]].map(end => Number(end.replace(",", ".")) * factor);
    if (!(least <= low && low <= high && high <= greatest)) throw new Error(`${property.name}=${text}: give a value, or a lesser and a greater one, from ${short(least)} to ${short(greatest)} ${property.unit}`);
    return { property, low, high };
  }

  function likelihood({ property, word, low, high }) {
    if (word !== undefined) return property.likelihood[property.values.indexOf(word)];
    const scale = property.scale[1] - property.scale[0];
    const row = property.low.map((least, k) => {
      if (least === null) return null;
      const overlap = Math.min(high, property.high[k]) - Math.max(low, least);
      const inside = (low === high ? (overlap >= 0) * scale : Math.max(0, overlap)) / (property.high[k] - least);
      return (1 - property.misread) * inside + property.misread * (low === high ? 1 : (high - low) / scale);
    });
    const known = row.filter(value => value !== null);
    const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
    return row.map(value => value ?? mean);
  }

  function fits({ property, word, low, high }) {
    if (word !== undefined) return property.fits[property.values.indexOf(word)];
    return property.low.map((least, k) => least === null || (low <= property.high[k] && least <= high));
  }

  function posterior(shares, readings) {
    const logs = shares.map(share => Math.log(Math.max(share, Number.MIN_VALUE)));
    for (const reading of readings) likelihood(reading).forEach((value, k) => { logs[k] += Math.log(value); });
    const greatest = Math.max(...logs);
    const raised = logs.map(value => Math.exp(value - greatest));
    const total = raised.reduce((sum, value) => sum + value, 0);
    return raised.map(value => value / total);
  }

  // What does not go together, in words, and whether a class fits the readings.
  function check(classes, shares, readings) {
    const fitting = readings.map(fits);
    const unfit = readings.filter((_, row) => !fitting[row].some(Boolean)).map(written);
    if (unfit.length) return [`${unfit.join(" and ")} ${unfit.length === 1 ? "fits" : "fit"} none of the classes: read it again, or it is none of them`, false];
    const together = classes.map((_, k) => fitting.every(row => row[k]));
    if (!together.some(Boolean)) return [`no class fits ${readings.map(written).join(" and ")} together: one is misread, or it is none of the classes`, false];
    const share = shares.reduce((sum, value, k) => sum + (together[k] ? value : 0), 0);
    if (share >= RULED_OUT) return ["", true];
    const names = classes.filter((_, k) => together[k]);
    return [`the photo speaks against it: it gives ${short(Number((100 * share).toPrecision(1)))} % to what fits (${names.length <= NAMED ? names.join(", ") : `${names.length} classes`})`, true];
  }

  function weigh(classes, shares, readings) {
    if (!readings.length) return null;
    const weighed = posterior(shares, readings);
    const [note, isFitting] = check(classes, shares, readings);
    const best = weighed.indexOf(Math.max(...weighed));
    return {
      label: isFitting ? classes[best] : null,
      confidence: isFitting ? weighed[best] : null,
      probabilities: Object.fromEntries(classes.map((name, k) => [name, weighed[k]])),
      note,
    };
  }

  return { read, weigh };
})();
