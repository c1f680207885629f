// Filters the table of claims. Without this script the whole table is shown.
(function () {
  "use strict";
  var form = document.querySelector(".kexian-filter");
  var table = document.querySelector(".kexian-ledger");
  if (!form || !table) return;
  var rows = Array.prototype.slice.call(table.tBodies[0].rows);
  var count = form.querySelector(".kexian-count");
  var words = rows.map(function (row) { return row.textContent.toLowerCase(); });

  var fields = ["chapter", "kind", "verdict", "words"];

  function fromAddress() {
    var given = new URLSearchParams(window.location.search);
    fields.forEach(function (name) { form.elements[name].value = given.get(name) || ""; });
  }

  function apply() {
    var wanted = form.elements, shown = 0;
    var parts = wanted.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach(function (row, index) {
      var fits =
        (!wanted.chapter.value || row.dataset.chapter === wanted.chapter.value) &&
        (!wanted.kind.value || row.dataset.kind === wanted.kind.value) &&
        (!wanted.verdict.value || row.dataset.verdict.split("|").indexOf(wanted.verdict.value) >= 0) &&
        parts.every(function (part) { return words[index].indexOf(part) >= 0; });
      row.hidden = !fits;
      if (fits) shown += 1;
    });
    count.textContent = shown + " of " + rows.length + " claims shown";
  }

  // The filter is in the address, so that it can be shared and survives back and reload.
  function note() {
    var kept = new URLSearchParams();
    fields.forEach(function (name) {
      if (form.elements[name].value) kept.set(name, form.elements[name].value);
    });
    var query = kept.toString();
    window.history.replaceState(null, "", (query ? "?" + query : window.location.pathname) + window.location.hash);
  }

  function change() { apply(); note(); }

  form.addEventListener("input", change);
  form.addEventListener("reset", function () { window.setTimeout(change, 0); });
  // The browser puts back what was typed after this script has run.
  window.addEventListener("pageshow", function () { fromAddress(); apply(); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.hidden = false;
  fromAddress();
  apply();
})();
