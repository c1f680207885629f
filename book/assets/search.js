// The book's search. It looks through the text of all sections (search-index.js), so it needs no
// server and no network; the index is loaded when a reader begins to search.
(() => {
  const say = window.kexianSay;
  const root = document.documentElement.dataset.content_root || './';
  const WEIGHTS = { title: 12, heading: 5, text: 1, names: 0.8 };
  const COMMON = new Set(('a an and are as at be by do does for from how in is it of on or that the this to was ' +
    'what when where which why with').split(' '));
  const HAN = /\p{Script=Han}/u;
  let index = null, loading = null;

  // -- words ------------------------------------------------------------------------------------

  // Lower case and simplified characters, one for one, so that places in it are places in the text.
  function plain(text) {
    const lower = text.toLowerCase();
    const same = lower.length === text.length ? lower : text;
    return index ? same.replace(/[\u3400-\u9fff]/g, (one) => index.simplified.get(one) || one) : same;
  }

  // "clipping", "clipped" and "clips" are one word; so are "licence" and "licences".
  function stem(word) {
    if (!/^[a-z]{5,}$/.test(word) || word.endsWith('ss')) return word;
    const short = word.replace(/(?:ings?|ed|es|e|s)$/, '');
    if (short.length < 3) return word;
    return /([bdgmnprt])\1$/.test(short) && short !== word ? short.slice(0, -1) : short;
  }

  const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&').replace(/[-\s]+/g, '[-\\s\u2010-\u2015]?');

  function term(word) {
    if (HAN.test(word)) return { word, pattern: new RegExp(escaped(word), 'gu') };
    const tail = /[\p{L}\p{N}_]$/u.test(word) ? '[a-z0-9_]*' : '';
    return { word, pattern: new RegExp(`(?<![a-z0-9_])${escaped(stem(word))}${tail}`, 'gu') };
  }

  // The words of a query; what stands in quotes and runs of Han characters are one word each.
  function termsOf(query) {
    const words = (plain(query).match(/"[^"]+"|\p{Script=Han}+|[^\s"\p{Script=Han}]+/gu) || [])
      .map((word) => word.replace(/^[\p{P}\s]+|[\p{P}\s]+$/gu, '')).filter(Boolean);
    const rare = words.filter((word) => !COMMON.has(word));
    return [...new Set(rare.length ? rare : words)].map(term);
  }

  // Where a term stands: [start, end, whether as typed].
  function places({ word, pattern }, text) {
    return Array.from(text.matchAll(pattern), (hit) =>
      [hit.index, hit.index + hit[0].length, hit[0] === word]);
  }

  // -- looking ----------------------------------------------------------------------------------

  function weigh(one, field, weight) {
    const found = places(one, field);
    if (!found.length) return 0;
    return weight * (found.some((hit) => hit[2]) ? 1 : 0.5) * (1 + Math.log10(found.length));
  }

  // Pages on which all terms stand, best first: title, then headings, then text; each with its
  // sections that hold all terms (those of the title need not be repeated), best first.
  function find(terms) {
    if (!terms.length) return [];
    const phrase = terms.length > 1 &&
      new RegExp(terms.map((one) => one.pattern.source).join('[^\\p{L}\\p{N}]+'), 'u');
    const bonus = (field, weight) => (phrase && phrase.test(field) ? weight : 0);
    const pages = index.pages.map((page) => {
      const titles = terms.map((one) => weigh(one, page.title, WEIGHTS.title));
      let best = [...titles];
      const hits = [];
      for (const place of page.places) {
        const own = terms.map((one) => Math.max(weigh(one, place.heading, WEIGHTS.heading),
          weigh(one, place.text, WEIGHTS.text), weigh(one, place.names, WEIGHTS.names)));
        best = best.map((weight, k) => Math.max(weight, own[k]));
        if (own.some(Boolean) && own.every((weight, k) => weight || titles[k])) {
          const score = own.reduce((a, b) => a + b) + bonus(place.heading, 4) + bonus(place.text, 2);
          hits.push({ place, score });
        }
      }
      hits.sort((a, b) => b.score - a.score);
      const score = best.every(Boolean)
        ? page.worth * (best.reduce((a, b) => a + b) + bonus(page.title, 8) + (hits.length ? hits[0].score / 10 : 0))
        : 0;
      return { page, hits: hits.map((hit) => hit.place), score };
    });
    return pages.filter((page) => page.score).sort((a, b) => b.score - a.score);
  }

  // A run of Han characters that stands nowhere, cut into the longest pieces that do.
  function pieces({ word }) {
    const found = [];
    for (let from = 0, to; from < word.length; from = to) {
      for (to = word.length; to > from + 1 && !index.all.includes(word.slice(from, to)); to -= 1);
      if (to === from + 1) return [term(word)];
      found.push(term(word.slice(from, to)));
    }
    return found;
  }

  // -- what helps when nothing is found -----------------------------------------------------------

  // One letter changed, left out, added, or two swapped.
  function near(a, b) {
    if (Math.abs(a.length - b.length) > 1) return false;
    let k = 0;
    while (k < a.length && a[k] === b[k]) k += 1;
    const rest = (x, y) => a.slice(k + x) === b.slice(k + y);
    return rest(1, 1) || rest(1, 0) || rest(0, 1) || (a[k] === b[k + 1] && a[k + 1] === b[k] && rest(2, 2));
  }

  function suggestion(word) {
    const counts = new Map();
    for (const other of index.all.match(/[a-z]{4,}/g))
      if (other[0] === word[0] && near(word, other)) counts.set(other, (counts.get(other) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).map((pair) => pair[0])[0];
  }

  // Sentences, some with a query to try instead.
  function help(terms) {
    const missing = terms.filter((one) => !find([one]).length);
    if (!missing.length)
      return [[say('Each of these words stands in the book, but no page holds all of them. Look for one alone: ')],
        ...terms.map((one) => ['', one.word])];
    return missing.flatMap((one) => {
      const other = /^[a-z]{4,}$/.test(one.word) && suggestion(one.word);
      const others = terms.map((each) => (each === one ? other : each.word)).filter(Boolean).join(' ');
      const said = say('“{1}” stands nowhere in the book.', one.word);
      if (other) return [[`${said} ${say('Is it ')}`, others], [say('?')]];
      if (others) return [[`${said} ${say('Without it: ')}`, others]];
      return [[`${said} ${say('A shorter or more common word may be there: chapters call things by their English and their Chinese names.')}`]];
    });
  }

  // -- showing ----------------------------------------------------------------------------------

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // Text with its matches in <mark>.
  function marked(text, terms) {
    const folded = plain(text), out = [];
    let end = 0;
    for (const [from, to] of terms.flatMap((one) => places(one, folded)).sort((a, b) => a[0] - b[0] || b[1] - a[1])) {
      if (from < end) continue;
      out.push(text.slice(end, from), element('mark', { textContent: text.slice(from, to) }));
      end = to;
    }
    return [...out, text.slice(end)];
  }

  // Some words around the place where most terms stand together.
  function excerpt(place, terms, length = 180) {
    const starts = terms.flatMap((one, k) => places(one, place.text).slice(0, 40).map((hit) => [hit[0], k]))
      .sort((a, b) => a[0] - b[0]);
    const kinds = (from) => new Set(starts.filter(([at]) => at >= from && at < from + length / 2).map((pair) => pair[1])).size;
    const best = starts.reduce((top, [at]) => (kinds(at) > top[1] ? [at, kinds(at)] : top), [0, 0])[0];
    let from = Math.max(0, best - length / 3), to = Math.min(place.said.length, from + length);
    while (from > 0 && /[\p{L}\p{N}]/u.test(place.said[from - 1]) && !HAN.test(place.said[from])) from -= 1;
    while (to < place.said.length && /[\p{L}\p{N}]/u.test(place.said[to]) && !HAN.test(place.said[to])) to += 1;
    return [from > 0 ? '… ' : '', ...marked(place.said.slice(from, to), terms), to < place.said.length ? ' …' : ''];
  }

  function address(page, place, query) {
    return `${root}${page.file}?marks=${encodeURIComponent(query)}${place && place.id ? `#${place.id}` : ''}`;
  }

  function hit(page, place, terms, query) {
    const held = place.names.split(' ').filter((name) => terms.some((one) => places(one, name).length));
    const code = held.length && !terms.every((one) => places(one, place.text).length)
      ? [element('code', {}, ...marked(held.slice(0, 4).join('  '), terms)), say(' in code. ')] : [];
    return element('li', {},
      element('a', { href: address(page, place, query) }, ...marked(place.id ? place.name : say('Beginning'), terms)),
      element('p', {}, ...code, ...excerpt(place, terms)));
  }

  function result({ page, hits }, terms, query, most) {
    const first = hits[0] || page.places[0];
    const item = element('li', {}, element('p', { className: 'kexian-hit-page' },
      element('a', { href: address(page, null, query) }, ...marked(page.name, terms)),
      ' ', element('small', {}, page.kind)));
    if (!hits.length && first) item.append(element('p', {}, ...excerpt(first, terms)));
    const list = (some) => element('ul', {}, ...some.map((place) => hit(page, place, terms, query)));
    if (hits.length) item.append(list(hits.slice(0, most)));
    if (hits.length > most && most > 1) {
      item.append(element('details', {},
        element('summary', {}, say('{1} more on this page', hits.length - most)), list(hits.slice(most))));
    }
    return item;
  }

  const number = (count, word) => say(`{1} ${word}${count === 1 ? '' : 's'}`, count);

  // Looks for the words of a field while they are typed, and shows what is found.
  function attach(input, status, results, { pages = 30, sections = 3, told = () => {} } = {}) {
    const ask = (query) => { input.value = query; input.dispatchEvent(new Event('input')); input.focus(); };
    const button = (query) => {
      const made = element('button', { type: 'button', textContent: query });
      made.addEventListener('click', () => ask(query));
      return made;
    };

    async function show() {
      const query = input.value.trim();
      told(query);
      if (query) await load();
      if (query !== input.value.trim()) return;
      results.replaceChildren();
      status.replaceChildren();
      if (!query) return;
      let terms = termsOf(query), found = find(terms);
      if (!found.length) {
        const parts = terms.flatMap((one) => (HAN.test(one.word) ? pieces(one) : [one]));
        if (parts.length > terms.length && (found = find(parts)).length) terms = parts;
      }
      if (!found.length) {
        status.append(...(terms.length ? help(terms) : [[say('Type a word.')]])
          .flatMap(([text, other]) => (other ? [text, button(other), ' '] : [text, ' '])));
        return;
      }
      const count = found.reduce((sum, one) => sum + one.hits.length, 0);
      status.append(`${count ? say('{1} on ', number(count, 'place')) : ''}${number(found.length, 'page')}`);
      results.append(...found.slice(0, pages).map((one) => result(one, terms, terms.map((t) => t.word).join(' '), sections)));
      if (found.length > pages) status.append(say('; the first {1} are shown', pages));
    }
    let waiting = 0;
    input.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
    input.addEventListener('focus', load, { once: true });
    return show;
  }

  function load() {
    loading ||= new Promise((done, failed) => {
      const script = element('script', { src: `${root}_static/search-index.js`, onerror: failed });
      script.onload = () => { index = read(window.kexianIndex); done(); };
      document.head.append(script);
    });
    return loading;
  }

  function read({ pages, places: all, traditional }) {
    index = { simplified: new Map(Array.from({ length: traditional.length / 2 }, (_, k) => [traditional[2 * k], traditional[2 * k + 1]])) };
    // What a page is, and what it is worth: lists repeat the titles of the chapters.
    const kinds = { library: ['library', 0.8], parts: ['part', 0.6] };
    for (const list of ['errata', 'status', 'bibliography', 'gallery', 'ledger']) kinds[`${list}.html`] = ['list', 0.3];
    index.pages = pages.map(([file, name, article, chinese]) => {
      const [kind, worth] = article ? [say('chapter {1}', article), 1] : kinds[file.split('/')[0]] || ['page', 0.5];
      return { file, name, kind: say(kind), worth, title: plain(`${name} ${chinese} ${article}`), places: [] };
    });
    for (const [page, id, name, said, names] of all)
      index.pages[page].places.push({ id, name: /^C\d+$/.test(name) ? say('Claim {1}', name) : name, said,
        heading: id ? plain(name) : '', text: plain(said), names: plain(names) });
    index.all = index.pages.flatMap((page) => [page.title, ...page.places.map((place) => place.text)]).join('\n');
    return index;
  }

  // -- marks on the page that a hit leads to --------------------------------------------------------

  function markPage(query) {
    const article = document.querySelector('article.bd-article'), terms = termsOf(query);
    if (!article || !terms.length) return;
    const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT, (node) =>
      (node.parentElement.closest('.math, mjx-container, script, style, svg, .headerlink, .kexian-bar')
        ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    for (const node of nodes) {
      const parts = marked(node.data, terms);
      if (parts.length > 1) node.replaceWith(...parts);
    }
    const marks = [...article.querySelectorAll('mark')];
    for (const mark of marks) mark.className = 'kexian-mark';
    const remove = element('button', { type: 'button', textContent: say('Remove') });
    const bar = element('p', { className: 'kexian-marks' },
      element('span', {}, say('{1} for “{2}” ', marks.length ? number(marks.length, 'mark') : say('No mark'), query)), remove);
    remove.addEventListener('click', () => {
      for (const mark of marks) mark.replaceWith(...mark.childNodes);
      bar.remove();
      const url = new URL(window.location);
      url.searchParams.delete('marks');
      window.history.replaceState(null, '', url);
    });
    document.querySelector('main').append(bar);
    land(marks);
  }

  // The place that the hit names, and its first mark in sight, also after the formulas are set.
  function land(marks) {
    const place = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
    const first = place ? marks.find((mark) => place.contains(mark)) : marks[0];
    for (let fold = first && first.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
    let moved = false;
    for (const kind of ['wheel', 'touchstart', 'keydown', 'mousedown'])
      window.addEventListener(kind, () => { moved = true; }, { once: true, passive: true });
    const go = () => {
      if (moved) return;
      if (place) place.scrollIntoView({ block: 'start', behavior: 'instant' });
      const box = first && first.getBoundingClientRect();
      if (box && (box.top < 60 || box.bottom > window.innerHeight - 60)) first.scrollIntoView({ block: 'center', behavior: 'instant' });
    };
    go();
    window.addEventListener('load', () => {
      go();
      if (window.kexianFormulas) window.kexianFormulas.then(() => requestAnimationFrame(go));
    });
  }

  // -- where it is used -----------------------------------------------------------------------------

  function searchPage(form) {
    const input = form.querySelector('input'), given = new URLSearchParams(window.location.search).get('q');
    const show = attach(input, document.querySelector('.kexian-search-status'), document.querySelector('.kexian-hits'), {
      told: (query) => window.history.replaceState(null, '', query ? `?q=${encodeURIComponent(query)}` : window.location.pathname),
    });
    form.addEventListener('submit', (event) => { event.preventDefault(); show(); });
    if (given) input.value = given;
    show();
    input.focus();
  }

  function dialog(box) {
    const input = box.querySelector('input');
    const status = element('p', { className: 'kexian-search-status' }), results = element('ol', { className: 'kexian-hits' });
    status.setAttribute('role', 'status');
    box.append(status, results);
    attach(input, status, results, { pages: 8, sections: 1 })();
  }

  const asked = new URLSearchParams(window.location.search).get('marks');
  if (asked) markPage(asked);
  const form = document.querySelector('form.kexian-search');
  if (form) searchPage(form);
  window.kexianSearchDialog = dialog;
})();
