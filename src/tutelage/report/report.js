"use strict";
// Every text of a run enters the page through textContent: nothing here parses markup.
(function () {
  const island = document.getElementById("trail-data");
  const form = document.getElementById("filters");
  const testForm = document.getElementById("mistake-filters");
  if (!island) return;
  const data = JSON.parse(island.textContent);
  const tints = new Map(Object.entries(data.tints));
  const ROWS_AT_ONCE = 50;
  const MISTAKES_AT_ONCE = 12;
  const LONG = 500;
  const byId = new Map();

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  }

  function free(tag, className, text) {
    const made = element(tag, className, text);
    made.dir = "auto";
    return made;
  }

  const percent = (share) => (share === null ? "–" : (100 * share).toFixed(0) + " %");

  for (const row of data.rows) {
    byId.set(row.id, row.text);
    row.hay = [row.text, row.why, ...row.classes, row.id, ...Object.values(row.detail)].join("\n").toLowerCase();
  }
  for (const list of [...Object.values(data.mistakes), data.test]) {
    for (const one of list) {
      byId.set(one.id, one.text);
      one.hay = [one.text, ...one.classes, ...(one.faults || []), one.id].join("\n").toLowerCase();
    }
  }

  const chapters = Array.from(document.querySelectorAll("details.chapter")).map((box) => {
    const number = Number(box.dataset.round);
    return {
      box, number,
      rows: data.rows.filter((row) => row.round === number),
      mistakes: data.mistakes[String(number)] || [],
      rowsAt: box.querySelector(".rows-here"),
      mistakesAt: box.querySelector(".mistakes-here"),
      found: box.querySelector(".found"),
      fresh: false,
    };
  });
  const total = data.rows.length;
  const count = document.getElementById("count");

  // The filters shared by both forms: a class, and search words.
  function commonFilters(from) {
    const label = from.elements.label.value;
    return {
      label: label === "" ? null : data.labels[Number(label)],
      words: from.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean),
    };
  }

  // All filters of the trail's form.
  function chosen() {
    const value = (name) => form.elements[name].value;
    return { ...commonFilters(form), round: value("round"), kind: value("kind"), verdict: value("verdict"), order: value("order") };
  }

  function matches(entry, want) {
    return (want.label === null || entry.classes.includes(want.label)) && want.words.every((word) => entry.hay.includes(word));
  }

  function passes(row, want) {
    return (!want.kind || row.kind === want.kind) && (!want.verdict || row.ok === (want.verdict === "accepted")) && matches(row, want);
  }

  function ordered(rows, order) {
    if (order === "written") return rows;
    const sign = order === "surest" ? -1 : 1;
    return rows.slice().sort((a, b) => sign * ((a.confidence === null ? -1 : a.confidence) - (b.confidence === null ? -1 : b.confidence)));
  }

  // A table with its first rows, and a button that appends the next ones.
  function paged(cell, heads, entries, line, page, nothing) {
    cell.replaceChildren();
    if (!entries.length) {
      cell.append(element("p", "hint", nothing));
      return;
    }
    const table = element("table", "rows");
    const head = element("tr");
    for (const [text, className] of heads) {
      const cell = element("th", className, text);
      cell.scope = "col";
      head.append(cell);
    }
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    table.append(top, body);
    const scroll = element("div", "scroll");
    scroll.append(table);
    const button = element("button");
    button.type = "button";
    let shown = 0;
    function next() {
      const part = document.createDocumentFragment();
      for (const entry of entries.slice(shown, shown + page)) part.append(line(entry));
      shown = Math.min(entries.length, shown + page);
      body.append(part);
      button.hidden = shown >= entries.length;
      button.textContent = "Show " + Math.min(page, entries.length - shown) + " more of " + (entries.length - shown);
    }
    button.addEventListener("click", next);
    next();
    cell.append(scroll, button);
  }

  function labels(...names) {
    const cell = element("td");
    names.forEach((name, index) => cell.append(free("div", index ? "label predicted" : "label", name)));
    return cell;
  }

  // A text in pieces (plain, or an entity with its type and its fault), cut to `limit` characters.
  function marked(pieces, limit) {
    const cell = free("bdi", "text");
    let room = limit;
    for (const [text, type, fault] of pieces) {
      if (room <= 0) {
        cell.append("…");
        break;
      }
      const shown = text.length > room ? text.slice(0, room) + "…" : text;
      room -= shown.length;
      if (type) {
        const mark = element("mark", "t" + tints.get(type) + (fault ? " wrong" : ""), shown + "\u00a0");
        mark.append(element("span", "type", fault ? type + " ✗ " + fault : type));
        cell.append(mark);
      } else cell.append(shown);
    }
    return cell;
  }

  function textCell(text, extras, pieces) {
    const cell = element("td", "free");
    const long = text.length > LONG;
    cell.append(pieces ? marked(pieces, LONG) : free("bdi", "text", long ? text.slice(0, LONG) + "…" : text));
    if (long || extras.length) {
      const more = element("details", "more");
      more.append(element("summary", "", long ? "whole text and origin" : "origin"));
      if (long && pieces) {
        const whole = element("div");
        whole.append(marked(pieces, Infinity));
        more.append(whole);
      } else if (long) more.append(free("div", "", text));
      for (const [name, value] of extras) {
        const entry = element("div");
        entry.append(element("span", "muted", name + ": "), free("bdi", "", value));
        more.append(entry);
      }
      cell.append(more);
    }
    return cell;
  }

  function rowLine(row) {
    const line = element("tr", row.ok ? "yes" : "no");
    const kind = element("td", "tag");
    const swatch = element("span", "swatch");
    if (/^[a-z]+$/.test(row.kind)) swatch.classList.add("k-" + row.kind);
    kind.append(swatch, row.kind);
    const extras = Object.entries(row.detail);
    for (const parent of row.parents) extras.push(["written from", byId.has(parent) ? byId.get(parent) : parent]);
    extras.push(["id", row.id]);
    line.append(element("td", "tag verdict", row.ok ? "✓ kept" : "✗ rejected"), kind, labels(row.asked || "–"),
      labels(row.scored), element("td", "num", percent(row.confidence)), textCell(row.text, extras, row.pieces), labels(row.why));
    return line;
  }

  function mistakeLine(one) {
    const line = element("tr");
    if (data.marked) {
      const cell = element("td", "free");
      for (const [who, pieces] of [["right", one.right], ["student", one.predicted]]) {
        const marking = element("div", "marking");
        marking.append(element("span", "", who), marked(pieces, Infinity));
        cell.append(marking);
      }
      const faults = element("td");
      for (const fault of one.faults) faults.append(element("div", "label", fault));
      line.append(faults, element("td", "num", percent(one.confidence)), cell);
      return line;
    }
    line.append(labels(one.right, one.predicted), element("td", "num", percent(one.confidence)), textCell(one.text, []));
    return line;
  }

  const ROW_HEADS = [["verdict"], ["kind"], ["requested"], ["scored as"], ["label confidence, %", "num"], ["text"], ["reason"]];
  const MISTAKE_HEADS = [[data.marked ? "errors" : "right → student predicted"], ["confidence", "num"], ["text"]];

  // Lists the mistakes that pass the filters, and returns their number.
  function listMistakes(cell, mistakes, want, none, without) {
    const found = mistakes.filter((one) => matches(one, want));
    paged(cell, MISTAKE_HEADS, found, mistakeLine, MISTAKES_AT_ONCE, mistakes.length ? none : without);
    return found.length;
  }

  function fill(chapter, want) {
    if (chapter.fresh) return;
    chapter.fresh = true;
    paged(chapter.rowsAt, ROW_HEADS, ordered(chapter.hits, want.order), rowLine, ROWS_AT_ONCE,
      chapter.rows.length ? "No row of this round passes the filters." : (data.left_out.rows ? "No row of this round is among those listed." : "This round has no rows."));
    if (!chapter.mistakesAt) return;
    listMistakes(chapter.mistakesAt, chapter.mistakes, want, "No mistake of this round passes the filters.", "No mistakes were fed back.");
  }

  function listTest() {
    const want = commonFilters(testForm);
    const found = listMistakes(document.getElementById("mistakes-on-test"), data.test, want, "No mistake passes the filters.", "");
    document.getElementById("mistake-count").textContent = found + " of " + data.test.length + " mistakes";
  }

  // Applies the filters to every round, and fills the open ones.
  function update() {
    const want = chosen();
    const filtered = want.label !== null || want.kind || want.verdict || want.words.length > 0;
    let hits = 0;
    for (const chapter of chapters) {
      const here = !want.round || chapter.number === Number(want.round);
      chapter.hits = here ? chapter.rows.filter((row) => passes(row, want)) : [];
      hits += chapter.hits.length;
      chapter.box.hidden = !here || (Boolean(filtered) && !chapter.hits.length && !want.round);
      chapter.found.textContent = filtered ? chapter.hits.length + " of " + chapter.rows.length + " rows match" : "";
      chapter.fresh = false;
    }
    count.textContent = hits.toLocaleString("en") + " of " + total.toLocaleString("en") + " rows";
    const visible = chapters.filter((chapter) => !chapter.box.hidden);
    if ((filtered || want.round) && visible.length && !visible.some((chapter) => chapter.box.open)) visible[0].box.open = true;
    for (const chapter of visible) if (chapter.box.open) fill(chapter, want);
  }

  // Shows a form, and calls `apply` now and whenever the form changes.
  function listen(shown, apply) {
    let waiting = 0;
    shown.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, 120);
    });
    shown.addEventListener("submit", (event) => event.preventDefault());
    shown.addEventListener("reset", () => setTimeout(apply, 0));
    shown.hidden = false;
    apply();
  }

  if (testForm) listen(testForm, listTest);
  if (!form) return;
  listen(form, update);
  document.getElementById("open-all").addEventListener("click", () => {
    for (const chapter of chapters) if (!chapter.box.hidden) chapter.box.open = true;
  });
  document.getElementById("close-all").addEventListener("click", () => {
    for (const chapter of chapters) chapter.box.open = false;
  });
  for (const chapter of chapters) {
    chapter.box.addEventListener("toggle", () => {
      if (chapter.box.open) fill(chapter, chosen());
    });
  }
  // Opens the round named in the address, without filters if they hide it.
  function openTarget() {
    const aimed = chapters.find((chapter) => "#" + chapter.box.id === location.hash);
    if (!aimed) return;
    if (aimed.box.hidden) {
      form.reset();
      update();
    }
    aimed.box.open = true;
    aimed.box.scrollIntoView();
  }
  window.addEventListener("hashchange", openTarget);
  openTarget();
})();
