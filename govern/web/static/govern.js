// What the pages do better with JavaScript; each of them works without.
"use strict";

// An exact UTC time also says what it is on the reader's own clock.
const LOCAL = new Intl.DateTimeFormat(document.documentElement.lang || undefined,
  { dateStyle: "medium", timeStyle: "short" });
function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const local = LOCAL.format(at);
    const label = document.body.dataset.yourTime.replace("…", local);
    time.title = label;
    const beside = time.parentElement.querySelector("[data-local]");
    if (beside && at.getTimezoneOffset() !== 0) {
      beside.textContent = label;
      beside.hidden = false;
    }
  }
}

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
  setTimeout(() => delete form.dataset.sent, 4000);
});

// Coming back with the browser's own button must not find a form that refuses.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-print], [data-copy]");
  if (button && "print" in button.dataset) print();
  if (button && "copy" in button.dataset) {
    navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim())
      .then(() => { button.textContent = button.dataset.copied; });
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// What is typed into a password's field is shown while its owner says so, and never when it is sent:
// a browser would offer it again later as plain text.
function show(box) {
  document.getElementById(box.dataset.shows).type = box.checked ? "text" : "password";
}
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-shows]")) show(event.target);
});
document.addEventListener("submit", (event) => {
  for (const box of event.target.querySelectorAll("[data-shows]:checked")) {
    box.checked = false;
    show(box);
  }
}, true);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// The key / opens a search over everything; arrows walk what it finds.
const palette = document.getElementById("palette");
if (palette) {
  const typed = palette.querySelector("input");
  const found = palette.querySelector(".palette-found");
  let asking = null;
  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const draw = (groups) => {
    found.replaceChildren();
    for (const group of groups) {
      found.append(element("p", group.title, { class: "box-title" }));
      const list = element("ul", "", { class: "tree" });
      for (const row of group.rows) {
        const link = row.url ? element("a", row.text, { href: row.url }) : element("span", row.text);
        if (row.note) link.append(" ", element("span", row.note, { class: "text-secondary" }));
        const item = element("li", "");
        item.append(link);
        list.append(item);
      }
      found.append(list);
    }
    if (!groups.length) found.append(element("p", palette.dataset.none, { class: "text-secondary" }));
  };
  const ask = async () => {
    asking?.abort();
    asking = new AbortController();
    try {
      const answer = await fetch(`${palette.dataset.url}?q=${encodeURIComponent(typed.value)}`,
        { headers: { Accept: "application/json" }, signal: asking.signal });
      if (answer.ok) draw((await answer.json()).groups);
    } catch (error) {
      if (error.name !== "AbortError") found.replaceChildren();
    }
  };
  let soon = 0;
  typed.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(ask, 120); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || palette.open) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    palette.showModal();
    typed.select();
    ask();
  });
  palette.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const stops = [typed, ...found.querySelectorAll("a")];
    const next = stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    event.preventDefault();
    stops[(next + stops.length) % stops.length].focus();
  });
  palette.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });
}

for (const needsScript of document.querySelectorAll("[data-needs-script]")) needsScript.hidden = false;
document.addEventListener("htmx:after:swap", () => showLocalTimes(document));
showLocalTimes(document);
