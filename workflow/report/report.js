"use strict";
// Tables sort by a click on a header and filter by words; links to folded cells open them.

/** The number that a text starts with (`0.93 ± 0.01`, `−3`, `< 0.001`); NaN if there is none. */
function number(text) {
  const found = text.replace(/[−–]/g, "-").match(/^[<>≤≥]?\s*([-+]?\d+(\.\d+)?(e[-+]?\d+)?)/i);
  return found ? Number(found[1]) : NaN;
}

const empty = (text) => text === "" || text === "–";
const shown = (row, column) => row.cells[column].textContent.trim();

/** The rows in order of a column: numbers before words, empty ones last in either direction. */
function sorted(rows, column, descending) {
  const texts = rows.map((row) => shown(row, column));
  const known = texts.filter((text) => !empty(text));
  const numeric = 2 * known.filter((text) => !isNaN(number(text))).length > known.length;
  const place = (text) => (empty(text) ? 2 : numeric && isNaN(number(text)) ? 1 : 0);
  const compare = (a, b) =>
    numeric && !isNaN(number(a)) && !isNaN(number(b))
      ? number(a) - number(b)
      : a.localeCompare(b, "en", { numeric: true });
  return rows
    .map((row, n) => ({ row, text: texts[n], place: place(texts[n]) }))
    .sort((a, b) => {
      const order = a.place === 2 ? 0 : compare(a.text, b.text);
      return a.place - b.place || (descending ? -order : order);
    })
    .map((item) => item.row);
}

function sortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      body.append(...sorted([...body.rows], column, descending));
    });
  });
}

/** A text field, and a choice for each column of verdicts; rows must pass them all. */
function filterable(sheet, table) {
  const rows = [...table.tBodies[0].rows];
  const title = sheet.querySelector("[role=region]").getAttribute("aria-label");
  const tools = document.createElement("div");
  tools.className = "tools";
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "Filter rows";
  field.setAttribute("aria-label", `Filter rows: ${title}`);
  const count = document.createElement("output");
  tools.append(field, ...choices(table, rows, title), count);
  sheet.prepend(tools);
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...tools.querySelectorAll("select")].filter((select) => select.value);
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden =
        !words.every((word) => text.includes(word)) ||
        !chosen.every((select) => shown(row, select.dataset.column) === select.value);
    });
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  tools.addEventListener("input", apply);
  apply();
}

function choices(table, rows, title) {
  return [...table.tHead.rows[0].cells].flatMap((header, column) => {
    const name = header.textContent.trim();
    if (!/verdict$/i.test(name)) return [];
    const select = document.createElement("select");
    select.dataset.column = column;
    select.setAttribute("aria-label", `${name}: ${title}`);
    select.append(new Option(`${name}: any`, ""));
    const values = [...new Set(rows.map((row) => shown(row, column)))].sort();
    values.forEach((value) => select.append(new Option(value, value)));
    return [select];
  });
}

document.querySelectorAll(".sheet").forEach((sheet) => {
  const table = sheet.querySelector("table");
  if (table.tBodies[0].rows.length > 5) filterable(sheet, table);
  sortable(table);
});

/** Shows the panels of the plot that were chosen; without this all are there. */
function choosable(form) {
  const panels = [...document.querySelectorAll(".panel")];
  const apply = () => {
    const chosen = [...new FormData(form)].map(([name, value]) => [name.toLowerCase(), value]);
    panels.forEach((panel) => {
      panel.hidden = !chosen.every(([name, value]) => panel.dataset[name] === value);
    });
    const none = panels.every((panel) => panel.hidden);
    form.querySelector("output").textContent = none ? "This run has no such plot." : "";
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  apply();
}
document.querySelectorAll(".chooser").forEach(choosable);

/** Says below a plot what the point under the pointer, else the one in focus, stands for. */
document.querySelectorAll(".panel").forEach((panel) => {
  const said = panel.querySelector(".said");
  const usual = said.textContent;
  const say = () => {
    const point = panel.querySelector(".point:hover") || panel.querySelector(".point:focus");
    said.textContent = point ? point.getAttribute("aria-label") : usual;
  };
  ["mouseover", "mouseout", "focusin", "focusout"].forEach((name) => panel.addEventListener(name, say));
});

function open_target() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && target.closest("details");
  if (fold) {
    fold.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", open_target);
open_target();

const fold = document.createElement("button");
fold.type = "button";
fold.textContent = "Open or close all";
fold.addEventListener("click", () => {
  const all = [...document.querySelectorAll(".trace")];
  const open = !all.every((one) => one.open);
  all.forEach((one) => (one.open = open));
});
document.querySelector(".fold").append(fold);
