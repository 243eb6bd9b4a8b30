// Dangerous buttons: [data-confirm] holds the effect in words, data-confirm-title the question,
// data-confirm-typed a word to type first. The page's one <dialog data-confirm-dialog> asks.
const dialog = document.querySelector("[data-confirm-dialog]");
const part = (name) => dialog.querySelector(`[data-confirm-part="${name}"]`);
let asked = null, agreed = null;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-confirm]");
  if (!button || button.disabled || button.ariaDisabled === "true") return;
  if (agreed === button) { agreed = null; return; }
  event.preventDefault();
  event.stopPropagation();
  asked = button;
  const { confirm, confirmTitle, confirmTyped = "", confirmButton } = button.dataset;
  part("title").textContent = confirmTitle || button.textContent.trim();
  part("effect").textContent = confirm;
  part("go").textContent = confirmButton || button.textContent.trim();
  part("typed").hidden = !confirmTyped;
  part("word").textContent = confirmTyped;
  part("input").value = "";
  part("go").disabled = Boolean(confirmTyped);
  dialog.showModal();
  (confirmTyped ? part("input") : part("cancel")).focus();
}, true);

if (dialog) {
  part("input").addEventListener("input", (event) => { part("go").disabled = event.target.value.trim() !== part("word").textContent; });
  part("cancel").addEventListener("click", () => dialog.close());
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (part("go").disabled) return;
    dialog.close();
    agreed = asked;
    asked.click();
  });
}
