// A displayed formula that is a little wider than the screen is set smaller, down to seven tenths,
// so that it is seen whole, with its number. A still wider one scrolls, and so does a formula in a
// line that is wider than the column: it gets a line of its own.
(() => {
  const sizes = new WeakMap();

  function fit() {
    for (const box of document.querySelectorAll('div.math')) {
      const formula = box.querySelector('mjx-container[display="true"]');
      if (!formula) continue;
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
    for (const box of document.querySelectorAll('span.math')) {
      box.classList.remove('kexian-wide');
      const formula = box.querySelector('mjx-container');
      const column = box.closest('p, li, dd, td, th, summary, figcaption, h1, h2, h3');
      if (!formula || !column) continue;
      const room = column.getBoundingClientRect().width;
      const wide = formula.getBoundingClientRect().width > room + 1;
      box.classList.toggle('kexian-wide', wide);
      if (wide) box.tabIndex = 0;
      else box.removeAttribute('tabindex');
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

  let waiting = 0;
  function again() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(fit);
  }
  window.addEventListener('resize', again);
  document.fonts.addEventListener('loadingdone', again);  // glyphs have their widths only then
  keepTogether();
  window.addEventListener('load', () => {
    if (window.MathJax && MathJax.startup && MathJax.startup.promise) MathJax.startup.promise.then(fit);
  });
})();
