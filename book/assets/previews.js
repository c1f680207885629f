// What a reference leads to, shown beside it: on hover, on keyboard focus, on tap (where the first
// tap shows it, with a link that goes there). Without this script references are plain links.
(() => {
  const say = window.kexianSay;
  const article = document.querySelector('.bd-article');
  if (!article) return;
  const own = 'a.kexian-ref[href^="#"]';
  const works = new Map();
  for (const item of article.querySelectorAll('#references li')) {
    for (const link of item.querySelectorAll('a[href^="http"]')) works.set(link.href, item);
  }

  const box = document.createElement('div');
  box.id = 'kexian-preview';
  box.setAttribute('role', 'tooltip');
  box.hidden = true;
  document.body.append(box);
  let shown = null, timer = 0, pointer = 'mouse';

  function copy(node) {
    const twin = node.cloneNode(true);
    for (const part of twin.querySelectorAll('.headerlink, script, button')) part.remove();
    for (const part of [twin, ...twin.querySelectorAll('[id]')]) part.removeAttribute('id');
    for (const part of twin.querySelectorAll('[aria-describedby]')) part.removeAttribute('aria-describedby');
    for (const part of twin.querySelectorAll('a, [tabindex]')) part.tabIndex = -1;
    for (const image of twin.querySelectorAll('img')) image.loading = 'eager';
    return twin;
  }

  function figure(place) {
    const parts = [];
    for (let node = place.nextElementSibling; node; node = node.nextElementSibling) {
      parts.push(...node.querySelectorAll('.cell_output img'));  // for light and for dark pages
      if (node.matches('p')) { parts.push(node); break; }
    }
    return parts;
  }

  // The pieces of the page that say what is at the other end of a link.
  function pieces(link) {
    if (!link.matches(own)) return link.closest('#references') ? [] : [works.get(link.href)];
    const place = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (!place) return [];
    if (place.matches('section')) return [place.firstElementChild, place.querySelector(':scope > p')];
    const formula = place.closest('.math');  // a block with several numbers has several places
    if (formula) return [formula];
    if (place.matches('span')) return figure(place);
    return [place];
  }

  function show(link, goes) {
    const found = pieces(link).filter(Boolean);
    if (!found.length) return false;
    hide();
    box.replaceChildren(...found.map(copy));
    if (goes) {
      const there = document.createElement('a');
      there.href = link.href;
      there.className = 'kexian-go';
      there.textContent = link.matches(own) ? say('Go there') : say('Open the work');
      there.addEventListener('click', () => hide());
      box.append(there);
    }
    box.hidden = false;
    shown = link;
    link.setAttribute('aria-describedby', box.id);
    const raw = [...box.querySelectorAll('.math')].some((m) => !m.querySelector('mjx-container'));
    if (raw && window.MathJax && MathJax.typesetPromise) MathJax.typesetPromise([box]).then(place);
    for (const image of box.querySelectorAll('img')) image.addEventListener('load', place);
    place();
    return true;
  }

  function place() {
    if (!shown) return;
    const at = shown.getClientRects()[0] || shown.getBoundingClientRect();
    const width = document.documentElement.clientWidth, height = window.innerHeight;
    const below = height - at.bottom - 16, above = at.top - 16;
    const under = below >= Math.min(box.scrollHeight, 320) || below >= above;
    box.style.maxHeight = `${Math.max(80, Math.min(under ? below : above, 480))}px`;
    box.style.left = `${Math.max(8, Math.min(at.left, width - box.offsetWidth - 8))}px`;
    box.style.top = `${under ? at.bottom + 6 : at.top - box.offsetHeight - 6}px`;
  }

  function hide() {
    clearTimeout(timer);
    if (shown) shown.removeAttribute('aria-describedby');
    shown = null;
    box.hidden = true;
  }

  function later(action, delay) {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  }

  const linkOf = (event) => {
    const link = event.target.closest && event.target.closest('a');
    return link && article.contains(link) && (link.matches(own) || works.has(link.href)) ? link : null;
  };
  const leaves = (event) => event.pointerType === 'mouse' && shown && later(hide, 250);

  document.addEventListener('pointerdown', (event) => { pointer = event.pointerType; }, true);
  article.addEventListener('pointerover', (event) => {
    const link = event.pointerType === 'mouse' && linkOf(event);
    if (link) later(() => link !== shown && show(link, false), 150);
  });
  article.addEventListener('pointerout', (event) => {
    if (!linkOf(event)) return;
    clearTimeout(timer);
    leaves(event);
  });
  box.addEventListener('pointerover', () => clearTimeout(timer));
  box.addEventListener('pointerleave', leaves);
  article.addEventListener('focusin', (event) => {
    const link = linkOf(event);
    if (link && link.matches(':focus-visible')) show(link, false);
  });
  article.addEventListener('focusout', (event) => {
    if (event.target === shown && pointer !== 'touch') hide();
  });
  document.addEventListener('click', (event) => {
    const link = linkOf(event);
    if (link && pointer === 'touch' && event.detail && link !== shown && show(link, true)) event.preventDefault();
    else if (link || !box.contains(event.target)) hide();
  });
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  window.addEventListener('scroll', () => shown && hide(), { passive: true });
  window.addEventListener('resize', hide);
})();
