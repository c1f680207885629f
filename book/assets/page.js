// Small repairs of the theme's behaviour.
(() => {
  // The contents of a page open in a dialog on phones. A link in it leads to a place below the
  // dialog, so it closes.
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (event.target.closest('a[href*="#"]')) dialog.close();
    });
  }
  // A browser does not save a file that lies beside the page: it opens it. A new tab keeps the page.
  if (window.location.protocol === 'file:') {
    for (const link of document.querySelectorAll('.kexian-bar a[download]')) {
      link.target = '_blank';
      link.title = 'Opens as text here; to save it, right-click and choose "Save link as"';
    }
  }
})();
