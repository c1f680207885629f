// Small repairs of the theme's behaviour.
(() => {
  // The contents of a page open in a dialog on phones. A link in it leads to a place below the
  // dialog, so it closes.
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (event.target.closest('a[href*="#"]')) dialog.close();
    });
  }
  // The search is loaded when it is used: on its page, in its dialog, and where a hit has led.
  const finder = document.createElement('script');
  finder.src = `${document.documentElement.dataset.content_root}_static/search.js`;
  const box = document.getElementById('pst-search-dialog');
  const needed = document.querySelector('form.kexian-search') || new URLSearchParams(location.search).has('marks');
  if (needed) document.head.append(finder);
  if (box) {
    box.addEventListener('focusin', () => {
      if (window.kexianSearchDialog) window.kexianSearchDialog(box);
      else {
        finder.addEventListener('load', () => window.kexianSearchDialog(box));
        if (!finder.isConnected) document.head.append(finder);
      }
    }, { once: true });
  }
  // A browser does not save a file that lies beside the page: it opens it. A new tab keeps the page.
  if (window.location.protocol === 'file:') {
    for (const link of document.querySelectorAll('.kexian-bar a[download]')) {
      link.target = '_blank';
      link.title = 'Opens as text here; to save it, right-click and choose "Save link as"';
    }
  }
})();
