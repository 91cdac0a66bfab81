"use strict";
// All of this is an addition: without it the page says the same, only unsearchable.
(() => {
  const PAGE = 200;
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };

  // A fixed-width name that may go on in the next line after its punctuation, as in the static rows.
  const named = (text) => {
    const node = make("code");
    for (const part of text.split(/(?<=[./:_])(?=\w)/)) node.append(part, make("wbr"));
    node.lastChild?.remove();
    return node;
  };

  for (const figure of document.querySelectorAll("figure.code")) {
    const code = figure.querySelector("code");
    const button = make("button", { type: "button", className: "copy", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy: " + (figure.querySelector("figcaption")?.textContent ?? "text"));
    button.addEventListener("click", async () => {
      let done = false;
      try {
        await navigator.clipboard.writeText(code.textContent);
        done = true;
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    figure.append(button);
  }

  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not([open])")) {
      fold.open = true;
      fold.dataset.printed = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const fold of document.querySelectorAll("details[data-printed]")) {
      fold.open = false;
      delete fold.dataset.printed;
    }
  });

  // A name's pattern with its numbers put back, in the order of the runs.
  function* members(group) {
    const parts = group.pattern.split("*");
    for (const run of group.runs) {
      if (!run.length) {
        yield group.pattern;
        continue;
      }
      const head = run.slice(0, -2);
      const [first, last] = run.slice(-2);
      let start = parts[0];
      head.forEach((n, i) => { start += n + parts[i + 1]; });
      const end = parts.slice(head.length + 1).join("*");
      for (let n = first; n <= last; n++) yield start + n + end;
    }
  }

  class Tensors {
    constructor(root) {
      this.root = root;
      this.body = root.querySelector("tbody");
      this.search = make("input", { type: "search", placeholder: "Search names, states, dtypes…" });
      this.search.setAttribute("aria-label", "Search: " + root.dataset.title);
      this.state = make("select");
      this.state.setAttribute("aria-label", "State: " + root.dataset.title);
      this.said = make("output");
      this.more = make("button", { type: "button", textContent: "Show more" });
      this.open = new Set();
      root.prepend(make("div", { className: "find" }, this.search, this.state, this.said));
      root.append(this.more);
      this.more.hidden = true;
      let timer = 0;
      this.search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => this.show(), 120); });
      this.state.addEventListener("change", () => this.show());
      this.more.addEventListener("click", () => { this.shown += PAGE; this.draw(); });
      // The data are read when they are first needed: near the screen, or under the keyboard.
      const watch = new IntersectionObserver((seen) => {
        if (seen.some((entry) => entry.isIntersecting)) { watch.disconnect(); this.read(); }
      }, { rootMargin: "600px" });
      watch.observe(root);
      this.search.addEventListener("focus", () => this.read());
    }

    read() {
      if (this.groups) return;
      const data = JSON.parse(document.getElementById("data-" + this.root.dataset.tensors).textContent);
      const word = (i) => data.words[i];
      this.groups = data.groups.map(([pattern, fate, tone, count, dtype, shape, target, note, bytes, runs]) => ({
        pattern, fate: word(fate), tone: word(tone), count, dtype: word(dtype), shape: word(shape), target: word(target),
        note: word(note), bytes, runs,
      }));
      const fates = [...new Set(this.groups.map((g) => g.fate))];
      this.state.append(make("option", { value: "", textContent: "every state" }));
      this.state.append(...fates.map((f) => make("option", { value: f, textContent: f })));
      this.root.querySelector(".left")?.remove();
      this.show();
    }

    show() {
      this.read();
      const query = this.search.value.trim().toLowerCase();
      const starred = query.replace(/\d+/g, "*");
      const fate = this.state.value;
      this.found = [];
      let things = 0;
      for (const group of this.groups) {
        if (fate && group.fate !== fate) continue;
        if (!query) { this.found.push({ group, names: null }); things += group.count; continue; }
        const whole = [group.pattern, group.fate, group.dtype, group.shape, group.target, group.note].join("\n").toLowerCase();
        if (whole.includes(query) || (!group.runs.length && whole.includes(starred))) {
          this.found.push({ group, names: null });
          things += group.count;
        } else if (group.runs.length) {
          const names = [];
          for (const name of members(group)) if (name.toLowerCase().includes(query)) names.push(name);
          if (names.length) { this.found.push({ group, names }); things += names.length; }
        }
      }
      this.said.textContent = `${this.root.dataset.things}: ${things.toLocaleString("en")}`;
      this.shown = PAGE;
      this.draw();
    }

    draw() {
      const rows = this.found.slice(0, this.shown).map((one) => this.row(one));
      if (!rows.length) rows.push(make("tr", {}, make("td", { colSpan: 6, textContent: "Nothing fits." })));
      this.body.replaceChildren(...rows);
      this.more.hidden = this.found.length <= this.shown;
    }

    row({ group, names }) {
      const cell = (label, ...children) => {
        const td = make("td", {}, ...children);
        td.dataset.label = label;
        return td;
      };
      const code = named(group.pattern);
      const number = names ? `${names.length.toLocaleString("en")} of ${group.count.toLocaleString("en")}` : group.count.toLocaleString("en");
      const name = cell("name", code);
      if (group.runs.length && (group.count > 1 || names)) this.foldable(name, code, group, names);
      const tds = [
        name,
        cell("state", make("span", { className: "tone " + group.tone, textContent: group.fate })),
        Object.assign(cell("number", number), { className: "n" }),
        cell("dtype, shape", `${group.dtype} ${group.shape}`),
        Object.assign(cell("bytes", group.bytes), { className: "n" }),
      ];
      const why = cell("why");
      if (group.target) why.append(named(group.target));
      if (group.note) why.append(make("small", { textContent: group.note }));
      return make("tr", {}, ...tds, why);
    }

    // The group's name becomes a button that lists the members below it, a page at a time.
    foldable(td, code, group, names) {
      const mark = make("span", { textContent: "▸ " });
      const button = make("button", { type: "button", className: "fold" }, mark, code);
      button.setAttribute("aria-expanded", "false");
      td.prepend(button);
      const unfold = () => {
        const list = make("ul", { className: "members" });
        const source = names ? names.values() : members(group);
        const more = make("button", { type: "button", textContent: "Show more" });
        const page = () => {
          for (let i = 0; i < PAGE; i++) {
            const next = source.next();
            if (next.done) { more.remove(); return; }
            list.append(make("li", {}, named(next.value)));
          }
        };
        td.append(list, more);
        page();
        if (list.childElementCount < PAGE) more.remove();
      };
      const toggle = () => {
        const isOpen = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!isOpen));
        mark.textContent = isOpen ? "▸ " : "▾ ";
        if (isOpen) while (td.lastChild !== button) td.lastChild.remove();
        else unfold();
      };
      button.addEventListener("click", toggle);
      if (names) toggle();
    }
  }

  document.querySelectorAll("[data-tensors]").forEach((root) => new Tensors(root));
})();
