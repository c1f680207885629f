// A figure is seen larger, over the page, when it is pressed; a press, Escape or "back" returns.
(() => {
  const say = window.kexianSay;
  const dialog = document.createElement('dialog');
  dialog.className = 'kexian-large';
  dialog.setAttribute('aria-label', say('The figure, larger'));
  const close = document.createElement('button');
  close.type = 'button';
  close.textContent = say('Close');
  dialog.append(close);
  dialog.addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => {
    dialog.querySelector('img').remove();
    if (window.history.state === 'kexian-large') window.history.back();
  });
  window.addEventListener('popstate', () => { if (dialog.open) dialog.close(); });
  document.addEventListener('click', (event) => {
    const link = event.target.closest('.cell_output a.image-reference');  // to the file
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const picture = link.querySelector('img');
    const large = new Image();
    large.src = picture.src;
    large.alt = picture.alt;
    large.className = picture.className;
    // As large as it was drawn, or as the window is wide.
    large.style.width = `max(100%, ${picture.style.width || '600px'})`;
    dialog.append(large);
    document.body.append(dialog);
    dialog.showModal();
    window.history.pushState('kexian-large', '');
  });
})();
