// A displayed formula that is a little wider than the screen is set smaller, down to seven tenths,
// so that it is seen whole, with its number. A still wider one scrolls.
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
  }

  let waiting = 0;
  window.addEventListener('resize', () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(fit);
  });
  window.addEventListener('load', () => {
    if (window.MathJax && MathJax.startup && MathJax.startup.promise) MathJax.startup.promise.then(fit);
  });
})();
