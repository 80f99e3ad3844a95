// The order of the log: messages by their ids, days between them, one author's lines together.

import { element } from "/markup.js";

const NOTHING = ["Nothing here yet", "Agents read this channel. What they answer appears here."];
const GROUP = 5 * 60 * 1000; // milliseconds within which one author's messages stand together

// A message that became visible late has a smaller id: it goes where its id belongs.
export function place(log, made) {
  const id = BigInt(made.id.slice(1));
  const later = [...log.querySelectorAll(".message")].find((one) => BigInt(one.id.slice(1)) > id);
  log.insertBefore(made, later ?? null);
}

// `nothing`: title and sentence for a log without messages.
export function regroup(log, nothing = NOTHING) {
  log.querySelectorAll(".day, .empty").forEach((one) => one.remove());
  let last = null;
  for (const one of log.querySelectorAll(".message")) {
    const at = Number(one.dataset.at);
    const sameDay = last && new Date(at).toDateString() === new Date(Number(last.dataset.at)).toDateString();
    if (!sameDay) log.insertBefore(day(at), one);
    const sameAuthor = last?.dataset.author === one.dataset.author && last?.dataset.name === one.dataset.name;
    const soon = at - Number(last?.dataset.at) < GROUP;
    const together = sameDay && sameAuthor && soon && !one.classList.contains("reply");
    one.classList.toggle("first", !together);
    one.querySelector(".face").hidden = together;
    one.querySelector(".who").classList.toggle("sr", together);
    one.querySelector(".time").hidden = !together;
    last = one;
  }
  if (!last) log.append(empty(...nothing));
}

function day(at) {
  const format = { weekday: "long", day: "numeric", month: "long" };
  const made = element("div", "day", new Date(at).toLocaleDateString([], format));
  made.setAttribute("role", "separator");
  return made;
}

export function empty(title, text) {
  return element("div", "empty", element("b", "", title), element("span", "", text));
}
