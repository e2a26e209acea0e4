// Follow a run: each event has what is new since the one before; the first has everything so far.

import { drawChart } from "./chart.js";

const get = (id) => document.getElementById(id);
const points = []; // [step, evaluations, loss, terms by name]
let status = { state: "reading", steps: 0 };

function time(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function sentence(step) {
  if (status.state === "ended") return `Ended: ${status.ending}`;
  if (status.stopping) return "Stopping after this step";
  if (status.state === "paused") return `Paused after step ${step}`;
  if (status.state === "running") return `Running, step ${step} of ${status.steps}`;
  return "Reading the pictures";
}

function show() {
  const [step, evaluations] = points.length ? points.at(-1) : [0, 0];
  const ended = status.state === "ended";
  document.body.dataset.state = status.state;
  get("state").textContent = sentence(step);
  document.title = `${ended ? "Ended" : `${step}/${status.steps}`} – npstyle`;
  get("bar").max = Math.max(status.steps, 1);
  get("bar").value = step;
  const done = points.length > 0;
  get("step").textContent = done ? `${step} of ${status.steps}` : "–";
  get("evaluations").textContent = done ? evaluations : "–";
  get("rate").textContent = done ? status.rate.toPrecision(3) : "–";
  get("left").textContent = done && !ended ? time(status.left) : "–";
  get("pause").textContent = status.state === "paused" ? "Resume" : "Pause";
  get("pause").disabled = get("stop").disabled = ended || Boolean(status.stopping);
  if (done) drawChart(get("chart"), get("legend"), points, status.steps);
}

const nameOf = (file) => file.split(/[\\/]/).at(-1);

function showFacts(facts) {
  const paintings = facts.painting.split(", ").map(nameOf).join(", ");
  get("title").textContent = `${nameOf(facts.photo)} in the style of ${paintings}`;
  get("facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name.replaceAll("_", " ");
      row.append(head);
      row.insertCell().textContent = value;
      return row;
    }),
  );
}

function showPicture(id, data) {
  get(id).src = data;
  get(id).hidden = !data;
  // The photo covers the picture, so it needs one below it.
  get("waiting").hidden = !get("now").hidden;
  get("before").hidden = get("now").hidden || !get("before").getAttribute("src");
  get("edge").hidden = get("before").hidden;
}

const source = new EventSource("events");
source.onmessage = (message) => {
  const { before, facts, picture, points: fresh, ...rest } = JSON.parse(message.data);
  if (before !== undefined) {
    points.length = 0; // connected anew
    showPicture("before", before);
  }
  points.push(...fresh);
  status = rest;
  if (facts) showFacts(facts);
  if (picture) showPicture("now", picture);
  show();
  if (status.state === "ended") source.close();
};
source.onerror = () => {
  document.body.dataset.state = "lost";
  get("state").textContent = "No connection. The run does not need this page; trying again.";
  get("pause").disabled = get("stop").disabled = true;
};

const order = (name) => fetch(name, { method: "POST" }).catch(() => source.onerror());
get("pause").onclick = () => order(status.state === "paused" ? "resume" : "pause");
get("stop").onclick = () => {
  if (window.confirm("End the run after this step and keep the best picture?")) order("stop");
};

const cut = (percent) => get("compare").style.setProperty("--cut", `${percent}%`);
get("cut").oninput = (event) => cut(event.target.value);
get("compare").onpointermove = (event) => {
  if (!event.buttons) return;
  const box = get("compare").getBoundingClientRect();
  const percent = (100 * (event.clientX - box.left)) / box.width;
  get("cut").value = Math.min(100, Math.max(0, percent));
  cut(get("cut").value);
};
get("compare").ondragstart = (event) => event.preventDefault();

new ResizeObserver(() => points.length && show()).observe(get("chart"));
