"use strict";
const find = (id) => document.getElementById(id);
const [controls, words, group, tag, column, count] =
  ["controls", "words", "group", "tag", "column", "count"].map(find);
const scenarios = [...document.querySelectorAll("main details")].map((element) => ({
  element,
  text: element.textContent.toLowerCase(),
  group: element.parentElement.dataset.group,
  tags: element.dataset.tags.split(" "),
}));

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const s of scenarios) {
    const fits = wanted.every((word) => s.text.includes(word)) &&
      (!group.value || s.group === group.value) &&
      (!tag.value || s.tags.includes(tag.value));
    s.element.hidden = !fits;
    shown += fits;
  }
  for (const section of document.querySelectorAll("main section")) {
    section.hidden = !section.querySelector("details:not([hidden])");
  }
  for (const cell of document.querySelectorAll("[data-column]")) {
    cell.hidden = column.value !== "" && cell.dataset.column !== column.value;
  }
  count.textContent = `${shown} of ${scenarios.length}`;
}

function open() {
  const target = location.hash && find(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.closest("details");
  if (details) {
    details.parentElement.hidden = false;
    details.hidden = false;
    details.open = true;
    target.scrollIntoView({ block: "center" });
  }
}

controls.hidden = false;
controls.addEventListener("input", filter);
controls.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", open);
filter();
open();
