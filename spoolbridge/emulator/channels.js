// The channels as a list: their order, their signs, their buttons.

import { element } from "/markup.js";

export const CATEGORY = 4;
const THREADS = [10, 11, 12];

export const isThread = (channel) => THREADS.includes(channel.type);

// Channels without a category first, then by category; each thread under its channel.
export function inOrder(channels) {
  const all = [...channels];
  const order = [null, ...all.filter((one) => one.type === CATEGORY).map((category) => category.id)];
  const tops = all.filter((one) => !isThread(one) && one.type !== CATEGORY);
  tops.sort((a, b) => order.indexOf(a.parent_id) - order.indexOf(b.parent_id) || a.position - b.position);
  return tops.flatMap((top) => [top, ...all.filter((one) => isThread(one) && one.parent_id === top.id)]);
}

export function sign(channel) {
  const made = element("span", "sign", isThread(channel) ? "↳" : "#");
  made.setAttribute("aria-hidden", "true");
  return made;
}

export function channelButton(channel, open) {
  const made = element("button", "", sign(channel), element("span", "label", channel.name));
  made.type = "button";
  made.dataset.id = channel.id;
  made.title = channel.name;
  made.onclick = open;
  return made;
}
