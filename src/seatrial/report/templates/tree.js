"use strict";
// A tree of single tensors: built when it comes near the screen, drawn a page at a time, searched in one pass.
(() => {
  const PAGE = 100;
  const OPEN_BELOW = 40; // so few finds are shown unfolded
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const plural = (n) => `${n.toLocaleString("en")} tensor${n === 1 ? "" : "s"}`;

  class Tree {
    constructor(root) {
      this.root = root;
      this.list = make("ul", { className: "branches" });
      this.search = make("input", { type: "search", placeholder: "Search tensors, parameters, dtypes, lines of source…" });
      this.search.setAttribute("aria-label", "Search: " + root.dataset.title);
      this.state = make("select");
      this.state.setAttribute("aria-label", "State: " + root.dataset.title);
      this.said = make("output");
      this.box = make("div", { className: "find" }, this.search, this.state, this.said);
      root.append(this.box, this.list);
      root.querySelector(".unscripted")?.remove();
      let timer = 0;
      this.search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => this.show(), 120); });
      this.state.addEventListener("change", () => this.show());
      this.search.addEventListener("focus", () => this.read());
      const watch = new IntersectionObserver((seen) => {
        if (seen.some((entry) => entry.isIntersecting)) { watch.disconnect(); this.read(); }
      }, { rootMargin: "400px" });
      watch.observe(root);
    }

    // Leaves: [name, group, numbers]. Nodes: { part, kids, leaf, all } with `all` the number of leaves below.
    read() {
      if (this.groups) return;
      const data = JSON.parse(document.getElementById("data-" + this.root.dataset.tree).textContent);
      this.groups = data.map(([pattern, fate, tone, about, places, why, runs]) => ({ pattern, fate, tone, about, places, why, runs }));
      this.leaves = [];
      this.top = { part: "", kids: new Map(), leaf: -1, all: 0 };
      for (const group of this.groups) {
        group.text = [group.fate, group.about, group.why].join("\n").toLowerCase();
        const parts = group.pattern.split("*");
        for (const run of group.runs) {
          const head = run.slice(0, -2);
          const [first, last] = run.length ? run.slice(-2) : [0, 0];
          for (let n = first; n <= last; n++) {
            const numbers = run.length ? [...head, n] : [];
            let name = parts[0];
            if (run.length) numbers.forEach((number, i) => { name += number + parts[i + 1]; });
            else name = group.pattern;
            this.add(name, group, numbers);
          }
        }
      }
      const fates = [...new Set(this.groups.map((g) => g.fate))];
      this.state.append(make("option", { value: "", textContent: "every state" }));
      this.state.append(...fates.map((f) => make("option", { value: f, textContent: f })));
      this.show();
    }

    add(name, group, numbers) {
      const leaf = this.leaves.length;
      this.leaves.push([name, group, numbers]);
      let node = this.top;
      for (const part of name.split(".")) {
        let next = node.kids.get(part);
        if (!next) node.kids.set(part, next = { part, kids: new Map(), leaf: -1, all: 0, fit: 0, trouble: 0 });
        node = next;
      }
      if (node.leaf >= 0) (node.twins ??= []).push(leaf); // a name that is twice in the checkpoint
      else node.leaf = leaf;
    }

    places(leaf) {
      const [, group, numbers] = this.leaves[leaf];
      return group.places.map((text) => text.replace(/\{(\d+)\}/g, (_, i) => numbers[i]));
    }

    fits(leaf, query, fate) {
      const [name, group] = this.leaves[leaf];
      if (fate && group.fate !== fate) return false;
      if (!query || group.text.includes(query) || name.toLowerCase().includes(query)) return true;
      return group.places.length > 0 && this.places(leaf).some((place) => place.toLowerCase().includes(query));
    }

    // One pass over the tree: how many leaves below each node fit, and how many of those are in trouble.
    count(node, query, fate) {
      node.fit = node.trouble = 0;
      for (const leaf of node.leaf >= 0 ? [node.leaf, ...(node.twins ?? [])] : []) {
        if (!this.fits(leaf, query, fate)) continue;
        node.fit += 1;
        const tone = this.leaves[leaf][1].tone;
        if (tone === "fail" || tone === "inconclusive") node.trouble += 1;
      }
      for (const kid of node.kids.values()) {
        this.count(kid, query, fate);
        node.fit += kid.fit;
        node.trouble += kid.trouble;
      }
    }

    show() {
      this.read();
      const query = this.search.value.trim().toLowerCase();
      this.count(this.top, query, this.state.value);
      this.said.textContent = `${plural(this.top.fit)}${this.top.trouble ? `, ${this.top.trouble.toLocaleString("en")} not in order` : ""}`;
      this.list.replaceChildren();
      if (!this.top.fit) this.list.append(make("li", { textContent: "Nothing fits." }));
      this.fill(this.list, this.top, this.top.fit <= OPEN_BELOW && Boolean(query || this.state.value));
    }

    // The children of a node that fit, those in trouble first, numbers in their order.
    fill(list, node, unfolded) {
      const kids = [...node.kids.values()].filter((kid) => kid.fit);
      const number = (kid) => (/^\d+$/.test(kid.part) ? Number(kid.part) : Infinity);
      kids.sort((a, b) => Boolean(b.trouble) - Boolean(a.trouble) || number(a) - number(b) || 0);
      const page = (from) => {
        list.append(...kids.slice(from, from + PAGE).map((kid) => this.item(kid, unfolded)));
        if (kids.length > from + PAGE) {
          const more = make("button", { type: "button", textContent: `Show more of ${kids.length.toLocaleString("en")}` });
          const row = make("li", {}, more);
          more.addEventListener("click", () => { row.remove(); page(from + PAGE); });
          list.append(row);
        }
      };
      page(0);
    }

    item(node, unfolded) {
      let name = node.part;
      // A chain of single children is one line.
      while (node.leaf < 0) {
        const fit = [...node.kids.values()].filter((kid) => kid.fit);
        if (fit.length !== 1) break;
        node = fit[0];
        name += "." + node.part;
      }
      if (node.leaf >= 0 && !node.kids.size) return this.leaf(node, name);
      const mark = make("span", { textContent: "▸ " });
      const button = make("button", { type: "button", className: "fold" }, mark, make("code", { textContent: name }));
      button.setAttribute("aria-expanded", "false");
      const item = make("li", {}, button, make("small", { textContent: " " + plural(node.fit) }));
      if (node.trouble) item.append(make("small", { className: "fail", textContent: `, ${node.trouble.toLocaleString("en")} not in order` }));
      const toggle = () => {
        const isOpen = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!isOpen));
        mark.textContent = isOpen ? "▸ " : "▾ ";
        if (isOpen) { item.querySelector("ul").remove(); return; }
        const list = make("ul", { className: "branches" });
        if (node.leaf >= 0) list.append(this.leaf(node, "(itself)"));
        this.fill(list, node, unfolded);
        item.append(list);
      };
      button.addEventListener("click", toggle);
      if (unfolded) toggle();
      return item;
    }

    leaf(node, name) {
      const item = make("li", { className: "leaf" });
      for (const leaf of [node.leaf, ...(node.twins ?? [])]) {
        const group = this.leaves[leaf][1];
        item.append(
          make("code", { textContent: name, title: this.leaves[leaf][0] }), " ",
          make("span", { className: "tone " + group.tone, textContent: group.fate }), " ",
          make("small", { textContent: group.about }),
        );
        for (const place of this.places(leaf)) item.append(make("small", { className: "place", textContent: "→ " + place }));
        if (group.why) item.append(make("small", { className: "place", textContent: group.why }));
      }
      return item;
    }
  }

  document.querySelectorAll("[data-tree]").forEach((root) => new Tree(root));
})();
