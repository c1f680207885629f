// Small repairs of the theme's behaviour.
(() => {
  // The contents of a page open in a dialog on phones. A link in it leads to a place below the
  // dialog, so it closes.
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      if (event.target.closest('a[href*="#"]')) dialog.close();
    });
  }
  // A table that is wider than the page fades where it goes on.
  const sized = new ResizeObserver((changed) => changed.forEach(({ target }) => fade(target)));
  function fade(box) {
    const left = Math.round(box.scrollLeft);
    box.classList.toggle('kx-left', left > 1);
    box.classList.toggle('kx-right', left + box.clientWidth < box.scrollWidth - 1);
  }
  for (const box of document.querySelectorAll('.pst-scrollable-table-container')) {
    box.addEventListener('scroll', () => fade(box), { passive: true });
    sized.observe(box);
  }
  // The switch of languages leads to the section that is being read.
  const other = document.querySelector('.kexian-language');
  if (other) {
    other.addEventListener('click', () => {
      const above = [...document.querySelectorAll('.bd-article section section[id]')]
        .filter((section) => section.getBoundingClientRect().top < 160);
      other.hash = above.length ? above.pop().id : '';
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
  // A browser opens a file that lies beside the page instead of saving it. A copy of the notebook
  // comes as a script, and is saved from memory.
  async function save(link) {
    const script = document.createElement('script');
    script.src = link.href.replace(/\.ipynb$/, '.js');
    await new Promise((done, failed) => {
      script.onload = done;
      script.onerror = failed;
      document.head.append(script);
    });
    const packed = Uint8Array.from(atob(window.kexianNotebook), (one) => one.charCodeAt(0));
    const whole = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    const saved = document.createElement('a');
    saved.href = URL.createObjectURL(await new Response(whole).blob());
    saved.download = link.href.split('/').pop();
    saved.click();
    window.setTimeout(() => URL.revokeObjectURL(saved.href), 1000);
  }
  if (window.location.protocol === 'file:') {
    for (const link of document.querySelectorAll('a[href*="_sources/"][href$=".ipynb"]')) {
      link.addEventListener('click', (event) => {
        event.preventDefault();
        save(link).catch(() => window.open(link.href, '_blank'));  // then "Save as" of the browser
      });
    }
  }
})();
