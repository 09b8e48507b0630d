// What the pages can do with scripts: sort, filter, pick, compare, draw. Without them the tables stand as they are.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);
  const made = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // ---- light and dark
  const isDark = () => root.dataset.theme === "dark" ||
    (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  const redraw = [];
  one("button.theme")?.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("ioi-bench-theme", root.dataset.theme); } catch { /* not kept, then */ }
    redraw.forEach((again) => again());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw.forEach((again) => again()));

  // ---- the tables of suites
  const MANY = 100;
  const tables = all("table[data-ranking]").map((table) => {
    const [skyline, random] = all("tbody.reference", table);
    skyline.remove();
    random.remove();
    const body = one("tbody.suites", table);
    const rank = all("thead th", table).findIndex((cell) => cell.classList.contains("c-rank"));
    const picks = rank > 0 ? [{ targets: 0, orderable: false, searchable: false }] : [];
    const long = body.rows.length > MANY;
    const rows = [...body.rows]; // as DataTables counts them; asking it for each would look through all each time
    const data = new DataTable(table, {
      autoWidth: false,
      paging: long,
      pageLength: MANY,
      order: [[rank, "asc"]],
      orderMulti: true,
      columnDefs: [...picks, { targets: rank, orderSequence: ["asc", "desc"] }, // of two that fit a column, the first counts
        { targets: ["num", "c-score"], orderSequence: ["desc", "asc"] }, { targets: "_all", orderSequence: ["asc", "desc"] }],
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: long ? "paging" : null },
      language: { zeroRecords: "No suite fits these filters.", emptyTable: "No suites." },
    });
    body.before(skyline);
    body.after(random);
    return { rows, data, section: table.closest("section") };
  });

  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const filters = () => {
    const value = (selector) => one(selector)?.value ?? "";
    const bound = (selector, none) => (value(selector) === "" ? none : Number(value(selector)));
    return {
      words: words(value(".search")), architecture: value(".f-architecture"), badge: value(".f-badge"),
      low: bound(".f-l0-low", -Infinity), high: bound(".f-l0-high", Infinity),
    };
  };
  const texts = new WeakMap();
  const textOf = (row) => {
    if (!texts.has(row)) texts.set(row, `${one(".c-name", row).textContent} ${row.dataset.architecture}`.toLowerCase());
    return texts.get(row);
  };
  const fits = (row, wanted) => {
    const { architecture, badge, l0 } = row.dataset;
    return wanted.words.every((word) => textOf(row).includes(word)) &&
      (!wanted.architecture || architecture === wanted.architecture) && (!wanted.badge || badge === wanted.badge) &&
      ((wanted.low === -Infinity && wanted.high === Infinity) ||
        (l0 !== "" && Number(l0) >= wanted.low && Number(l0) <= wanted.high));
  };
  const filter = () => {
    const wanted = filters();
    for (const { rows, data, section } of tables) {
      data.search.fixed("wanted", (_text, _data, index) => fits(rows[index], wanted));
      data.draw();
      const info = data.page.info();
      const found = one(".found", section);
      if (found) found.textContent = info.recordsDisplay < info.recordsTotal
        ? `Showing ${info.recordsDisplay} of ${info.recordsTotal} suites.` : `${info.recordsTotal} ${info.recordsTotal === 1 ? "suite" : "suites"}.`;
    }
  };
  const controls = one(".controls[role=search]");
  if (controls) {
    let soon;
    controls.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(filter, 80); });
    one(".reset", controls).addEventListener("click", () => {
      all("input", controls).forEach((input) => { input.value = ""; });
      all("select", controls).forEach((select) => { select.selectedIndex = 0; });
      filter();
    });
    filter();
  }

  // ---- one track at a time
  const tracks = all("section.track[data-track]");
  const show = (number) => {
    tracks.forEach((section) => { section.hidden = section.dataset.track !== number; });
    all(".tracks button").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.track === number)));
    redraw.forEach((again) => again());
  };
  if (tracks.length > 1) {
    all(".tracks button").forEach((button) => button.addEventListener("click", () => show(button.dataset.track)));
  }

  // ---- two picked suites
  const picked = new Map();
  const bar = one(".picked");
  const tell = () => {
    bar.hidden = picked.size === 0;
    const names = [...picked.values()];
    one(".who", bar).textContent = names.length === 2 ? `${names[0]} and ${names[1]}` : `${names[0] ?? ""}: pick a second suite`;
    const [a, b] = [...picked.keys()];
    const go = one(".go", bar);
    go.hidden = picked.size < 2;
    go.href = `compare.html?a=${encodeURIComponent(a ?? "")}&b=${encodeURIComponent(b ?? "")}`;
  };
  const box = (slug) => tables.map(({ rows }) =>
    rows.find((row) => row.dataset.slug === slug)).find(Boolean)?.querySelector("input");
  if (bar) {
    document.addEventListener("change", (event) => {
      const row = event.target.closest?.(".c-pick") && event.target.closest("tr");
      if (!row) return;
      if (event.target.checked) picked.set(row.dataset.slug, row.dataset.name);
      else picked.delete(row.dataset.slug);
      if (picked.size > 2) { // the one picked first gives way
        const [first] = picked.keys();
        picked.delete(first);
        const input = box(first);
        if (input) input.checked = false;
      }
      tell();
    });
    one(".clear", bar).addEventListener("click", () => {
      for (const slug of picked.keys()) { const input = box(slug); if (input) input.checked = false; }
      picked.clear();
      tell();
    });
  }

  // ---- the figure
  const tip = made("div", { class: "tip", "aria-hidden": "true" });
  tip.hidden = true;
  document.body.append(tip);
  const tooltip = (_handler, event, item, value) => {
    const datum = value !== null && item?.datum?.kind ? item.datum : null; // null: the pointer has left
    tip.hidden = !datum;
    if (!datum) return;
    const number = (value) => value.toFixed(3);
    const lines = [`accuracy ${number(datum.accuracy)}`, `weight ${number(datum.weight)}`];
    if (datum.score) lines.unshift(`IOI score ${datum.score}`);
    if (datum.architecture) lines.push(`${datum.architecture}, L0 ${datum.l0}`);
    tip.replaceChildren(made("b", {}, datum.name), ...lines.map((line) => made("span", {}, line)));
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 8))}px`;
  };
  const config = () => {
    const style = getComputedStyle(root);
    const colour = (name) => {
      const probe = made("i", { class: `probe-${name}` });
      document.body.append(probe);
      const found = getComputedStyle(probe).color;
      probe.remove();
      return found;
    };
    const ink = colour("ink"), muted = colour("muted"), line = colour("line");
    const font = style.fontFamily || "system-ui, sans-serif";
    return {
      background: "transparent", font,
      axis: { labelColor: muted, titleColor: muted, domainColor: line, tickColor: line, gridColor: line,
        gridOpacity: 0.6, titleFontWeight: "normal", labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12 },
      legend: { labelColor: ink, titleColor: muted, titleFontWeight: "normal", labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12 },
      view: { stroke: null }, params: [],
    };
  };
  const figures = all(".chart[data-spec]").map((chart) => {
    const spec = JSON.parse(document.getElementById(chart.dataset.spec).textContent);
    const choice = one("select.budget", chart.closest("figure"));
    const holder = made("div", { class: "vega", role: "img", "aria-label": one("svg", chart)?.getAttribute("aria-label") ?? "" });
    let view = null, width = 0;
    const draw = async () => {
      if (chart.closest("section")?.hidden) return;
      const narrow = chart.clientWidth < 620;
      width = chart.clientWidth;
      const settings = config();
      settings.legend.orient = narrow ? "bottom" : "right";
      settings.legend.columns = narrow ? 3 : 1;
      const drawn = JSON.parse(JSON.stringify(spec), (key, value) => (key === "orient" && narrow ? "bottom" : value));
      if (!chart.contains(holder)) chart.append(holder);
      view?.finalize?.();
      const result = await vegaEmbed(holder, drawn, {
        actions: false, renderer: "canvas", ast: true, defaultStyle: false, config: settings, tooltip,
      });
      view = result.view;
      chart.classList.add("drawn");
      view.signal("ink", isDark() ? "#c9ccd1" : "#4a4f57");
      if (choice) view.signal("budget", Number(choice.value));
      view.addEventListener("click", (_event, item) => {
        const page = item?.datum?.page;
        if (typeof page === "string") location.href = page;
      });
      await view.runAsync();
      holder.ioiView = view; // for whoever looks from outside: the browser's tools, tests
    };
    choice?.addEventListener("change", () => { view?.signal("budget", Number(choice.value)).runAsync(); });
    addEventListener("resize", () => { if ((chart.clientWidth < 620) !== (width < 620)) draw(); });
    return draw;
  });
  redraw.push(...figures);
  if (tracks.length > 1) show(tracks[0].dataset.track);
  else figures.forEach((draw) => draw());

  // ---- commands to copy
  all("button.copy").forEach((button) => button.addEventListener("click", async () => {
    const code = one("code", button.parentElement);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch { // no permission, as on a file: select it, for the reader's own keys
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }));

  // ---- two suites beside each other
  const target = one(".compared");
  if (!target) return;
  const script = (path) => new Promise((resolve, reject) => {
    const element = made("script", { src: path });
    element.onload = resolve;
    element.onerror = () => reject(new Error(path));
    document.head.append(element);
  });
  const SLUG = /^[A-Za-z0-9._-]{1,200}$/;
  const records = new Map();
  const load = (slug) => {
    if (!SLUG.test(slug)) return Promise.reject(new Error("no such suite"));
    if (!records.has(slug)) {
      records.set(slug, new Promise((resolve, reject) => {
        window.ioiBench.expect(slug, resolve);
        script(`data/${slug}.js`).catch(reject);
      }));
    }
    return records.get(slug);
  };
  const number = (value, digits = 3) => {
    const text = value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
  };
  const quantile = (sorted, share) => {
    const at = share * (sorted.length - 1), low = Math.floor(at), high = Math.ceil(at);
    return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
  };
  const difference = (a, b) => {
    if (a.paired && a.paired === b.paired) {
      const both = a.draws.slice(1).map((value, i) => (value - b.draws[i + 1]) / 10000).sort((x, y) => x - y);
      const value = (a.draws[0] - b.draws[0]) / 10000;
      // As in bootstrap.intervals: where the draws are biased, the side that they have left goes out by twice that.
      const bias = both.reduce((sum, x) => sum + x, 0) / both.length - value;
      const low = quantile(both, 0.025) - 2 * Math.max(bias, 0), high = quantile(both, 0.975) - 2 * Math.min(bias, 0);
      return { value, low, high, paired: true };
    }
    const [va, la, ha] = a.score.map((x) => x ?? a.score[0]), [vb, lb, hb] = b.score.map((x) => x ?? b.score[0]);
    return { value: va - vb, low: va - vb - Math.hypot(va - la, hb - vb), high: va - vb + Math.hypot(ha - va, vb - lb), paired: false };
  };
  const verdict = (a, b) => {
    if (String(a.track) !== String(b.track)) return "They were judged on different tracks: their scores cannot be compared.";
    if (!a.score || !b.score) return "One of them has no score.";
    const found = difference(a, b);
    const how = found.paired ? "draw by draw over the same prompts" : "from two intervals, as if independent";
    const said = found.low <= 0 && found.high >= 0 ? "They are tied" : `${found.value > 0 ? a.name : b.name} is better`;
    return `${said}: the first less the second is ${number(found.value)} [${number(found.low)}, ${number(found.high)}], ${how}.`;
  };
  const cell = (line) => {
    const td = made("td", { class: "num" }, line ? line.text : "–");
    if (line?.interval) td.append(" ", made("span", { class: "interval" }, line.interval));
    return td;
  };
  const compared = (a, b) => {
    const key = (line) => JSON.stringify([line.section, line.label]);
    const right = new Map(b.lines.map((line) => [key(line), line]));
    const left = new Map(a.lines.map((line) => [key(line), line]));
    const keys = [...new Set([...left.keys(), ...right.keys()])];
    const sections = new Map();
    for (const one of keys) {
      const section = JSON.parse(one)[0];
      sections.set(section, [...(sections.get(section) ?? []), one]);
    }
    const head = (suite) => made("th", { scope: "col", class: "num" }, made("a", { href: `suites/${suite.slug}.html` }, suite.name));
    const table = made("table", { class: "beside" }, made("caption", { class: "sr" }, `${a.name} beside ${b.name}`),
      made("thead", {}, made("tr", {}, made("th", { scope: "col" }, "Figure"), head(a), head(b), made("th", { scope: "col", class: "num" }, "Difference"))));
    for (const [section, lines] of sections) {
      const body = made("tbody", {}, made("tr", { class: "section" }, made("th", { scope: "rowgroup", colspan: 4 }, section)));
      for (const one of lines) {
        const l = left.get(one), r = right.get(one), label = JSON.parse(one)[1];
        const cells = [cell(l), cell(r)];
        const both = typeof l?.value === "number" && typeof r?.value === "number";
        const intervals = both && [l.low, l.high, r.low, r.high].every((end) => typeof end === "number");
        const apart = intervals && (l.low > r.high || l.high < r.low);
        if (apart && l.direction !== "none") cells[(l.value > r.value) === (l.direction === "higher") ? 0 : 1].classList.add("better");
        const digits = label === "L0" ? 1 : 3;
        body.append(made("tr", {}, made("th", { scope: "row" }, label), ...cells, made("td", { class: "num diff" }, both ? number(l.value - r.value, digits) : "–")));
      }
      table.append(body);
    }
    return made("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Two suites side by side" }, table);
  };
  const [first, second] = [one(".pick-a"), one(".pick-b")];
  const update = async () => {
    const [a, b] = [first.value, second.value];
    try { history.replaceState(null, "", `?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`); } catch { /* a file's address may stay */ }
    if (!a || !b) { target.replaceChildren(made("p", { class: "about" }, "Choose two suites.")); return; }
    try {
      const [left, right] = await Promise.all([load(a), load(b)]);
      target.replaceChildren(made("p", { class: "said" }, verdict(left, right)), compared(left, right),
        made("p", { class: "about" }, "Bold: better, with the two intervals apart."));
    } catch (error) {
      target.replaceChildren(made("p", { class: "notice" }, `This cannot be shown: ${error.message}`));
    }
  };
  script("data/index.js").then(() => {
    const asked = new URLSearchParams(location.search);
    for (const [select, name] of [[first, "a"], [second, "b"]]) {
      select.append(made("option", { value: "" }, "choose a suite"));
      const groups = new Map();
      for (const [slug, label, track] of window.ioiBench.listed) {
        if (!groups.has(track)) groups.set(track, made("optgroup", { label: track }));
        groups.get(track).append(made("option", { value: slug }, label));
      }
      select.append(...groups.values());
      select.value = asked.get(name) ?? "";
      if (select.selectedIndex < 0) select.value = "";
      select.addEventListener("change", update);
    }
    one(".swap").addEventListener("click", () => { [first.value, second.value] = [second.value, first.value]; update(); });
    update();
  }).catch(() => target.replaceChildren(made("p", { class: "notice" }, "The list of suites cannot be read.")));
})();
