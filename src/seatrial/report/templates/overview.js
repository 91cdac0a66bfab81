"use strict";
(() => {
  const form = document.querySelector("[data-filters]");
  const rows = [...document.querySelectorAll("[data-runs] tbody tr")];
  const data = JSON.parse(document.getElementById("runs-data").textContent);
  const section = document.getElementById("compare");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const runs = new Map(data.runs);
  if (!rows.length) return;

  form.hidden = false;
  section.hidden = false;
  for (const cell of document.querySelectorAll(".pick")) cell.hidden = false;

  const said = form.querySelector("output");
  const filter = () => {
    const wanted = Object.fromEntries(["kind", "model", "target", "verdict"].map((name) => [name, form.elements[name].value]));
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits =
        Object.entries(wanted).every(([name, value]) => !value || row.dataset[name] === value) &&
        words.every((word) => texts.get(row).includes(word));
      row.hidden = !fits;
      if (fits) shown += 1;
    }
    said.textContent = `${shown} of ${rows.length} shown`;
  };

  const picked = () => rows.filter((row) => row.querySelector("input").checked).map((row) => row.dataset.run);
  const values = (id) => new Map((runs.get(id) || []).map(([n, v]) => [data.words[n], data.words[v]]));
  const element = (name, text, className) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  const compare = () => {
    // Run names begin with their time: the older one stands on the left.
    const ids = picked().sort();
    const place = section.querySelector(".scroll");
    const lead = section.querySelector("[data-said]");
    place.replaceChildren();
    // A third tick would be ignored: there are no more to tick until one is taken away.
    for (const row of rows) {
      const box = row.querySelector("input");
      box.disabled = ids.length === 2 && !box.checked;
    }
    if (ids.length !== 2) {
      lead.textContent = ids.length ? "Tick one more run above." : "Tick two runs above.";
      return;
    }
    const [left, right] = ids.map(values);
    const table = element("table", "", "differences");
    const head = table.createTHead().insertRow();
    for (const title of ["value", ...ids]) {
      const cell = element("th", title);
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    let count = 0;
    for (const group of data.groups) {
      const names = [...new Set([...left.keys(), ...right.keys()])].filter((n) => n.startsWith(`${group}/`)).sort();
      const different = names.filter((n) => left.get(n) !== right.get(n));
      if (!different.length) continue;
      const title = body.insertRow();
      title.className = "group";
      const cell = element("th", group);
      cell.colSpan = 3;
      cell.scope = "rowgroup";
      title.append(cell);
      for (const name of different) {
        const row = body.insertRow();
        const cells = [element("td", name.slice(group.length + 1))];
        for (const side of [left, right]) {
          cells.push(side.has(name) ? element("td", side.get(name)) : element("td", "not there", "absent"));
        }
        // On a small screen the headings are gone: each cell says whose it is.
        cells.forEach((made, n) => { made.dataset.label = ["value", "older", "newer"][n]; });
        row.append(...cells);
        count += 1;
      }
    }
    lead.textContent = count ? `${count} values differ.` : "No value differs.";
    if (count) place.append(table);
  };

  // Filters and ticks live in the address, so that a reload (and a live page) keeps them.
  const remember = () => {
    const state = new URLSearchParams();
    for (const name of ["text", "kind", "model", "target", "verdict"]) {
      if (form.elements[name].value) state.set(name, form.elements[name].value);
    }
    for (const id of picked()) state.append("run", id);
    history.replaceState(null, "", `#${state}`);
  };
  const recall = () => {
    if (!location.hash.includes("=")) return;
    const state = new URLSearchParams(location.hash.slice(1));
    for (const name of ["text", "kind", "model", "target", "verdict"]) form.elements[name].value = state.get(name) || "";
    const ids = new Set(state.getAll("run"));
    for (const row of rows) row.querySelector("input").checked = ids.has(row.dataset.run);
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { filter(); remember(); });
  document.querySelector("[data-runs]").addEventListener("change", () => { compare(); remember(); });
  recall();
  filter();
  compare();
})();
