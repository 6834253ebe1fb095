"use strict";
(function () {
  const root = document.documentElement, keep = "ghost-ms-theme";
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  // A browser may forbid storage to local files; the page then follows the system.
  try { if (localStorage.getItem(keep)) root.dataset.theme = localStorage.getItem(keep); } catch (e) { /* none */ }
  const toggle = document.getElementById("theme");
  const name = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem(keep, root.dataset.theme); } catch (e) { /* none */ }
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  const table = document.getElementById("models");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value;
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") !== "ascending", numeric = !head.classList.contains("text");
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const order = [...rows].sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      if (x === "" || y === "") return (x === "") - (y === "");  // What is not known comes last, either way.
      return (rising ? 1 : -1) * (numeric ? x - y : x.localeCompare(y));
    });
    body.append(...order);
  }));

  const search = document.getElementById("search"), family = document.getElementById("family");
  const measured = document.getElementById("measured"), shown = document.getElementById("shown");
  const dots = [...document.querySelectorAll("svg .point")], cards = [...document.querySelectorAll(".model-card")];
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (model, group) => words.every((word) => (model + " " + group).toLowerCase().includes(word))
      && (!family.value || family.value === group);
    let count = 0;
    rows.forEach((row) => {
      row.hidden = !fits(row.dataset.model, row.dataset.group) || !!(measured && measured.checked && !row.dataset.measured);
      count += !row.hidden;
    });
    dots.forEach((dot) => dot.classList.toggle("off", !fits(dot.dataset.model, dot.dataset.group)));
    cards.forEach((card) => { card.hidden = !fits(card.dataset.model, card.dataset.group); });
    shown.textContent = count + " of " + rows.length;
  }
  [search, family, measured].forEach((control) => ["input", "change"].forEach(
    (event) => control && control.addEventListener(event, filter)));
  filter();
})();
