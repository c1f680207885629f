// Filters the table of claims. Without this script the whole table is shown.
(function () {
  "use strict";
  var form = document.querySelector(".kexian-filter");
  var table = document.querySelector(".kexian-ledger");
  if (!form || !table) return;
  var rows = Array.prototype.slice.call(table.tBodies[0].rows);
  var count = form.querySelector(".kexian-count");
  var words = rows.map(function (row) { return row.textContent.toLowerCase(); });

  function fromAddress() {
    var given = new URLSearchParams(window.location.search);
    ["chapter", "kind", "verdict", "words"].forEach(function (name) {
      if (given.has(name)) form.elements[name].value = given.get(name);
    });
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

  form.addEventListener("input", apply);
  form.addEventListener("reset", function () { window.setTimeout(apply, 0); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.hidden = false;
  fromAddress();
  apply();
})();
