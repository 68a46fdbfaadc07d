"use strict";
// Which hand tests would tell most, by the formulas of prediction/advice.py.
window.adviser = (classes, { tests, sure, worth, advised, common }) => {
  function expects(test, shares) {
    const joint = test.likelihoods.map(row => row.map((value, k) => value * shares[k]));
    const outcome = joint.map(row => row.reduce((sum, value) => sum + value, 0));
    let information = 0;
    joint.forEach((row, o) => row.forEach((value, k) => { if (value > 0) information += value * Math.log(test.likelihoods[o][k] / outcome[o]); }));
    const greatest = joint.map(row => Math.max(...row));
    return { test, joint, outcome, greatest, information, confidence: greatest.reduce((sum, value) => sum + value, 0) };
  }

  function inWords({ test, joint, outcome, greatest, confidence }, shares) {
    const order = classes.map((_, k) => k).sort((one, other) => shares[other] - shares[one]);
    const told = test.outcomes
      ? test.outcomes.map((name, o) => (test.all_named || outcome[o] >= common ? `${name}: ${classes[joint[o].indexOf(greatest[o])]}` : ""))
      : order.slice(0, 2).map(k => test.ranges[k]);
    const gain = `confidence ${(100 * Math.max(...shares)).toFixed(0)} -> ${(100 * confidence).toFixed(0)} % on average`;
    return `${test.how} (${[...told, gain].filter(Boolean).join(", ")})`;
  }

  return (shares, done) => {
    if (Math.max(...shares) >= sure || !tests.length) return "";
    const found = tests.filter(test => !done.includes(test.name)).map(test => expects(test, shares));
    found.sort((one, other) => other.information - one.information);
    const best = new Map();  // one way to test a property: the one that tells most
    for (const one of found) {
      if (one.information >= worth && !best.has(one.test.name) && best.size < advised) best.set(one.test.name, inWords(one, shares));
    }
    return best.size ? `test next: ${[...best.values()].join("; or ")}` : "no test known here tells more";
  };
};
