// The list with an open station beside or below it: marks the row of what is open (parameter "open" of the address),
// also after rows or the open station were fetched anew.
function mark() {
  const open = new URLSearchParams(location.search).get("open");
  for (const row of document.querySelectorAll("[data-row]")) row.ariaSelected = open && row.dataset.row === open ? "true" : null;
}
document.addEventListener("htmx:afterSettle", mark);
document.addEventListener("htmx:pushedIntoHistory", mark);
