// The loss and its terms against the steps of a run, on a log scale, as SVG.

const HEIGHT = 240;
const LEFT = 46;
const BOTTOM = 22;
const TOP = 6;
const RIGHT = 4;
const MOST = 300; // points of a line; a step less than a pixel wide cannot be seen
const STYLES = 5; // colours for style layers

function element(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// The loss first, then its terms; points are [step, evaluations, loss, terms by name].
function series(points) {
  const names = Object.keys(points.at(-1)[3]);
  let styles = 0;
  const terms = names.map((name) => {
    const kind = name.split(" ")[0];
    const mark = kind === "style" ? `style-${styles++ % STYLES}` : kind;
    return { name, mark, value: (point) => point[3][name] };
  });
  return [{ name: "loss", mark: "loss", value: (point) => point[2] }, ...terms];
}

function thinned(points) {
  const stride = Math.ceil(points.length / MOST);
  return points.filter((_, k) => k % stride === 0 || k === points.length - 1);
}

// Powers of ten, with 2 and 5 between them where there are few.
function ticks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    found.push(...[1, 2, 5].map((digit) => digit * 10 ** power));
  }
  const inside = found.filter((value) => value >= low && value <= high);
  const tens = inside.filter((value) => Math.abs(Math.log10(value) % 1) < 1e-9);
  if (tens.length < 3) return inside;
  const stride = Math.ceil(tens.length / 8);
  return tens.filter((_, k) => k % stride === 0);
}

function path(points, value, x, y) {
  let drawn = "";
  let pen = "M";
  for (const point of points) {
    const term = value(point);
    if (term > 0) {
      drawn += `${pen}${x(point[0]).toFixed(1)} ${y(term).toFixed(1)}`;
      pen = "L";
    } else {
      pen = "M"; // 0 has no place on a log scale
    }
  }
  return drawn;
}

export function drawChart(place, legend, points, steps) {
  const width = Math.max(place.clientWidth, 120);
  const lines = series(points);
  const few = thinned(points);
  const values = few.flatMap((point) => lines.map((line) => line.value(point)));
  const positive = values.filter((value) => value > 0);
  if (!positive.length) return;
  const low = Math.min(...positive) / 1.1;
  const high = Math.max(...positive) * 1.1;
  const x = (step) => LEFT + (step / Math.max(steps, 1)) * (width - LEFT - RIGHT);
  const share = (value) => Math.log(value / low) / Math.log(high / low);
  const y = (value) => HEIGHT - BOTTOM - share(value) * (HEIGHT - BOTTOM - TOP);

  const label = "Loss terms against steps, on a log scale";
  const size = { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img" };
  const svg = element("svg", { ...size, "aria-label": label });
  for (const value of ticks(low, high)) {
    const level = y(value);
    svg.append(element("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: level, y2: level }));
    const text = value.toExponential(0).replace("e+", "e");
    svg.append(element("text", { x: LEFT - 6, y: level + 4, "text-anchor": "end" }, text));
  }
  for (const [step, anchor] of [[0, "start"], [Math.round(steps / 2), "middle"], [steps, "end"]]) {
    const text = step === steps ? `step ${step}` : step;
    svg.append(element("text", { x: x(step), y: HEIGHT - 5, "text-anchor": anchor }, text));
  }
  for (const line of [...lines].reverse()) {
    const d = path(few, line.value, x, y);
    svg.append(element("path", { class: `term ${line.mark}`, d, "data-term": line.name }));
  }
  place.replaceChildren(svg);
  legend.replaceChildren(...lines.map((line) => entry(line, points.at(-1))));
}

function entry(line, last) {
  const item = document.createElement("li");
  const swatch = element("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" });
  swatch.append(element("path", { class: `term ${line.mark}`, d: "M0 5L24 5" }));
  const value = document.createElement("b");
  value.textContent = Number(line.value(last) ?? 0).toExponential(2).replace("e+", "e");
  item.append(swatch, line.name, value);
  return item;
}
