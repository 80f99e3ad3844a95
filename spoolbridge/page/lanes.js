// The spool as a picture: a lane a channel, and entries that move from one state to the next.

import { element, find, keep, many, say } from "./parts.js";

const STATES = ["outgoing", "sending", "sent", "failed"];
const SHOWN = { outgoing: 6, sending: 2, sent: 3, failed: 3 };
const FRESH = 12; // seconds that a sent entry stays green
const MOVE = { duration: 700, easing: "cubic-bezier(.3, .8, .3, 1)" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let live = false;

export function draw(section, picture) {
  const list = find(".lanes", section);
  const before = places(list);
  keep(list, picture.channels, (channel) => channel.name, makeLane, (lane, channel) => changeLane(lane, channel, picture.at));
  find(".empty", section).hidden = picture.channels.length > 0;
  if (live && !calm.matches) move(list, before);
  live = true;
}

function makeLane(channel) {
  const name = element("div", "name", element("b", "", channel.name), element("span", ""));
  const cells = STATES.map((state) => {
    const cell = element("div", `cell ${state}`, element("h3", "", state), element("ul", "tokens"), element("span", "more"));
    cell.dataset.state = state;
    cell.setAttribute("role", "group");
    return cell;
  });
  return element("li", "lane", name, ...cells);
}

function changeLane(lane, channel, now) {
  // The whole sentence stands among the findings.
  say(find(".name span", lane), channel.remarks.map((remark) => remark.split(": ")[0]).join("; "));
  for (const state of STATES) {
    const cell = find(`.${state}`, lane);
    const { count, entries } = channel[state];
    // What is next stands first where entries wait; the newest where they have arrived.
    const newestFirst = state === "sent" || state === "failed";
    const shown = newestFirst ? entries.slice(-SHOWN[state]).reverse() : entries.slice(0, SHOWN[state]);
    keep(find(".tokens", cell), shown, (entry) => entry.id || `/${entry.name}`, () => element("li", "token"), (token, entry) => {
      say(token, entry.name || entry.id.slice(9, 15).replace(/(..)(..)(..)/, "$1:$2:$3"));
      token.title = entry.id ? `${entry.id}  ${entry.name}` : entry.name;
      token.dataset.name = entry.name;
      token.classList.toggle("fresh", entry.settled > now - FRESH);
    });
    const rest = Math.max(0, count - shown.length);
    say(find(".more", cell), state === "sent" ? (count ? `${count.toLocaleString("en")} in all` : "") : rest ? `+${rest.toLocaleString("en")}` : "");
    cell.setAttribute("aria-label", `${channel.name}, ${state}: ${many(count, "entry", "entries")}`);
  }
}

function places(list) {
  const found = new Map();
  for (const token of list.querySelectorAll(".token")) {
    const lane = token.closest(".lane").dataset.key;
    const state = token.closest(".cell").dataset.state;
    found.set(`${lane}|${token.dataset.key}`, { at: token.getBoundingClientRect(), state });
  }
  return found;
}

// Each entry from where it was to where it is. One that was seen nowhere comes out of outgoing/.
function move(list, before) {
  const moved = [];
  for (const token of list.querySelectorAll(".token")) {
    const lane = token.closest(".lane");
    const key = `${lane.dataset.key}|${token.dataset.key}`;
    const state = token.closest(".cell").dataset.state;
    // A plain name gets its ID when it is claimed.
    const known = before.get(key) || before.get(`${lane.dataset.key}|/${token.dataset.name}`);
    if (known && known.state === state) continue;
    let from = known && known.at;
    if (!from && (state === "sent" || state === "failed") && !token.classList.contains("fresh") && state === "sent") continue;
    if (!from && state !== "outgoing") from = find(".outgoing", lane).getBoundingClientRect();
    moved.push([token, from, token.getBoundingClientRect()]);
  }
  for (const [token, from, to] of moved) {
    if (from) {
      const by = `translate(${from.left - to.left + 9}px, ${from.top - to.top}px)`;
      token.animate([{ transform: by, zIndex: 2 }, { transform: "none", zIndex: 2 }], MOVE);
    } else {
      token.animate([{ opacity: 0, transform: "scale(.8)" }, { opacity: 1, transform: "none" }], { ...MOVE, duration: 350 });
    }
  }
}
