"use strict";
// The attention viewer. What it shows lies in the element attention-data: views (inputs) of layers of maps, whose weights are
// bytes, each row with a scale of its own. Text of the bundle is put into the page as text and nothing else.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("attention-data").textContent);
  const part = (name) => byId(`viewer-${name}`);
  const at = { view: 0, layer: 0, head: 0, entry: 0 };
  const views = data.views.filter((view) => view.layers.length);
  const MEAN = -1;

  // --- weights ---

  function bytes(text) {
    const raw = atob(text);
    const found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found;
  }

  function unpacked(view, layer) {
    if (!layer.levels) {
      layer.levels = bytes(layer.weights);
      layer.largest = new Float32Array(bytes(layer.scales).buffer);
      layer.queries = view.axes[layer.query].size;
      layer.keys = view.axes[layer.key].size;
    }
    return layer;
  }

  function row(layer, head, query) {
    const found = new Float32Array(layer.keys);
    const heads = head === MEAN ? [...Array(layer.heads).keys()] : [head];
    for (const h of heads) {
      const place = h * layer.queries + query;
      const scale = layer.largest[place] / 255 / heads.length;
      for (let key = 0; key < layer.keys; key++) found[key] += layer.levels[place * layer.keys + key] * scale;
    }
    return found;
  }

  const greatest = (weights) => weights.reduce((most, weight) => Math.max(most, weight), 0);

  // --- names ---

  function named(axis, entry) {
    if (axis.kind === "words") return `“${axis.labels[entry]}”`;
    if (axis.kind === "frames") return `${(entry * axis.seconds).toFixed(2)} s`;
    if (axis.kind === "grid" && entry < axis.skip) return "class token";
    if (axis.kind === "grid") {
      const cell = entry - axis.skip;
      return `row ${Math.floor(cell / axis.columns)}, column ${cell % axis.columns}`;
    }
    return `entry ${entry}`;
  }

  const percent = (weight) => `${(weight * 100).toFixed(weight < 0.0995 ? 1 : 0)} %`;

  function told(layer, query, key, weights, entry) {
    const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a] || a - b).slice(0, 5);
    const most = best.filter((i) => weights[i] > 0).map((i) => `${named(key, i)} ${percent(weights[i])}`);
    return `${named(query, entry)} looks at ${most.join(", ") || "nothing"}`;
  }

  // --- drawing ---

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function canvasOf(width, height) {
    const canvas = document.createElement("canvas");
    const sharp = Math.min(window.devicePixelRatio || 1, 3);
    canvas.width = Math.round(width * sharp);
    canvas.height = Math.round(height * sharp);
    canvas.style.width = `${width}px`;
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    return [canvas, pen];
  }

  function rgb(name) {
    const value = parseInt(colour(name).slice(1), 16);
    return colour(name).length === 4
      ? [1, 2, 3].map((i) => parseInt(colour(name)[i].repeat(2), 16))
      : [(value >> 16) & 255, (value >> 8) & 255, value & 255];
  }

  // Entries along a panel: words as they are, cells over the picture, moments along the waveform, numbers as a strip.
  class Panel {
    constructor(host, view, axis) {
      Object.assign(this, { host, view, axis, pointed: -1, weights: null });
      host.replaceChildren();
      this.words = [];
      const first = axis.kind === "words" ? axis.size : axis.kind === "grid" ? axis.skip : 0;
      for (let entry = 0; entry < first; entry++) this.addWord(entry);
      if (axis.kind === "words") return;
      const shape = this.shape();
      [this.canvas, this.pen] = canvasOf(shape.width, shape.height);
      Object.assign(this, shape);
      host.append(this.canvas);
      if (view.picture && axis.kind === "grid") {
        this.image = new Image();
        this.image.onload = () => this.paint(this.weights, this.pointed);
        this.image.src = view.picture;
      }
    }

    addWord(entry) {
      const word = document.createElement("span");
      word.className = "word";
      word.textContent = this.axis.kind === "words" ? this.axis.labels[entry] : named(this.axis, entry);
      word.dataset.entry = entry;
      this.words.push(word);
      this.host.append(word, " ");
    }

    shape() {
      if (this.axis.kind !== "grid") return { width: 680, height: this.axis.kind === "frames" ? 120 : 44 };
      const side = 320 / Math.max(this.axis.rows, this.axis.columns);
      return { width: side * this.axis.columns, height: side * this.axis.rows };
    }

    entryAt(event) {
      if (event.target.dataset.entry !== undefined) return Number(event.target.dataset.entry);
      if (event.target !== this.canvas) return null;
      const box = this.canvas.getBoundingClientRect();
      const x = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.9999);
      const y = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 0.9999);
      if (this.axis.kind !== "grid") return Math.floor(x * this.axis.size);
      return this.axis.skip + Math.floor(y * this.axis.rows) * this.axis.columns + Math.floor(x * this.axis.columns);
    }

    box(entry) {
      if (this.axis.kind !== "grid") {
        const wide = this.width / this.axis.size;
        return [entry * wide, 0, wide, this.height];
      }
      const cell = entry - this.axis.skip;
      const [wide, high] = [this.width / this.axis.columns, this.height / this.axis.rows];
      return [(cell % this.axis.columns) * wide, Math.floor(cell / this.axis.columns) * high, wide, high];
    }

    paint(weights, pointed) {
      this.weights = weights;
      this.pointed = pointed;
      const most = (weights && greatest(weights)) || 1;
      this.words.forEach((word, entry) => {
        const share = weights ? (weights[entry] / most) * 85 : 0;
        word.style.backgroundColor = weights ? `color-mix(in srgb, var(--heat) ${share.toFixed(1)}%, var(--band))` : "";
        word.classList.toggle("pointed", entry === pointed);
        word.title = weights ? percent(weights[entry]) : "";
      });
      if (this.canvas) this.paintCanvas(weights, pointed, most);
    }

    paintCanvas(weights, pointed, most) {
      const pen = this.pen;
      const start = this.axis.kind === "grid" ? this.axis.skip : 0;
      pen.clearRect(0, 0, this.width, this.height);
      pen.fillStyle = colour("--band");
      pen.fillRect(0, 0, this.width, this.height);
      if (this.image && this.image.complete) {
        pen.imageSmoothingEnabled = false;
        pen.filter = weights ? "grayscale(1) brightness(0.7)" : "none";
        pen.drawImage(this.image, 0, 0, this.width, this.height);
        pen.filter = "none";
      }
      const [red, green, blue] = rgb("--heat");
      for (let entry = start; weights && entry < this.axis.size; entry++) {
        pen.fillStyle = `rgba(${red},${green},${blue},${(0.85 * weights[entry]) / most})`;
        pen.fillRect(...this.box(entry));
      }
      if (this.axis.kind === "frames") this.paintWave();
      if (pointed >= start) {
        const [x, y, wide, high] = this.box(pointed);
        pen.strokeStyle = colour("--bar");
        pen.lineWidth = 3;
        pen.strokeRect(x + 1, y + 1, Math.max(wide - 2, 2), high - 2);
      }
    }

    paintWave() {
      const pen = this.pen;
      const wave = this.view.wave || [];
      // What is heard may be shorter or longer than the frames, which lie at their seconds.
      const width = this.view.seconds ? (this.view.seconds / (this.axis.size * this.axis.seconds)) * this.width : 0;
      const middle = this.height / 2 - 8;
      pen.fillStyle = colour("--ink");
      wave.forEach(([low, high], i) => {
        const top = middle - (high / 100) * middle;
        const tall = Math.max(((high - low) / 100) * middle, 1);
        pen.fillRect((i / wave.length) * width, top, Math.max(width / wave.length - 0.3, 0.5), tall);
      });
      pen.fillStyle = colour("--soft");
      pen.font = "11px system-ui, sans-serif";
      pen.textAlign = "left";
      pen.fillText("0 s", 2, this.height - 3);
      pen.textAlign = "right";
      pen.fillText(`${(this.axis.size * this.axis.seconds).toFixed(2)} s`, this.width - 2, this.height - 3);
    }
  }

  // All weights of a head, a pixel each.
  function shades(layer, head) {
    const small = document.createElement("canvas");
    [small.width, small.height] = [layer.keys, layer.queries];
    const pixels = new ImageData(layer.keys, layer.queries);
    const rows = [...Array(layer.queries).keys()].map((query) => row(layer, head, query));
    const most = greatest(rows.map(greatest)) || 1;
    const [heat, ground] = [rgb("--heat"), rgb("--ground")];
    rows.forEach((weights, query) =>
      weights.forEach((weight, key) => {
        const share = weight / most;
        const place = (query * layer.keys + key) * 4;
        for (let i = 0; i < 3; i++) pixels.data[place + i] = ground[i] + (heat[i] - ground[i]) * share;
        pixels.data[place + 3] = 255;
      }),
    );
    small.getContext("2d").putImageData(pixels, 0, 0);
    return small;
  }

  function enlarge(small, canvas, width, height) {
    [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = small.width > width;
    pen.drawImage(small, 0, 0, width, height);
    return pen;
  }

  function sized(layer, most) {
    const scale = most / Math.max(layer.keys, layer.queries);
    return [layer.keys * scale, layer.queries * scale].map((side) => Math.max(Math.round(side), 12));
  }

  // --- state ---

  let panels = { query: null, key: null, same: true };
  let whole = null; // the shades of the head that is shown

  const view = () => views[at.view];
  const layer = () => unpacked(view(), view().layers[at.layer]);
  const axes = () => [view().axes[layer().query], view().axes[layer().key]];

  function fill(select, names, chosen) {
    select.replaceChildren(
      ...names.map(([value, name]) => {
        const option = document.createElement("option");
        [option.value, option.textContent, option.selected] = [value, name, value === chosen];
        return option;
      }),
    );
    part(`${select.id.replace("viewer-", "")}-label`).hidden = names.length < 2;
  }

  function showView() {
    const several = new Set(view().layers.map((one) => one.graph)).size > 1;
    at.layer = Math.min(at.layer, view().layers.length - 1);
    fill(part("input"), views.map((one, i) => [i, one.title]), at.view);
    fill(part("layer"), view().layers.map((one, i) => [i, several ? `${one.graph}: ${one.name}` : one.name]), at.layer);
    part("title").textContent = [view().title, ...view().notes].join("; ");
    showLayer();
  }

  function showLayer() {
    const one = layer();
    const single = one.averaged ? [[0, "mean of heads"]] : [...Array(one.heads).keys()].map((i) => [i, `head ${i}`]);
    const choices = one.heads > 1 ? [[MEAN, "mean of heads"], ...single] : single;
    if (!choices.some(([value]) => value === at.head)) at.head = choices[0][0];
    fill(part("head"), choices, at.head);
    part("layer").value = at.layer;
    const [query, key] = axes();
    at.entry = Math.min(at.entry, query.size - 1);
    const same = one.query === one.key;
    panels = { same, query: new Panel(part("query"), view(), query), key: null };
    if (!same) panels.key = new Panel(part("key"), view(), key);
    part("other").hidden = same;
    part("query-title").textContent = `${same ? "Point at an entry" : "What looks"}: ${query.what}`;
    part("key-title").textContent = `What it looks at: ${key.what}`;
    const slider = part("query");
    slider.setAttribute("aria-valuemin", 0);
    slider.setAttribute("aria-valuemax", query.size - 1);
    showHeads(choices);
    showHead();
  }

  function showHeads(choices) {
    const one = layer();
    const shown = choices.length > 1 && choices.length <= 33 ? choices : [];
    part("heads").replaceChildren(
      ...shown.map(([value, name]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.head = value;
        const canvas = document.createElement("canvas");
        enlarge(shades(one, value), canvas, 72, 72);
        button.append(canvas, name);
        button.addEventListener("click", () => choose("head", value));
        return button;
      }),
    );
  }

  function showHead() {
    part("head").value = at.head;
    whole = shades(layer(), at.head);
    for (const button of part("heads").children) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.head) === at.head));
    }
    showEntry();
  }

  function showEntry() {
    const one = layer();
    const [query, key] = axes();
    const weights = row(one, at.head, at.entry);
    panels.query.paint(panels.same ? weights : null, at.entry);
    if (panels.key) panels.key.paint(weights, -1);
    const words = told(one, query, key, weights, at.entry);
    part("told").textContent = words;
    part("query").setAttribute("aria-valuenow", at.entry);
    part("query").setAttribute("aria-valuetext", words);
    const [width, height] = sized(one, 260);
    const pen = enlarge(whole, part("map"), width, height);
    pen.strokeStyle = colour("--bar");
    pen.lineWidth = 2;
    pen.strokeRect(1, (at.entry / one.queries) * height, width - 2, Math.max(height / one.queries, 2));
    part("map").setAttribute("aria-label", "all weights of the head: rows look, columns are looked at");
  }

  const shows = { view: showView, layer: showLayer, head: showHead, entry: showEntry };

  function choose(what, value) {
    if (at[what] === value) return;
    at[what] = value;
    shows[what]();
  }

  function step(what, select, by) {
    const values = [...select.options].map((option) => Number(option.value));
    const next = values[values.indexOf(at[what]) + by];
    if (next !== undefined) choose(what, next);
  }

  // --- what the user does ---

  function move(key) {
    const [query] = axes();
    const down = query.kind === "grid" ? query.columns : 1;
    const to = { ArrowLeft: at.entry - 1, ArrowRight: at.entry + 1, ArrowUp: at.entry - down, ArrowDown: at.entry + down,
      Home: 0, End: query.size - 1 }[key];
    if (to === undefined) return false;
    choose("entry", Math.min(Math.max(to, 0), query.size - 1));
    return true;
  }

  const jumps = { "[": ["head", -1], "]": ["head", 1], "{": ["layer", -1], "}": ["layer", 1] };

  byId("viewer").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in jumps) {
      const [what, by] = jumps[event.key];
      step(what, part(what), by);
    } else if (event.target !== part("query") || !move(event.key)) return;
    event.preventDefault();
  });
  for (const name of ["pointermove", "pointerdown"]) {
    part("query").addEventListener(name, (event) => {
      const entry = panels.query.entryAt(event);
      if (entry !== null) choose("entry", entry);
    });
  }
  part("map").addEventListener("pointerdown", (event) => {
    const box = part("map").getBoundingClientRect();
    const share = Math.min(Math.max((event.clientY - box.top) / box.height, 0), 0.9999);
    choose("entry", Math.floor(share * layer().queries));
  });
  for (const [name, what] of [["input", "view"], ["layer", "layer"], ["head", "head"]]) {
    part(name).addEventListener("change", (event) => choose(what, Number(event.target.value)));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showLayer);
  matchMedia("print").addEventListener("change", showLayer);

  // Where an answer looks at a source is what most people come for.
  const acrossTexts = (view, one) =>
    one.query !== one.key && [one.query, one.key].every((axis) => view.axes[axis].kind === "words");

  if (views.length) {
    at.head = MEAN;
    at.layer = Math.max(views[0].layers.findLastIndex((one) => acrossTexts(views[0], one)), 0);
    showView();
  }
})();
