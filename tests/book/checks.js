// What is looked at in a page, each as a function that returns a list of problems.
({
  settled: async () => {
    for (const image of document.images) image.loading = 'eager';
    if (window.MathJax && MathJax.startup && MathJax.startup.promise) await MathJax.startup.promise;
    await window.kexianFormulas;
    await document.fonts.ready;
    await Promise.all([...document.images].map((image) => image.decode().catch(() => 0)));
  },

  overflow: () => {
    const width = document.documentElement.clientWidth, problems = [];
    const wide = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
    if (wide > width + 1) {
      problems.push(`the page is ${wide} wide in a window of ${width}`);
      for (const node of document.body.querySelectorAll('*')) {
        const box = node.getBoundingClientRect();
        if (box.width && box.right > width + 1 && problems.length < 6)
          problems.push(`beyond the edge: <${node.tagName.toLowerCase()} class="${node.className}">`);
      }
    }
    return problems;
  },

  clipped: () => {
    const problems = [];
    for (const node of document.querySelectorAll('main *, article *, body > p, body > div')) {
      if (!node.clientWidth || node.closest('svg, mjx-assistive-mml, mjx-container')) continue;
      const style = getComputedStyle(node);
      if (style.position === 'absolute' || style.clipPath !== 'none') continue;
      const hides = (value) => value === 'hidden' || value === 'clip';
      if (hides(style.overflowX) && node.scrollWidth > node.clientWidth + 1)
        problems.push(`clipped in width: <${node.tagName.toLowerCase()} class="${node.className}">`);
      if (hides(style.overflowY) && node.scrollHeight > node.clientHeight + 4 && !node.matches('.math'))
        problems.push(`clipped in height: <${node.tagName.toLowerCase()} class="${node.className}">`);
    }
    for (const node of document.querySelectorAll('.math')) {
      const formula = node.querySelector('mjx-container');
      if (formula && formula.getBoundingClientRect().left < node.getBoundingClientRect().left - 2)
        problems.push('a formula does not begin at its left end: ' + node.textContent.slice(0, 30));
    }
    return [...new Set(problems)];
  },

  narrow: () => {
    const problems = [];
    for (const table of document.querySelectorAll('.bd-article table')) {
      const box = table.closest('.pst-scrollable-table-container') || table.parentElement;
      if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).maskImage === 'none')
        problems.push('a table goes on without a cue: ' + table.textContent.trim().slice(0, 40));
    }
    const range = document.createRange();
    for (const code of document.querySelectorAll('.bd-article code')) {
      if (code.closest('pre') || !code.getClientRects().length) continue;
      const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
      for (let last = null; walker.nextNode();) {
        [...walker.currentNode.data].forEach((letter, place) => {
          range.setStart(walker.currentNode, place);
          range.setEnd(walker.currentNode, place + 1);
          const { top } = range.getBoundingClientRect();
          if (last && top > last.top + 6 && /[a-z]/.test(letter) && /[a-z]/.test(last.letter))
            problems.push('code breaks inside a word: ' + code.textContent);
          last = { letter, top };
        });
      }
    }
    return [...new Set(problems)];
  },

  maths: () => {
    const problems = [];
    for (const node of document.querySelectorAll('mjx-merror'))
      problems.push('broken formula: ' + (node.getAttribute('data-mjx-error') || node.textContent));
    for (const node of document.querySelectorAll('mjx-mtext')) {
      if (/color:\s*red/.test(node.getAttribute('style') || '')) problems.push('unknown command: ' + node.textContent);
    }
    for (const node of document.querySelectorAll('.math')) {
      if (!node.querySelector('mjx-container') && node.textContent.trim())
        problems.push('not rendered: ' + node.textContent.trim().slice(0, 60));
    }
    const walker = document.createTreeWalker(document.querySelector('main, article') || document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent, parent = walker.currentNode.parentElement;
      if (parent.closest('code, pre, script, style, .math, textarea')) continue;
      if (/\$[^$\n]*\\[a-zA-Z]+[^$\n]*\$/.test(text) || /\\begin\{/.test(text))
        problems.push('left as source: ' + text.trim().slice(0, 60));
    }
    return problems;
  },

  // Of our own pages; a reader's notebook may have wider formulas, which scroll.
  formulas: () => [...document.querySelectorAll('div.math')].flatMap((box) => {
    const formula = box.querySelector('mjx-container');
    const wide = Math.max(box.scrollWidth, formula ? formula.scrollWidth : 0);
    return wide > box.clientWidth + 1 ? [`a formula is ${wide} wide in a box of ${box.clientWidth}`] : [];
  }),

  images: () => [...document.images].filter((image) => !image.closest('.kx-hidden')).flatMap((image) => {
    const name = (image.getAttribute('src') || '').slice(0, 60), problems = [];
    if (!(image.getAttribute('alt') || '').trim()) problems.push('no alternative text: ' + name);
    if (!image.complete || !image.naturalWidth) problems.push('not loaded: ' + name);
    return problems;
  }),

  // Text of an interactive figure: inside its frame, and not upon other text.
  sliders: () => [...document.querySelectorAll('.kx-live .kx-panel svg')].flatMap((drawing) => {
    const frame = drawing.getBoundingClientRect(), problems = [], before = [];
    for (const text of drawing.querySelectorAll('text')) {
      const box = text.getBoundingClientRect(), name = text.textContent;
      if (!box.width) continue;
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        problems.push(`a slider's text leaves its frame: ${name}`);
      if (text.classList.contains('kx-small')) continue;  // names of columns are turned
      for (const [other, b] of before)
        if (box.left < b.right - 1 && b.left < box.right - 1 && box.top < b.bottom - 2 && b.top < box.bottom - 2)
          problems.push(`a slider's texts lie on each other: ${other}, ${name}`);
      before.push([name, box]);
    }
    return problems;
  }),

  // "(5)" and "C8" in prose are links wherever the page holds what they name.
  references: () => {
    const article = document.querySelector('.bd-article'), problems = [];
    if (!article) return problems;
    const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent, parent = walker.currentNode.parentElement;
      if (parent.closest('a, code, pre, h1, h2, h3, summary, script, .math, mjx-container, .text_html')) continue;
      for (const found of text.matchAll(/\((\d{1,2}[a-z]?['’]?)\)(?! of the .* paper)|(?<![\w-])C\d+[a-z]?(?![\w-])/g)) {
        const id = found[1] ? `eq-${found[1].replace(/['’]/, '-prime')}` : `claim-${found[0].toLowerCase()}`;
        const place = document.getElementById(id);
        if (place && !place.contains(parent)) problems.push(`no link: ${found[0]} in “${text.trim().slice(0, 60)}”`);
      }
    }
    return problems;
  },

  language: () => {
    const problems = [];
    if (!document.documentElement.lang) problems.push('the page names no language');
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent, parent = walker.currentNode.parentElement;
      if (!/\p{Script=Han}/u.test(text)) continue;
      if (parent.closest('code, pre, script, style, svg, .math, mjx-container, option, textarea, title, noscript')) continue;
      if (!parent.closest('[lang|=zh]')) problems.push('Chinese without lang: ' + text.trim().slice(0, 40));
    }
    return problems;
  },

  // WCAG 2: 4.5 for text, 3 for large text. Backgrounds are composed from the ancestors'.
  contrast: () => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const known = new Map();
    const rgba = (colour) => {
      if (!known.has(colour)) {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        known.set(colour, [r, g, b, a / 255]);
      }
      return known.get(colour);
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const light = (c) => {
      const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
      return .2126 * r + .7152 * g + .0722 * b;
    };
    const ground = (node) => {
      const layers = [];
      for (let n = node; n; n = n.parentElement) {
        const colour = rgba(getComputedStyle(n).backgroundColor);
        if (colour[3] > 0) layers.push(colour);
        if (colour[3] === 1) break;
      }
      return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const found = new Map();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode, parent = node.parentElement;
      if (!node.textContent.trim() || parent.closest('script, style, noscript, option, mjx-assistive-mml, svg')) continue;
      if (!parent.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      const box = parent.getBoundingClientRect();
      if (box.width < 2 || box.height < 2) continue;
      const style = getComputedStyle(parent);
      const below = ground(parent), text = over(rgba(style.color), below);
      const [a, b] = [light(text), light(below)].sort((x, y) => y - x);
      const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
      const needed = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
      const ratio = (a + .05) / (b + .05);
      if (ratio < needed) {
        const key = `${parent.tagName.toLowerCase()}.${parent.className}`;
        if (!found.has(key)) found.set(key, `contrast ${ratio.toFixed(2)} < ${needed}: <${key}> “${node.textContent.trim().slice(0, 30)}”`);
      }
    }
    return [...found.values()].slice(0, 12);
  },

})
