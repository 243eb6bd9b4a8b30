// Requests and forms: the CSRF header of htmx, failures in words, forms in popovers that close when they were taken, "select all" and its count,
// filters and switches that apply themselves.
document.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.verb !== "get") event.detail.headers["X-CSRFToken"] = document.querySelector('meta[name="csrf-token"]').content;
});

function complain(text) {
  const toast = document.querySelector("[data-toast-template]").content.cloneNode(true);
  toast.querySelector("[data-toast-text]").textContent = text;
  document.querySelector("[data-toasts]").append(toast);
}
document.addEventListener("htmx:sendError", () => complain(document.body.dataset.wordOffline));
document.addEventListener("htmx:responseError", (event) => {
  const { status, responseText } = event.detail.xhr;
  const told = event.detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/plain") ? responseText : "";
  complain(told || document.body.dataset.wordFailed.replace("%s", status));
});
document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) event.detail.elt.closest("[popover]")?.hidePopover(); });
document.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.closest("[data-toast]")?.remove());

function countSelected(form) {
  const boxes = [...form.querySelectorAll("[data-select]")];
  const ticked = boxes.filter((box) => box.checked).length;
  for (const slot of form.querySelectorAll("[data-selected-count]")) slot.textContent = ticked;
  const all = form.querySelector("[data-select-all]");
  if (all) { all.checked = ticked > 0 && ticked === boxes.length; all.indeterminate = ticked > 0 && ticked < boxes.length; }
}
document.addEventListener("change", (event) => {
  const { target } = event;
  if (target.matches("[data-select-all]")) for (const box of target.form.querySelectorAll("[data-select]")) box.checked = target.checked;
  if (target.matches("[data-select-all], [data-select]")) countSelected(target.form);
  if (target.matches("[data-autosubmit] select, [data-autosubmit] [type=date], select[data-autosubmit], [data-switch]")) target.form.requestSubmit();
});
