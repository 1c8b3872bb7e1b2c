"use strict";
// Searches, sorts and turns over the list of ETFs. All of it is on the page; nothing is loaded.
(() => {
  const element = (id) => document.getElementById(id);
  const made = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const data = JSON.parse(element("listing-data").textContent);
  const columns = data.columns;
  const total = columns[0].values.length;
  const body = element("listing-rows");
  const heads = Array.from(element("listing-table").tHead.rows[0].cells);
  const detail = element("listing-detail");
  const numeric = (column) => column.set === "n";

  const fixed = (value, digits) => {
    const [whole, rest] = (value / 10 ** digits).toFixed(digits).split(".");
    const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
    return rest === undefined ? grouped : `${grouped}.${rest}`;
  };
  const shown = (column, row) => {
    const value = column.values[row];
    if (value === null) return "–";
    if (column.kind === "choice") return column.among[value];
    if (column.kind === "percent") return `${fixed(value, column.digits)}%`;
    if (column.kind === "number") return fixed(value, column.digits);
    return String(value);
  };

  const words = Array.from({ length: total }, (_, row) =>
    columns
      .filter((c) => c.kind === "text" || c.kind === "choice")
      .map((c) => shown(c, row))
      .join(" ")
      .toLowerCase()
  );
  const state = { found: [], sorted: 0, falling: false, at: 0 };
  const collator = new Intl.Collator("en", { numeric: true });

  const ordered = (rows) => {
    const column = columns[state.sorted];
    const sign = state.falling ? -1 : 1;
    const plain = column.kind === "text";
    const compare = (a, b) => {
      const one = column.values[a];
      const two = column.values[b];
      // What is not known comes last, whichever way.
      if (one === null || two === null) return (one === null) - (two === null) || a - b;
      return sign * (plain ? collator.compare(one, two) : one - two) || a - b;
    };
    return rows.sort(compare);
  };

  const draw = () => {
    const part = state.found.slice(state.at, state.at + data.page);
    const rows = part.map((row) => {
      const line = made("tr");
      columns.forEach((column, i) => {
        const text = shown(column, row);
        if (i) {
          line.append(made("td", text, column.set ? { class: column.set } : {}));
          return;
        }
        const name = made("th", undefined, { scope: "row" });
        const button = made("button", text, { type: "button", class: "link" });
        button.setAttribute("aria-label", `${text}: show correlations and all values`);
        button.addEventListener("click", () => tell(row));
        name.append(button);
        line.append(name);
      });
      return line;
    });
    body.replaceChildren(...rows);
    const last = state.at + part.length;
    const among = state.found.length === total ? "" : ` (of ${total.toLocaleString("en")} in all)`;
    element("listing-status").textContent = part.length
      ? `${(state.at + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ` +
        `${state.found.length.toLocaleString("en")}${among}`
      : `None of ${total.toLocaleString("en")} has all of these words.`;
    element("listing-before").disabled = state.at === 0;
    element("listing-after").disabled = last >= state.found.length;
    heads.forEach((head, i) => {
      const way = state.falling ? "descending" : "ascending";
      if (i === state.sorted) head.setAttribute("aria-sort", way);
      else head.removeAttribute("aria-sort");
    });
  };

  const search = () => {
    const asked = element("listing-search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = Array.from({ length: total }, (_, row) => row);
    state.found = ordered(all.filter((row) => asked.every((word) => words[row].includes(word))));
    state.at = 0;
    draw();
  };

  const others = (title, who, by, row) => {
    const part = made("div");
    part.append(made("h4", title));
    const list = made("ol");
    const { count } = data.alike;
    for (let i = row * count; i < (row + 1) * count; i += 1) {
      const other = who[i];
      if (other >= 0) {
        const item = made("li");
        const button = made("button", shown(columns[0], other), { type: "button", class: "link" });
        button.addEventListener("click", () => tell(other));
        item.append(button, ` ${fixed(by[i], 2)} ${shown(columns[1], other)}`);
        list.append(item);
      }
    }
    part.append(list.children.length ? list : made("p", "None is known."));
    return part;
  };

  const tell = (row) => {
    const title = made("h3", shown(columns[0], row), { tabindex: "-1", id: "listing-one" });
    const facts = made("dl", undefined, { class: "facts" });
    columns.slice(1).forEach((column) => {
      const fact = made("div");
      fact.append(made("dt", column.title), made("dd", shown(column, row)));
      facts.append(fact);
    });
    const close = made("button", "Close", { type: "button" });
    close.addEventListener("click", () => {
      detail.hidden = true;
      element("listing-search").focus();
    });
    detail.replaceChildren(title, facts);
    if (data.alike) {
      const both = made("div", undefined, { class: "pair" });
      const { nearest, nearestBy, farthest, farthestBy } = data.alike;
      both.append(
        others("Most alike", nearest, nearestBy, row),
        others("Least alike", farthest, farthestBy, row)
      );
      detail.append(both, made("p", data.alike.said, { class: "soft" }));
    }
    detail.append(close);
    detail.hidden = false;
    title.focus();
  };

  heads.forEach((head, i) => {
    const button = made("button", head.textContent, { type: "button", class: "link" });
    button.addEventListener("click", () => {
      // A second press turns it round; the first shows the highest number, or the first word.
      state.falling = state.sorted === i ? !state.falling : numeric(columns[i]);
      state.sorted = i;
      state.found = ordered(state.found);
      state.at = 0;
      draw();
    });
    head.replaceChildren(button);
  });
  element("listing-search").addEventListener("input", search);
  element("listing-before").addEventListener("click", () => {
    state.at -= data.page;
    draw();
  });
  element("listing-after").addEventListener("click", () => {
    state.at += data.page;
    draw();
  });
  element("listing-unscripted").hidden = true;
  element("listing-controls").hidden = false;
  element("listing-pages").hidden = false;
  search();
})();
