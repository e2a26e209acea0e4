"use strict";

// Dark or light: the button overrides the system's choice and is remembered where that is possible.
const root = document.documentElement;
const remembered = {
  get() { try { return localStorage.getItem("scheme"); } catch { return null; } },
  set(value) { try { localStorage.setItem("scheme", value); } catch { /* file: without storage */ } },
};
const button = document.getElementById("scheme");
const isDark = () => root.dataset.scheme
  ? root.dataset.scheme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
const name = () => { button.textContent = isDark() ? "light" : "dark"; };
if (remembered.get()) root.dataset.scheme = remembered.get();
button.hidden = false;
name();
button.addEventListener("click", () => {
  root.dataset.scheme = isDark() ? "light" : "dark";
  remembered.set(root.dataset.scheme);
  name();
});

// Examples: pointing at a number lights the numbers it depends on and says how it is made.
for (const example of document.querySelectorAll(".example")) {
  const says = example.querySelector(".says");
  const show = (cell) => {
    for (const lit of example.querySelectorAll(".lit, .at")) lit.classList.remove("lit", "at");
    if (!cell) { says.textContent = "\u00a0"; return; }
    cell.classList.add("at");
    for (const id of cell.dataset.lights.split(" ").filter(Boolean)) {
      document.getElementById(id).classList.add("lit");
    }
    says.textContent = cell.dataset.says;
  };
  const of = (event) => event.target.closest("td[data-says]");
  example.addEventListener("pointerover", (event) => { if (of(event)) show(of(event)); });
  example.addEventListener("click", (event) => { if (of(event)) show(of(event)); });
  example.addEventListener("focusin", (event) => { if (of(event)) show(of(event)); });
  example.addEventListener("pointerleave", () => show(null));
  example.addEventListener("keydown", (event) => {
    const cell = of(event);
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!cell || !move) return;
    const rows = cell.closest("table").rows;
    const next = rows[cell.parentNode.rowIndex + move[0]]?.cells[cell.cellIndex + move[1]];
    if (!next) return;
    event.preventDefault();
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Formulas and code: pointing at one lights the other.
const lines = new Map();
for (const link of document.querySelectorAll(".line .to a")) {
  const formula = link.hash.slice(1);
  lines.set(formula, [...(lines.get(formula) ?? []), link.closest(".line")]);
}
for (const [id, linked] of lines) {
  const formula = document.getElementById(id);
  const light = (on) => {
    for (const part of [formula, ...linked]) part.classList.toggle("lit", on);
  };
  for (const part of [formula, ...linked]) {
    part.addEventListener("pointerenter", () => light(true));
    part.addEventListener("pointerleave", () => light(false));
    part.addEventListener("focusin", () => light(true));
    part.addEventListener("focusout", () => light(false));
  }
}
