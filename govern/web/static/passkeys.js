// Passkeys: the browser's own dialogue, whose answer goes into the form and is sent with it.
"use strict";

const decoded = (text) => Uint8Array.from(
  atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const encoded = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const named = (list) => (list || []).map((each) => ({ ...each, id: decoded(each.id) }));

function question(options) {
  const asked = { ...options, challenge: decoded(options.challenge) };
  if (options.user) asked.user = { ...options.user, id: decoded(options.user.id) };
  if (options.excludeCredentials) asked.excludeCredentials = named(options.excludeCredentials);
  if (options.allowCredentials) asked.allowCredentials = named(options.allowCredentials);
  return { publicKey: asked };
}

function answer(credential) {
  const response = { clientDataJSON: encoded(credential.response.clientDataJSON) };
  for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[part]) response[part] = encoded(credential.response[part]);
  }
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return JSON.stringify({
    id: credential.id, rawId: encoded(credential.rawId), type: credential.type, response,
    clientExtensionResults: {},
  });
}

// "get" shows a passkey, "create" makes one; where it is part of a form, the rest is filled first.
async function ask(button) {
  const form = button.form;
  const said = form.querySelector("[data-passkey-said]");
  const whole = button.dataset.passkey === "create" || "whole" in button.dataset;
  if (whole && !form.reportValidity()) return;
  said.hidden = true;
  button.disabled = true;
  try {
    const asked = question(JSON.parse(button.dataset.options));
    const credential = await navigator.credentials[button.dataset.passkey](asked);
    form.elements[button.dataset.field].value = answer(credential);
    form.noValidate = true; // the other ways' fields stay empty
    form.requestSubmit();
  } catch (error) {
    said.textContent = said.dataset[error.name] || said.dataset.other;
    said.hidden = false;
  }
  button.disabled = false;
}

if (window.PublicKeyCredential) {
  for (const button of document.querySelectorAll("button[data-passkey]")) {
    button.hidden = false;
    button.addEventListener("click", () => ask(button));
  }
}
