// What the scripts of the pages say. The build writes another file in its place for the edition in
// another language, with its words in the table.
window.kexianWords = {};
window.kexianSay = (text, ...values) =>
  (window.kexianWords[text] || text).replace(/\{(\d+)\}/g, (_, k) => values[k - 1]);
