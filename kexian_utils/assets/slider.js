// Draws one interactive figure from the JSON that stands beside it. Frames were computed in Python;
// this only turns integers into SVG paths. No other file or host is needed.
(function () {
  "use strict";
  var NS = "http://www.w3.org/2000/svg";
  var WIDTH = 400, HEIGHT = 330, LEFT = 58, RIGHT = 14, TOP = 10, BOTTOM = 46;

  function svg(name, attributes, parent) {
    var node = document.createElementNS(NS, name);
    for (var key in attributes) node.setAttribute(key, attributes[key]);
    if (parent) parent.appendChild(node);
    return node;
  }

  function html(name, className, parent, text) {
    var node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }

  function languageOf(text) { return /[\u4e00-\u9fff]/.test(text) ? "zh" : "en"; }

  // Coordinates are integers 0..unit inside the axes; a polyline is [x0, y0, dx1, dy1, ...].
  function toX(value, unit) { return LEFT + (value / unit) * (WIDTH - LEFT - RIGHT); }
  function toY(value, unit) { return HEIGHT - BOTTOM - (value / unit) * (HEIGHT - TOP - BOTTOM); }

  function pathOf(deltas, unit) {
    var x = 0, y = 0, parts = [];
    for (var i = 0; i + 1 < deltas.length; i += 2) {
      x += deltas[i];
      y += deltas[i + 1];
      parts.push((i ? "L" : "M") + toX(x, unit).toFixed(1) + " " + toY(y, unit).toFixed(1));
    }
    return parts.join("");
  }

  function Axes(panel, data, parent, key) {
    var box = html("div", "kx-panel", parent);
    if (panel.title) html("p", "kx-panel-title", box, panel.title);
    var root = svg("svg", { viewBox: "0 0 " + WIDTH + " " + HEIGHT, "aria-hidden": "true" }, box);
    var unit = data.unit, clip = key + "-clip";
    var inside = { x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM };
    svg("rect", inside, svg("clipPath", { id: clip }, svg("defs", {}, root)));
    var heat = panel.kind === "heat";
    this.rows = panel.yticks.length;
    this.columns = panel.xticks.length;
    panel.xticks.forEach(function (tick) {
      var x = toX(tick[0], unit), y = HEIGHT - BOTTOM + 12;
      if (heat) {
        svg("text", { "class": "kx-small", lang: languageOf(tick[1]), transform: "translate(" + (x + 4) + " " + y + ") rotate(-40)", "text-anchor": "end" }, root).textContent = tick[1];
        return;
      }
      svg("line", { "class": "kx-tick", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }, root);
      svg("text", { x: x, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, root).textContent = tick[1];
    });
    panel.yticks.forEach(function (tick) {
      var y = toY(tick[0], unit);
      if (!heat) svg("line", { "class": "kx-tick", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }, root);
      svg("text", { "class": heat ? "kx-small" : "", lang: languageOf(tick[1]), x: LEFT - 6, y: y + 4, "text-anchor": "end" }, root).textContent = tick[1];
    });
    svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, root).textContent = panel.xlabel;
    svg("text", {
      transform: "translate(14 " + (TOP + HEIGHT - BOTTOM) / 2 + ") rotate(-90)", "text-anchor": "middle"
    }, root).textContent = panel.ylabel;
    if (heat) html("p", "kx-scale", box).innerHTML = "0 <i></i> 1";
    this.unit = unit;
    this.levels = svg("g", { "clip-path": "url(#" + clip + ")" }, root);
    this.lines = svg("g", { "clip-path": "url(#" + clip + ")" }, root);
    // What the colours mean stands below: labels beside moving curves would hide each other.
    this.legend = html("ul", "kx-legend", box);
    svg("rect", Object.assign({ "class": "kx-frame" }, inside), root);
  }

  Axes.prototype.draw = function (frame) {
    var self = this, unit = this.unit;
    var entries = {};
    this.levels.textContent = this.lines.textContent = this.legend.textContent = "";
    (frame.heat || []).forEach(function (value, index) {
      var row = Math.floor(index / self.columns), column = index % self.columns;
      svg("rect", {
        x: toX(column * unit / self.columns, unit), y: toY(unit - row * unit / self.rows, unit),
        width: (WIDTH - LEFT - RIGHT) / self.columns, height: (HEIGHT - TOP - BOTTOM) / self.rows,
        style: "fill:var(--kx-c0);fill-opacity:" + value / 100
      }, self.levels);
    });
    var levels = frame.levels || [];
    levels.forEach(function (polylines, index) {
      var d = polylines.map(function (p) { return pathOf(p, unit); }).join("");
      // The lowest levels (the valley) are drawn strongest.
      var opacity = 1 - 0.7 * index / Math.max(levels.length - 1, 1);
      if (d) svg("path", { "class": "kx-level", d: d, "stroke-opacity": opacity.toFixed(2) }, self.levels);
    });
    (frame.lines || []).forEach(function (line) {
      var colour = "var(--kx-c" + line.c + ")";
      svg("path", { "class": "kx-line", d: pathOf(line.p, unit), style: "stroke:" + colour }, self.lines);
      if (line.m) {
        var x = 0, y = 0;
        for (var i = 0; i + 1 < line.p.length; i += 2) {
          x += line.p[i]; y += line.p[i + 1];
          svg("circle", { cx: toX(x, unit).toFixed(1), cy: toY(y, unit).toFixed(1), r: i ? 2.6 : 4.5, style: "fill:" + colour }, self.lines);
        }
      }
      if (!line.t || entries[line.t + line.c]) return;
      entries[line.t + line.c] = true;
      var entry = html("li", "", self.legend, line.t);
      entry.lang = languageOf(line.t);
      entry.style.setProperty("--kx-entry", colour);
      if (line.m) entry.className = "kx-marked";
    });
  };

  function start(root) {
    var data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    var live = root.querySelector(".kx-live");
    live.textContent = "";
    var key = root.id, inputs = [], outputs = [], axes = {}, texts = {};
    var controls = html("div", "kx-controls", live);
    data.sliders.forEach(function (slider, index) {
      var control = html("div", "kx-control", controls);
      var label = html("label", "", control);
      label.htmlFor = key + "-s" + index;
      html("span", "", label, slider.label);
      var output = html("output", "", label);
      output.htmlFor = label.htmlFor;
      var input = html("input", "", control);
      input.type = "range";
      input.id = label.htmlFor;
      input.min = 0;
      input.max = slider.texts.length - 1;
      input.step = 1;
      input.value = slider.start;
      input.addEventListener("input", draw);
      inputs.push(input);
      outputs.push(output);
    });
    var panels = html("div", "kx-panels", live);
    data.panels.forEach(function (panel, index) {
      if (panel.kind !== "text") { axes[index] = new Axes(panel, data, panels, key + "-p" + index); return; }
      var list = html("div", "kx-readouts", live);
      list.setAttribute("aria-live", "polite");
      texts[index] = panel.labels.map(function (label) {
        var row = html("div", "", list);
        html("span", "kx-name", row, label);
        return html("span", "kx-value", row);
      });
    });

    function draw() {
      var position = 0;
      inputs.forEach(function (input, index) {
        var slider = data.sliders[index], value = Number(input.value);
        position = position * slider.texts.length + value;
        outputs[index].textContent = slider.texts[value];
        input.setAttribute("aria-valuetext", slider.texts[value]);
      });
      data.panels.forEach(function (panel, index) {
        var frame = data.frames[position][index];
        if (axes[index]) axes[index].draw(frame);
        else texts[index].forEach(function (cell, row) {
          cell.textContent = frame[row];
          cell.lang = languageOf(frame[row]);
        });
      });
      root.setAttribute("data-frame", position);
    }

    draw();
    live.hidden = false;
    var fallback = root.querySelector(".kx-fallback");
    if (fallback) fallback.classList.add("kx-hidden");
    root.setAttribute("data-ready", "true");
  }

  document.querySelectorAll(".kexian-slider:not([data-ready])").forEach(start);
})();
