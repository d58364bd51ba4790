"use strict";
(() => {
  const root = document.documentElement;
  const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "ink"];
  const DASHES = ["solid", "dashed", "dotted"];  // Okabe and Ito 2008; then other dashes
  const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];  // viridis
  const ON_DARK = ["#8f7bd8", "#6f8fe0", "#35b5ac", "#7fd97f", "#fde725"];  // the same, no darker than the page
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const colour = (k) => {
    const one = COLOURS[k % COLOURS.length];
    return one === "ink" ? css("--ink") : one;
  };
  const text = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en");
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(+value.toPrecision(4));
  };

  const axis = (name, more) => ({
    name, nameLocation: "middle", nameTextStyle: { color: css("--soft") },
    axisLine: { lineStyle: { color: css("--soft") } },
    axisLabel: { color: css("--soft"), formatter: (value) => text(value), hideOverlap: true },
    splitLine: { lineStyle: { color: css("--line") } }, minorSplitLine: { show: false }, ...more,
  });
  const base = () => ({
    animation: false, backgroundColor: "transparent", textStyle: { fontFamily: "inherit", color: css("--ink") },
    aria: { enabled: false },
  });
  const hint = () => ({
    confine: true, backgroundColor: css("--raised"), borderColor: css("--line"),
    textStyle: { color: css("--ink"), fontSize: 12 },
  });
  const tools = (more) => ({
    right: 4, top: 0, itemSize: 13, iconStyle: { borderColor: css("--soft") },
    feature: { ...more, saveAsImage: { title: "save", backgroundColor: css("--paper") } },
  });
  const safe = (value) => echarts.format.encodeHTML(String(value));

  const band = (one, k) => ({
    type: "custom", name: one.name, color: colour(k), silent: true, clip: true, z: 1, tooltip: { show: false },
    data: one.x.map((x, i) => [x, one.y[i]]),
    renderItem: (params, api) => {
      if (params.context.done) return undefined;
      params.context.done = true;
      const there = one.x.map((_, i) => i).filter((i) => one.low[i] !== null && one.high[i] !== null);
      const points = there.map((i) => api.coord([one.x[i], one.high[i]]));
      there.reverse().forEach((i) => points.push(api.coord([one.x[i], one.low[i]])));
      return { type: "polygon", shape: { points }, style: { fill: colour(k), opacity: 0.18 } };
    },
  });

  const draw = {
    curves(spec) {
      const series = [];
      spec.series.forEach((one, k) => {
        if (one.low) series.push(band(one, k));
        series.push({
          type: "line", name: one.name, data: one.x.map((x, i) => [x, one.y[i]]), color: colour(k),
          showSymbol: one.x.length === 1, symbolSize: 7, z: 2, emphasis: { focus: "series" },
          lineStyle: { width: 1.9,
                       type: DASHES[Math.floor(k / COLOURS.length) % 3] },
        });
      });
      const many = spec.series.length > 1;
      return {
        ...base(), series,
        legend: { show: many, type: "scroll", bottom: 0, textStyle: { color: css("--ink") },
                  data: spec.series.map((one) => ({ name: one.name, icon: "roundRect" })), itemHeight: 11, itemWidth: 16 },
        grid: { left: 62, right: 18, top: 30, bottom: many ? 88 : 62 },
        xAxis: axis(spec.x, { type: "value", nameGap: 24, min: "dataMin", max: "dataMax" }),
        yAxis: axis(spec.y, { type: spec.log ? "log" : "value", scale: true, nameGap: 46 }),
        tooltip: {
          ...hint(), trigger: "axis", axisPointer: { type: "line" },
          formatter: (all) => {
            const lines = all.filter((one) => one.seriesType === "line").map((one) => {
              const known = spec.series[spec.series.findIndex((s) => s.name === one.seriesName)];
              const spread = known.low ? ` ± ${text(known.high[one.dataIndex] - known.y[one.dataIndex])}` : "";
              return `${one.marker}${safe(one.seriesName)} <b>${text(one.value[1])}</b>${spread}`;
            });
            return lines.length ? `${safe(spec.x)} ${text(all[0].value[0])}<br>${lines.join("<br>")}` : "";
          },
        },
        toolbox: tools({ dataZoom: { title: { zoom: "zoom", back: "back" }, yAxisIndex: "none" },
                         restore: { title: "all" } }),
        dataZoom: [{ type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false },
                   { type: "slider", height: 14, bottom: many ? 28 : 6, filterMode: "none", showDetail: false,
                     borderColor: css("--line"), brushSelect: false }],
      };
    },

    parallel(spec) {
      const ramp = spec.axes[spec.colour];
      const known = ramp.values.filter((one) => one !== null);
      const rows = spec.names.map((name, i) => ({ name, value: spec.axes.map((one) => one.values[i]) }));
      return {
        ...base(),
        parallel: { left: 40, right: 60, top: 46, bottom: 64 },
        parallelAxis: spec.axes.map((one, dim) => ({
          dim, name: one.name, nameTextStyle: { color: css("--ink"), fontSize: 11 }, nameGap: 14,
          type: one.words ? "category" : one.log ? "log" : "value", scale: true,
          axisLine: { lineStyle: { color: css("--soft") } },
          axisLabel: { color: css("--soft"), formatter: (value) => text(value) },
          ...(one.words ? { data: [...new Set(one.values)] } : {}),
        })),
        visualMap: { dimension: spec.colour, min: Math.min(...known), max: Math.max(...known),
                     inRange: { color: root.dataset.theme === "dark" ? ON_DARK : RAMP }, orient: "horizontal", left: "center", bottom: 4,
                     itemHeight: 110, itemWidth: 12, textStyle: { color: css("--soft") },
                     text: [text(Math.max(...known)), text(Math.min(...known))], calculable: false },
        tooltip: { ...hint(), formatter: (one) => `<b>${safe(one.name)}</b><br>` + spec.axes.map(
          (axis_, i) => `${safe(axis_.name)} ${safe(text(one.value[i]))}`).join("<br>") },
        toolbox: tools({}),
        series: [{ type: "parallel", data: rows, lineStyle: { width: 2, opacity: 0.75 },
                   emphasis: { lineStyle: { width: 4, opacity: 1 } }, smooth: false }],
      };
    },

    intervals(spec) {
      const names = spec.rows.map((one) => one.name);
      const bars = {
        type: "custom", z: 3, data: spec.rows.map((one, i) => [one.middle, i, one.low, one.high]),
        encode: { x: [0, 2, 3], y: 1 },
        renderItem: (_, api) => {
          const [low, high, middle] = [2, 3, 0].map((k) => api.coord([api.value(k), api.value(1)]));
          const style = { stroke: css("--accent"), lineWidth: 2.4, fill: css("--accent") };
          const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
          return { type: "group", children: [
            line(low[0], low[1], high[0], high[1]), line(low[0], low[1] - 6, low[0], low[1] + 6),
            line(high[0], high[1] - 6, high[0], high[1] + 6),
            { type: "circle", shape: { cx: middle[0], cy: middle[1], r: 5 }, style },
          ] };
        },
        tooltip: { formatter: (one) => `${safe(names[one.value[1]])}<br><b>${text(one.value[0])}</b> `
          + `[${text(one.value[2])}, ${text(one.value[3])}]` },
      };
      const each = { type: "scatter", z: 2, symbolSize: 6, itemStyle: { color: css("--soft"), opacity: 0.55 },
        data: spec.rows.flatMap((one, i) => one.values.map((value) => [value, i])),
        tooltip: { formatter: (one) => `${safe(names[one.value[1]])}, one run<br><b>${text(one.value[0])}</b>` } };
      if (spec.margin !== null) {
        each.markArea = { silent: true, itemStyle: { color: css("--soft"), opacity: 0.14 },
                          data: [[{ xAxis: -spec.margin }, { xAxis: spec.margin }]] };
        each.markLine = { silent: true, symbol: "none", label: { show: false }, data: [{ xAxis: 0 }],
                          lineStyle: { color: css("--soft"), type: "dashed" } };
      }
      const ends = spec.rows.flatMap((one) => [one.low, one.high, ...one.values]).filter((one) => one !== null);
      if (spec.margin !== null) ends.push(-spec.margin, spec.margin);
      const [least, most] = [Math.min(...ends), Math.max(...ends)];
      const room = (most - least || 1) * 0.06;
      return {
        ...base(), tooltip: { ...hint(), trigger: "item" }, toolbox: tools({}), series: [each, bars],
        grid: { left: 12, right: 24, top: 30, bottom: 46, containLabel: true },
        xAxis: axis(spec.x, { type: "value", min: least - room, max: most + room, nameGap: 28,
                              axisLabel: { color: css("--soft"), formatter: (value) => text(+value.toPrecision(3)), hideOverlap: true,
                                           showMinLabel: false, showMaxLabel: false } }),
        yAxis: axis("", { type: "category", data: names, inverse: true,
                          axisLabel: { color: css("--ink"), width: 190, overflow: "truncate", interval: 0 } }),
      };
    },

    points(spec) {
      const many = spec.groups.length > 1;
      return {
        ...base(),
        legend: { show: many, type: "scroll", bottom: 0, textStyle: { color: css("--ink") } },
        grid: { left: 62, right: 18, top: 30, bottom: many ? 72 : 46 },
        xAxis: axis(spec.x, { type: "value", scale: true, nameGap: 26 }),
        yAxis: axis(spec.y, { type: "value", scale: true, nameGap: 46 }),
        tooltip: { ...hint(), formatter: (one) => `${safe(one.seriesName)}<br>${safe(spec.x)} ${text(one.value[0])}`
          + `<br>${safe(spec.y)} ${text(one.value[1])}` },
        toolbox: tools({ dataZoom: { title: { zoom: "zoom", back: "back" } }, restore: { title: "all" } }),
        series: spec.groups.map((one, k) => ({ type: "scatter", name: one.name, data: one.points,
          symbolSize: 9, color: colour(k), symbol: ["circle", "rect", "triangle", "diamond"][k % 4] })),
      };
    },
  };

  const specs = JSON.parse(document.getElementById("charts").textContent);
  const places = [...document.querySelectorAll(".chart")];
  const place = (element) => {
    const spec = specs[Number(element.dataset.chart)];
    if (spec.kind === "parallel") element.style.minWidth = `${spec.axes.length * 92}px`;
    if (spec.kind === "intervals") element.style.height = `${90 + 34 * spec.rows.length}px`;
    const chart = echarts.init(element, null, { renderer: "canvas" });
    chart.setOption(draw[spec.kind](spec));
    element.chart = chart;
    element.spec = spec;
    element.at = -1;
  };
  const redraw = () => places.filter((one) => one.chart).forEach((one) => {
    one.chart.clear();
    one.chart.setOption(draw[one.spec.kind](one.spec));
  });
  if (places.length) {
    const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (entry.isIntersecting && !entry.target.chart) place(entry.target);
    }), { rootMargin: "300px" });
    places.forEach((one) => seen.observe(one));
    window.addEventListener("resize", () => places.forEach((one) => one.chart && one.chart.resize()));
    window.addEventListener("beforeprint", () => places.forEach((one) => one.chart || place(one)));
  }

  const zoom = (element, factor) => {
    const [window_] = element.chart.getOption().dataZoom || [];
    if (!window_) return;
    const middle = (window_.start + window_.end) / 2;
    const half = Math.min(50, factor === 0 ? 50 : (window_.end - window_.start) / 2 * factor);
    const start = Math.max(0, Math.min(middle - half, 100 - 2 * half));
    element.chart.dispatchAction({ type: "dataZoom", start, end: start + 2 * half });
  };
  places.forEach((element) => element.addEventListener("keydown", (event) => {
    if (!element.chart) return;
    const shift = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const factor = { "+": 0.5, "=": 0.5, "-": 2, "0": 0 }[event.key];
    if (shift) {
      const option = element.chart.getOption().series;
      const seriesIndex = option.findIndex((one) => one.type !== "custom");
      const count = option[seriesIndex < 0 ? 0 : seriesIndex].data.length;
      element.at = Math.max(0, Math.min(count - 1, element.at + shift));
      element.chart.dispatchAction({ type: "showTip", seriesIndex: Math.max(0, seriesIndex), dataIndex: element.at });
    } else if (factor !== undefined) zoom(element, factor);
    else return;
    event.preventDefault();
  }));

  document.querySelectorAll("figure.images").forEach((figure) => {
    const input = figure.querySelector("input");
    if (!input) return;
    const frames = [...figure.querySelectorAll("img")];
    const said = figure.querySelector("output");
    const button = figure.querySelector(".play");
    let timer = 0;
    const show = (k) => {
      frames.forEach((one, i) => { one.hidden = i !== k; });
      said.textContent = frames[k].dataset.label;
      input.value = k;
      input.setAttribute("aria-valuetext", frames[k].dataset.label);
    };
    const stop = () => { clearInterval(timer); timer = 0; button.textContent = "▶"; };
    input.addEventListener("input", () => { stop(); show(Number(input.value)); });
    button.addEventListener("click", () => {
      if (timer) { stop(); return; }
      button.textContent = "❚❚";
      timer = setInterval(() => show((Number(input.value) + 1) % frames.length), 450);
    });
  });

  document.querySelectorAll("table.sorts").forEach((table) => {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, k) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      [...table.tHead.rows[0].cells].forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[k].dataset.value;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if ((x === undefined) !== (y === undefined)) return x === undefined ? 1 : -1;  // numbers first
        const order = x !== undefined ? Number(x) - Number(y)
          : a.cells[k].textContent.localeCompare(b.cells[k].textContent, "en", { numeric: true });
        return down ? -order : order;
      });
      body.append(...rows);
    }));
  });

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (theme) => { root.dataset.theme = theme; redraw(); };
  paint(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => paint(root.dataset.theme === "dark" ? "light" : "dark"));
})();
