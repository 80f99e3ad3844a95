// The last hour as three plots: drawn in the plot's own pixels, each with its sentence for who does not see it.

import { find, many, span } from "./parts.js";

const NS = "http://www.w3.org/2000/svg";
const LEFT = 46;
const RIGHT = 4;
const TOP = 8;
const BOTTOM = 20;
const [SENT, FAILED, FILED, BACKLOG, HALF, MOST] = [1, 2, 3, 4, 5, 6];

export function draw(picture) {
  plot("throughput", picture, throughput);
  plot("latency", picture, latency);
  plot("backlog", picture, backlog);
}

function plot(id, picture, inside) {
  const box = find(`#${id} .plot`);
  const [width, height] = [box.clientWidth, box.clientHeight];
  if (!width) return;
  const step = (width - LEFT - RIGHT) / picture.slots;
  const newest = Math.floor(picture.at / picture.slot) * picture.slot;
  const x = (began) => width - RIGHT - step * ((newest - began) / picture.slot + 1);
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  for (const minutes of width < 300 ? [60, 30, 0] : [60, 40, 20, 0]) {
    const at = width - RIGHT - (width - LEFT - RIGHT) * (minutes / 60);
    const words = minutes ? `−${minutes} min` : "now";
    text(svg, at, height - 4, words, minutes === 60 ? "start" : minutes ? "middle" : "end");
  }
  svg.setAttribute("aria-label", inside({ svg, width, height: height - BOTTOM, x, step, slots: picture.hour, slot: picture.slot }));
  box.replaceChildren(svg);
}

function throughput({ svg, width, height, x, step, slots, slot }) {
  const minute = 60 / slot;
  const up = nice(Math.max(1, ...slots.map((each) => (each[SENT] + each[FAILED]) * minute)));
  const down = nice(Math.max(1, ...slots.map((each) => each[FILED] * minute)));
  // The axis lies where both directions have a share that can be read.
  const share = Math.min(0.78, Math.max(0.5, up / (up + down)));
  const base = TOP + (height - TOP) * share;
  const above = (count) => ((base - TOP) * count * minute) / up;
  const below = (count) => ((height - base) * count * minute) / down;
  rule(svg, width, TOP, number(up));
  rule(svg, width, base, "0", "grid base");
  rule(svg, width, height, number(down));
  for (const each of slots) {
    const at = { x: x(each[0]) + step * 0.1, width: Math.max(1, step * 0.8) };
    bar(svg, "bar-sent", at, base - above(each[SENT]), above(each[SENT]));
    bar(svg, "bar-failed", at, base - above(each[SENT] + each[FAILED]), above(each[FAILED]));
    bar(svg, "bar-in", at, base, below(each[FILED]));
  }
  const total = (column) => slots.reduce((sum, each) => sum + each[column], 0);
  return `In the last hour ${many(total(SENT), "message", "messages")} sent, ${total(FAILED)} failed, ${total(FILED)} received.`;
}

function latency({ svg, width, height, x, step, slots }) {
  const known = slots.filter((each) => each[HALF] !== null);
  const top = nice(Math.max(1, ...known.map((each) => each[MOST])));
  const y = (seconds) => height - ((height - TOP) * Math.min(seconds, top)) / top;
  for (const part of [0, 0.5, 1]) rule(svg, width, y(top * part), part ? span(top * part) : "0", part ? "grid" : "grid base");
  for (const [column, name] of [[MOST, "line soft"], [HALF, "line"]]) {
    let path = "";
    let before = null;
    for (const each of known) {
      const at = `${(x(each[0]) + step / 2).toFixed(1)} ${y(each[column]).toFixed(1)}`;
      // A dot where there is nothing before; a quiet minute or two is no gap.
      path += before !== null && each[0] - before < 300 ? `L${at}` : `M${at}h.01`;
      before = each[0];
    }
    svg.append(node("path", { d: path || "M0 0", class: name }));
  }
  if (!known.length) return "No message was sent in the last hour.";
  const last = known[known.length - 1];
  return `Of the newest messages half were on Discord within ${span(last[HALF])}, 95 % within ${span(last[MOST])}.`;
}

function backlog({ svg, width, height, x, step, slots }) {
  const known = slots.filter((each) => each[BACKLOG] !== null);
  const most = Math.max(0, ...known.map((each) => each[BACKLOG]));
  const top = nice(Math.max(4, most));
  const y = (count) => height - ((height - TOP) * count) / top;
  for (const part of [0, 0.5, 1]) rule(svg, width, y(top * part), number(top * part), part ? "grid" : "grid base");
  if (known.length) {
    const points = known.map((each) => `${x(each[0]).toFixed(1)} ${y(each[BACKLOG]).toFixed(1)}h${step.toFixed(2)}`);
    const first = x(known[0][0]);
    svg.append(node("path", { class: "area", d: `M${first} ${height}L${points.join("L")}V${height}Z` }));
    svg.append(node("path", { class: "line", d: `M${points.join("L")}` }));
  }
  const now = known.length ? known[known.length - 1][BACKLOG] : 0;
  return `${many(now, "entry waits", "entries wait")} now; at most ${most} in the last hour.`;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].find((each) => each * power >= value) * power;
}

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 1, notation: value >= 10000 ? "compact" : "standard" });

function node(name, attributes) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(svg, x, y, words, anchor) {
  const made = node("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  svg.append(made);
}

function rule(svg, width, y, words, name = "grid") {
  svg.append(node("line", { x1: LEFT, x2: width - RIGHT, y1: Math.round(y) + 0.5, y2: Math.round(y) + 0.5, class: name }));
  text(svg, LEFT - 7, y + 4, words, "end");
}

function bar(svg, name, { x, width }, y, height) {
  if (height > 0) svg.append(node("rect", { x, y, width, height: Math.max(1.5, height), rx: Math.min(1, width / 3), class: name }));
}
