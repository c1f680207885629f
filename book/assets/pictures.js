// A figure is seen larger, over the page, when it is pressed; a press, Escape or "back" returns.
(() => {
  const dialog = document.createElement('dialog');
  dialog.className = 'kexian-large';
  dialog.setAttribute('aria-label', 'The figure, larger');
  const close = document.createElement('button');
  close.type = 'button';
  close.textContent = 'Close';
  dialog.append(close);
  dialog.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    dialog.querySelector('img').remove();
    if (window.history.state === 'kexian-large') window.history.back();
  });
  window.addEventListener('popstate', () => { if (dialog.open) dialog.close(); });
  document.addEventListener('click', (event) => {
    const picture = event.target.closest('.cell_output img:not(.kx-fallback)');
    if (!picture || picture.closest('a, dialog')) return;
    const large = new Image();
    large.src = picture.currentSrc;
    large.alt = picture.alt;
    // As large as it was drawn, or as the window is wide.
    large.style.width = `max(100%, ${picture.getAttribute('width') || 600}px)`;
    dialog.append(large);
    document.body.append(dialog);
    dialog.showModal();
    window.history.pushState('kexian-large', '');
  });
})();
