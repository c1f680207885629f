// The switch that hides the code of a page. What was chosen is remembered; a line in the head of the
// page applies it before anything is painted.
(() => {
  const say = window.kexianSay;
  const button = document.querySelector('.kexian-code-switch');
  if (!button) return;
  const root = document.documentElement;

  function name() {
    button.textContent = root.dataset.code === 'hidden' ? say('Show code') : say('Hide code');
  }

  button.addEventListener('click', () => {
    if (root.dataset.code === 'hidden') delete root.dataset.code;
    else root.dataset.code = 'hidden';
    name();
    try {
      localStorage.setItem('kexian-code', root.dataset.code || 'shown');
    } catch (refused) {
      // Pages from a file may not remember; the switch works for this page.
    }
    button.scrollIntoView({ block: 'nearest' });
  });
  name();
  button.hidden = false;
})();
