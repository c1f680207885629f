// Filters, sorts, counts and exports the table of claims. Without this script the whole table is shown.
(() => {
  // This script runs before the formulas are set, and so before the words of another language are
  // there; `pageshow` tells the count again.
  const say = (text, ...values) => (window.kexianSay ? window.kexianSay(text, ...values)
    : text.replace(/\{(\d+)\}/g, (_, k) => values[k - 1]));
  const form = document.querySelector('.kexian-filter');
  const table = document.querySelector('.kexian-ledger');
  if (!form || !table) return;
  const FIELDS = ['chapter', 'kind', 'verdict', 'words', 'sort'];
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.querySelectorAll('th[data-sort]')];
  const count = form.querySelector('.kexian-count');
  // As it stands before formulas are set: in the exports they are LaTeX.
  const text = (node) => (node ? node.textContent.replace(/\s+/g, ' ').trim() : '');
  const records = new Map(rows.map((row) => {
    const [claim, statement, , , measured] = row.cells, sentence = statement.cloneNode(true);
    sentence.querySelector('.kexian-note')?.remove();
    return [row, {
      claim: text(claim.querySelector('a')), chapter: text(claim.querySelector('small')),
      statement: text(sentence), note: text(statement.querySelector('.kexian-note')),
      kind: row.dataset.kind, verdict: row.dataset.verdict.split('|').join(', then '),
      measured: [...measured.querySelectorAll('li')].map(text), words: text(row).toLowerCase(),
    }];
  }));

  const shown = () => [...table.tBodies[0].rows].filter((row) => !row.hidden);

  function filter() {
    const wanted = form.elements;
    const parts = wanted.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      row.hidden = !((!wanted.chapter.value || row.dataset.chapter === wanted.chapter.value) &&
        (!wanted.kind.value || row.dataset.kind === wanted.kind.value) &&
        (!wanted.verdict.value || row.dataset.verdict.split('|').includes(wanted.verdict.value)) &&
        parts.every((part) => records.get(row).words.includes(part)));
    }
  }

  // "kind" is upwards, "-kind" downwards, "" the order of the book.
  function sort() {
    const wanted = form.elements.sort.value, name = wanted.replace('-', ''), sign = wanted.startsWith('-') ? -1 : 1;
    const key = (row) => String(records.get(row)[name] || '');
    const order = name && heads.some((head) => head.dataset.sort === name)
      ? [...rows].sort((a, b) => sign * key(a).localeCompare(key(b), 'en', { numeric: true })) : rows;
    table.tBodies[0].append(...order);
    for (const head of heads) {
      if (head.dataset.sort === name) head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
      else head.removeAttribute('aria-sort');
    }
  }

  function tell() {
    const visible = shown(), verdicts = new Map();
    for (const row of visible) {
      const verdict = row.dataset.verdict.split('|').pop();
      verdicts.set(verdict, (verdicts.get(verdict) || 0) + 1);
    }
    const parts = [...verdicts].sort((a, b) => b[1] - a[1]).map(([verdict, number]) => `${number} ${say(verdict)}`);
    const all = say('{1} of {2} claims shown', visible.length, rows.length);
    count.textContent = parts.length ? `${all}${say(': ')}${parts.join(say(', '))}` : all;
  }

  function apply() { filter(); sort(); tell(); }

  // The filter is in the address, so that it can be shared and survives back and reload.
  function fromAddress() {
    const given = new URLSearchParams(window.location.search);
    for (const name of FIELDS) form.elements[name].value = given.get(name) || '';
  }

  function note() {
    const kept = new URLSearchParams();
    for (const name of FIELDS) if (form.elements[name].value) kept.set(name, form.elements[name].value);
    const query = kept.toString();
    window.history.replaceState(null, '', (query ? `?${query}` : window.location.pathname) + window.location.hash);
  }

  function change() { apply(); note(); }

  // -- exports ------------------------------------------------------------------------------------

  function save(name, type, content) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  const EXPORTS = {
    json: (list) => ['application/json', `${JSON.stringify(list, null, 1)}\n`],
    csv: (list) => {
      const quoted = (value) => `"${(Array.isArray(value) ? value.join('; ') : value).replace(/"/g, '""')}"`;
      const lines = list.map((record) => Object.values(record).map(quoted).join(','));
      // The mark at the beginning tells spreadsheets that this is UTF-8.
      return ['text/csv', `\ufeff${Object.keys(list[0] || {}).join(',')}\r\n${lines.join('\r\n')}\r\n`];
    },
  };

  form.addEventListener('click', (event) => {
    const format = event.target.dataset.export;
    if (!format) return;
    const list = shown().map((row) => { const { words, ...record } = records.get(row); return record; });
    save(`kexian-claims.${format}`, ...EXPORTS[format](list));
  });

  for (const head of heads) {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const field = form.elements.sort, name = head.dataset.sort;
      field.value = { [name]: `-${name}`, [`-${name}`]: '' }[field.value] ?? name;
      change();
    });
  }

  form.addEventListener('input', change);
  form.addEventListener('reset', () => window.setTimeout(() => { form.elements.sort.value = ''; change(); }, 0));
  // The browser puts back what was typed after this script has run.
  window.addEventListener('pageshow', () => { fromAddress(); apply(); });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.hidden = false;
  fromAddress();
  apply();
})();
