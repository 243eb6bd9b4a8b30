// [data-copy] copies its value, or the text of the element that data-copy-from selects, and says so.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const text = button.dataset.copy ?? document.querySelector(button.dataset.copyFrom).textContent;
  const word = button.querySelector("[data-copy-word]") ?? button;
  const before = word.textContent;
  try {
    await navigator.clipboard.writeText(text);
    word.textContent = button.dataset.copied;
  } catch {
    word.textContent = button.dataset.notCopied;
  }
  setTimeout(() => { word.textContent = before; }, 2000);
});
