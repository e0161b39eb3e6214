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

for (const needsScript of document.querySelectorAll("[data-needs-script]")) needsScript.hidden = false;
document.addEventListener("htmx:after:swap", () => showLocalTimes(document));
showLocalTimes(document);
