// A displayed formula that is a little wider than the screen is set smaller, down to seven tenths,
// so that it is seen whole, with its number. A still wider one scrolls, and so does a formula in a
// line that is wider than the column: it gets a line of its own.
(() => {
  const sizes = new WeakMap();

  function shrink(box) {
    const formula = box.querySelector('mjx-container[display="true"]');
    if (!formula) return;
    if (!sizes.has(formula)) sizes.set(formula, formula.style.fontSize);
    formula.style.fontSize = sizes.get(formula);
    const size = parseFloat(getComputedStyle(formula).fontSize);
    // Glyphs are placed on whole pixels, so the width does not shrink quite as the size does.
    for (let share = 1, round = 0; round < 4 && share > 0.7; round += 1) {
      const excess = Math.max(box.scrollWidth, formula.scrollWidth) / box.clientWidth;
      if (!(excess > 1)) break;
      share = Math.max(0.7, (0.99 * share) / excess);
      formula.style.fontSize = `${share * size}px`;
    }
  }

  function breakOut(box) {
    box.classList.remove('kexian-wide');
    const formula = box.querySelector('mjx-container');
    const column = box.closest('p, li, dd, td, th, summary, figcaption, h1, h2, h3');
    if (!formula || !column) return;
    const room = column.getBoundingClientRect().width;
    const wide = formula.getBoundingClientRect().width > room + 1;
    box.classList.toggle('kexian-wide', wide);
    if (wide) box.tabIndex = 0;
    else box.removeAttribute('tabindex');
  }

  function fit(boxes) {
    for (const box of boxes || document.querySelectorAll('.math')) {
      if (box.matches('div')) shrink(box);
      else breakOut(box);
    }
  }

  // Punctuation stays with its formula: a line never begins with a comma.
  function keepTogether() {
    for (const box of document.querySelectorAll('span.math')) {
      const text = box.nextSibling;
      const marks = text && text.nodeType === 3 && text.data.match(/^[.,;:!?)\]’”]+/);
      if (!marks) continue;
      const together = document.createElement('span');
      together.className = 'kexian-together';
      box.before(together);
      text.data = text.data.slice(marks[0].length);
      together.append(box, marks[0]);
    }
  }

  // Formulas in sight are set first, then those below them and those above, a few at a time: the
  // page answers in between. Only what is in sight may move what is read.
  const FEW = 24;

  function order() {
    const far = (box) => {
      const { top, bottom } = box.getBoundingClientRect(), height = window.innerHeight;
      if (bottom >= 0 && top <= height) return 0;
      return top > height ? top : 1e9 - bottom;  // above, from here upwards, comes last
    };
    return [...document.querySelectorAll('.math')]
      .map((box) => [far(box), box]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
  }

  let left = [];

  async function typeset(boxes) {
    left = left.filter((box) => !boxes.includes(box));
    await MathJax.typesetPromise(boxes);
    fit(boxes);
  }

  async function begin() {
    await MathJax.startup.promise;
    left = order();
    await typeset(left.slice(0, FEW));
    // Where the reader has gone meanwhile comes first.
    const near = new IntersectionObserver((entries) => {
      const boxes = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
      const waiting = boxes.filter((box) => left.includes(box));
      boxes.forEach((box) => near.unobserve(box));
      if (waiting.length) typeset(waiting);
    }, { rootMargin: '100% 0px' });
    left.forEach((box) => near.observe(box));
    while (left.length) {
      await new Promise((done) => (window.requestIdleCallback || setTimeout)(done, { timeout: 500 }));
      await typeset(left.slice(0, FEW));
    }
    near.disconnect();
    fit();
  }

  // On paper all are there.
  window.addEventListener('beforeprint', () => {
    const open = [...document.querySelectorAll('.math')].filter((box) => !box.querySelector('mjx-container'));
    left = [];
    if (open.length && window.MathJax && MathJax.typeset) MathJax.typeset(open);
  });

  let waiting = 0;
  function again() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => fit());
  }
  window.addEventListener('resize', again);
  document.fonts.addEventListener('loadingdone', again);  // glyphs have their widths only then
  keepTogether();
  // All formulas are set when this is fulfilled.
  window.kexianFormulas = begin();
})();
