"use strict";

// Paper shows what is folded on the screen.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});

// A click on a heading, or Enter on it, sorts the table; a second one turns the order around.
// Numbers begin with the largest. Empty cells stay last.
function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const numbers = body.rows[0]?.cells[column].dataset.value !== undefined;
      const first = numbers ? "descending" : "ascending";
      const other = numbers ? "ascending" : "descending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      for (const one of headings) one.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => {
        const cell = row.cells[column];
        return numbers ? cell.dataset.value : cell.textContent.trim();
      };
      const compare = (a, b) => {
        const [one, two] = [value(a), value(b)];
        if (one === "" || two === "") return (one === "") - (two === "");
        return sign * (numbers ? one - two : one.localeCompare(two, "en", { numeric: true }));
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

// Rows stay if they contain every word. The points of hidden rows are hidden, too.
function filterable(input) {
  const table = document.getElementById(input.dataset.filter);
  const count = document.querySelector(`[data-count="${input.dataset.filter}"]`);
  const rows = [...table.tBodies[0].rows];
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
      for (const point of document.querySelectorAll(`[data-of="${row.dataset.row}"]`)) {
        point.classList.toggle("hidden", row.hidden);
      }
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  input.addEventListener("input", show);
  input.closest("[hidden]")?.removeAttribute("hidden");
  show();
}

document.querySelectorAll("table[data-sortable]").forEach(sortable);
document.querySelectorAll("input[data-filter]").forEach(filterable);
